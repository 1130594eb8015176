"""The complete routine in one piece: data, network, loop, TensorBoard, checkpoints; stopped and resumed at any step."""

import contextlib
import re
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from tudui_course.board import open_writer
from tudui_course.checkpoint import MODELS, load_model, read_checkpoint, restore, save_checkpoint
from tudui_course.data.loaders import NAMES, make_loaders, read_data
from tudui_course.loop import EpochRecord, Progress, evaluate, fit, predict_all
from tudui_course.metrics import EpochResult, confusion_matrix
from tudui_course.recipe import RECIPES, stored_recipe
from tudui_course.runtime import choose_device, choose_precision, place, runs_dir, seed_everything, short_path, typed
from tudui_course.settings import Settings

INTERRUPTED = "tudui_interrupted.pth"
BEST = "tudui_best.pth"
# What a resumed run may be given anew, the rest decides its outcome; one cycle fits one number of epochs alone.
MAY_CHANGE = {"epochs", "device"}


class StoppedError(Exception):
    """A run was stopped by a signal and saved.

    Attributes:
        exit_code: 128 plus the signal's number, as shells have it: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def train(
    settings: Settings,
    run_dir: Path | str | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    keep: int = 0,
) -> list[EpochRecord]:
    """Train a network with SGD as the settings say, and leave its checkpoints and TensorBoard files in `run_dir`.

    Args:
        settings: what decides the outcome.
        run_dir: a new folder; by default runs/<data>, or runs/<data>-2 ... where that is taken.
        resume: go on with the run in `run_dir`, from its newest checkpoint, also from the middle of an epoch.
        overwrite: begin anew in `run_dir`, removing the checkpoints and TensorBoard files of the run in there.
        keep: keep the checkpoints of the last so many epochs, and the best; 0 keeps all.

    Returns:
        The finished epochs.

    Raises:
        ValueError, FileNotFoundError: something can't be used; one sentence that says what and the way out.
        DivergedError: the loss turned NaN or infinite; earlier checkpoints stay.
        StoppedError: Ctrl-C or SIGTERM; the message has the command that continues.
    """
    settings.check()
    device = choose_device(settings.device)
    recipe = RECIPES[settings.recipe]
    recipe = replace(recipe, lr=settings.lr or recipe.lr)
    settings = replace(
        settings,
        lr=recipe.lr,
        data=full_name(settings.data),
        device=str(device),
        precision=choose_precision(settings.precision, device),
    )
    run_dir = Path(run_dir) if run_dir else free_run_dir(settings)
    checkpoint = newest_checkpoint(run_dir) if resume else None
    if checkpoint:
        refuse_changes(settings, checkpoint["settings"])
    else:
        refuse_existing(run_dir, overwrite)

    train_set, test_set = read_data(settings.data, limit=settings.limit)
    shuffle = settings.order == "shuffled"
    train_set = train_set if shuffle else train_set.mixed(settings.seed)
    train_set = train_set.transformed(recipe.train_transform())
    test_set = test_set.transformed(recipe.test_transform())
    seed_everything(settings.seed)
    model = place(MODELS[settings.network](len(train_set.classes)), device)
    loss_fn = recipe.loss_fn()
    optimizer = recipe.optimizer(model)
    # In a new order each epoch, a last batch of few pictures would be a long step in any direction, right before the
    # test (docs/results.md); in the fixed order, as in the lesson, it is always the same.
    drop_last = shuffle and len(train_set) >= settings.batch_size
    loaders = make_loaders(
        train_set, test_set, settings.batch_size, seed=settings.seed, shuffle=shuffle, drop_last=drop_last
    )
    scheduler = recipe.scheduler(optimizer, settings.epochs * len(loaders[0]))
    progress = Progress()
    if checkpoint:
        refuse_other_data(*loaders, checkpoint)
        progress = restore(checkpoint, model, optimizer, scheduler, path=run_dir)

    prepare_folder(run_dir, overwrite and not resume)
    print_start(settings, run_dir, train_set, test_set, progress)
    saver = Saver(run_dir, keep, model, optimizer, scheduler, settings, train_set.classes)
    with open_writer(run_dir, progress.points) as writer, stop_on_signal() as stop:
        fit(
            model, loaders, loss_fn, optimizer, device,
            epochs=settings.epochs, scheduler=scheduler, precision=settings.precision,
            log=writer.add_scalar, progress=progress, save=saver, stop=stop,
        )  # fmt: skip
    if progress.epoch < settings.epochs:
        raise StoppedError(how_to_continue(progress, settings, run_dir), 128 + stop.signal)
    print_end(run_dir, progress.history)
    return progress.history


def how_to_continue(progress: Progress, settings: Settings, run_dir: Path) -> str:
    """What a stopped run says: where it stands, and the command that continues it."""
    if progress.step == 0:
        return "Stopped before the first step; there is nothing to continue."
    return (
        f"Stopped at step {progress.step:,} (epoch {progress.epoch + 1} of {settings.epochs}) and saved. "
        f"Continue with:\n  {typed('tudui')} train --resume --run-dir {shlex.quote(short_path(run_dir))}"
    )


def evaluate_checkpoint(path: Path | str, data: str = "", device: str = "auto", batch_size: int = 256) -> EpochResult:
    """Measure a checkpoint on the test pictures and print loss and accuracy, also class by class.

    Args:
        path: a checkpoint, or a bare state_dict of one of the course's networks.
        data: "pictograms", "cifar10" or a folder; "" for the very pictures that its run was tested on.
        device: as for `choose_device`.
        batch_size: pictures at a time.

    Raises:
        ValueError, FileNotFoundError: the file or the data can't be used; one sentence.
    """
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}, but a batch needs at least 1 picture: --batch-size 256.")
    device = choose_device(device)
    model, checkpoint = load_model(path, device)
    stored = checkpoint["settings"]
    limit = 0 if data else stored.get("limit", 0)
    data = data or stored.get("data", "")
    if not data:
        raise ValueError(f"{path} doesn't say what it was trained on; name the data: --data pictograms|cifar10|DIR.")
    test_set = read_data(data, limit=limit)[1].transformed(stored_recipe(stored).test_transform())
    if checkpoint["classes"] and checkpoint["classes"] != test_set.classes:
        raise ValueError(f"{path} knows the classes {checkpoint['classes']}, but {data} has {test_set.classes}.")
    loader = DataLoader(test_set, batch_size)
    precision = stored.get("precision", "float32")
    result = evaluate(model, loader, nn.CrossEntropyLoss(), device, precision=precision)
    logits, targets = predict_all(model, loader, device, precision=precision)
    confusion = confusion_matrix(logits, targets, len(test_set.classes))
    print(f"checkpoint      {short_path(path)}\ndata            {data}, {result.count:,} test pictures")
    print(f"test loss       {result.loss:.4f}\ntest accuracy   {result.accuracy:.4f}\n")
    for name, row, share in zip(test_set.classes, confusion, confusion.diag() / confusion.sum(1), strict=True):
        print(f"{name:14s}  {share:.4f}  ({int(row.sum())} pictures)")
    return result


class Saver:
    """What `fit` calls as `save`: writes the checkpoint, prints the epoch, removes what is not to be kept."""

    def __init__(
        self, run_dir: Path, keep: int, model, optimizer, scheduler, settings: Settings, classes: list[str]
    ) -> None:
        self.run_dir, self.keep, self.model, self.optimizer = run_dir, keep, model, optimizer
        self.stored = {"scheduler": scheduler, "settings": asdict(settings), "classes": classes}
        self.started = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        if progress.batch:
            self.save(INTERRUPTED, progress)
            return
        record = progress.history[-1]
        if record is best_epoch(progress.history):
            self.save(BEST, progress)  # first, so that a run killed between the two repeats the epoch
        self.save(f"tudui_{record.epoch}.pth", progress)
        (self.run_dir / INTERRUPTED).unlink(missing_ok=True)
        if self.keep:
            for number, path in epoch_checkpoints(self.run_dir).items():
                if number <= record.epoch - self.keep:
                    path.unlink()
        self.print_epoch(record)

    def save(self, name: str, progress: Progress) -> None:
        save_checkpoint(self.run_dir / name, self.model, self.optimizer, progress, **self.stored)

    def print_epoch(self, record: EpochRecord) -> None:
        now = time.perf_counter()
        print(
            f"epoch {record.epoch + 1:2d}   train loss {record.train.loss:.4f}   test loss {record.test.loss:.4f}   "
            f"test accuracy {record.test.accuracy:.4f}   {now - self.started:5.1f} s",
            flush=True,
        )
        self.started = now


@dataclass
class Stop:
    """Says True once a signal has come; `signal` is its number."""

    signal: int = 0

    def __call__(self) -> bool:
        return self.signal != 0


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop after this step; a second one stops at once."""
    stop = Stop()

    def ask(number: int, frame: object) -> None:
        stop.signal = number
        print("\nFinishing this step and saving; once more stops at once, without saving.", flush=True)
        for handled, handler in before.items():
            signal.signal(handled, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, ask)
    except ValueError:  # not the main thread, where python delivers no signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def epoch_checkpoints(run_dir: Path) -> dict[int, Path]:
    """The checkpoints tudui_0.pth, tudui_1.pth ... of a run by their number, in order."""
    found = {}
    for path in Path(run_dir).glob("tudui_*.pth"):
        if match := re.fullmatch(r"tudui_(\d+)\.pth", path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def newest_checkpoint(run_dir: Path) -> dict:
    """Read the checkpoint of a run that has come furthest."""
    paths = [*list(epoch_checkpoints(run_dir).values())[-1:], run_dir / INTERRUPTED]
    found = [read_checkpoint(path) for path in paths if path.is_file()]
    if not found:
        raise FileNotFoundError(f"{short_path(run_dir)} holds no run to resume; leave out --resume to begin one.")
    return max(found, key=lambda checkpoint: checkpoint["progress"]["step"])


def full_name(data: str) -> str:
    """The name of a data set as it is, a folder with its full path, so that a run can be resumed from anywhere."""
    folder = Path(data).expanduser()
    return str(folder.resolve()) if data and data not in NAMES and folder.is_dir() else data


def free_run_dir(settings: Settings) -> Path:
    """runs/<data>, or the first of runs/<data>-2, -3 ... that doesn't exist."""
    base = runs_dir() / (Path(settings.data).name or "run")
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    if path != base:
        print(
            f"{short_path(base)} is taken (--resume goes on with the newest run); this run goes to {short_path(path)}."
        )
    return path


def newest_run_dir() -> Path:
    """The run whose files were written last.

    Raises:
        FileNotFoundError: there is no run.
    """
    newest = max(runs_dir().glob("*/tudui_*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise FileNotFoundError(f"{short_path(runs_dir())} holds no run to resume; leave out --resume to begin one.")
    return newest.parent


def refuse_existing(run_dir: Path, overwrite: bool) -> None:
    """Raise ValueError rather than write into a folder that holds something."""
    if run_dir.exists() and not run_dir.is_dir():
        raise ValueError(f"{run_dir} is a file; give the name of a folder: --run-dir runs/NAME.")
    if run_dir.is_dir() and any(run_dir.iterdir()) and not overwrite:
        raise ValueError(
            f"{short_path(run_dir)} exists: continue that run with --resume, give another name with --run-dir, "
            "or begin anew in there with --overwrite."
        )


def refuse_changes(settings: Settings, stored: dict) -> None:
    """Raise ValueError where a resumed run is asked for what would make it another run."""
    earlier = Settings.from_dict(stored)
    for name, value in asdict(earlier).items():
        may_change = name in MAY_CHANGE and not (name == "epochs" and RECIPES[earlier.recipe].one_cycle)
        if not may_change and getattr(settings, name) != value:
            raise ValueError(
                f"this run was begun with {name.replace('_', '-')} {value}, not {getattr(settings, name)}, and can "
                "only be resumed as it was begun; leave that flag out, or start another run."
            )


def refuse_other_data(train_loader: DataLoader, test_loader: DataLoader, checkpoint: dict) -> None:
    """Raise ValueError where the data are no longer those that the run was begun with."""
    counts = [(row["train"]["count"], row["test"]["count"]) for row in checkpoint["progress"]["history"]]
    trained = len(train_loader) * train_loader.batch_size if train_loader.drop_last else len(train_loader.dataset)
    expected = trained, len(test_loader.dataset)
    if train_loader.dataset.classes != checkpoint["classes"] or any(count != expected for count in counts):
        raise ValueError(
            "the data have changed since this run was begun (other classes or another number of pictures); "
            "put them back, or start another run."
        )


def prepare_folder(run_dir: Path, overwrite: bool) -> None:
    """Make the folder; when overwriting, remove an earlier run's checkpoints and event files, nothing else."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(run_dir).free < 50e6:
            raise ValueError(f"{run_dir}: less than 50 MB are free on this disk; make room or give another --run-dir.")
        (run_dir / ".writable").touch()
        (run_dir / ".writable").unlink()
    except OSError as error:
        raise ValueError(f"{run_dir} can't be written ({error.strerror}); give another --run-dir.") from None
    leftovers = list(run_dir.glob(".tudui_*.pth.*.tmp"))  # of a run that was killed while saving
    if overwrite:
        leftovers += [*epoch_checkpoints(run_dir).values(), run_dir / BEST, run_dir / INTERRUPTED]
        leftovers += run_dir.glob("events.out.tfevents.*")
    for path in leftovers:
        path.unlink(missing_ok=True)


def print_start(settings: Settings, run_dir: Path, train_set, test_set, progress: Progress) -> None:
    """Say what is about to happen."""
    print(f"settings    {settings}")
    print(f"pictures    {len(train_set):,} to train, {len(test_set):,} to test, {len(train_set.classes)} classes")
    print(f"machine     torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    print(f"run folder  {short_path(run_dir)}")
    if progress.step:
        print(f"resumed     at step {progress.step:,}, in epoch {progress.epoch + 1}")
    print(flush=True)


def print_end(run_dir: Path, history: list[EpochRecord]) -> None:
    """The epochs as a table, and where everything is."""
    best = best_epoch(history)
    place = short_path(run_dir)
    print(f"\n{format_table(history)}\n")
    print(
        f"test accuracy  {history[-1].test.accuracy:.4f} (best {best.test.accuracy:.4f}, after epoch {best.epoch + 1})"
    )
    others = " and earlier ones" if len(history) > 1 else ""
    print(f"checkpoints    {place}/tudui_{history[-1].epoch}.pth{others}, the best in {place}/{BEST}")
    print(f"curves         {typed('python')} -m tensorboard.main --logdir {shlex.quote(place)}")


def best_epoch(history: list[EpochRecord]) -> EpochRecord:
    """The epoch with the highest test accuracy, the first of several."""
    return max(history, key=lambda record: record.test.accuracy)


def format_table(history: list[EpochRecord]) -> str:
    """The finished epochs as a table; the sum over batches is the figure that the lesson prints."""
    lines = ["epoch   train loss   train accuracy   test loss   (sum of batch means)   test accuracy"]
    lines += [
        f"{row.epoch + 1:5d}   {row.train.loss:10.4f}   {row.train.accuracy:14.4f}   {row.test.loss:9.4f}   "
        f"{row.test.batch_loss_sum:20.2f}   {row.test.accuracy:13.4f}"
        for row in history
    ]
    return "\n".join(lines)
