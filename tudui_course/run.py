"""The complete routine in one piece: data, network, loop, TensorBoard, checkpoints; stopped and resumed at any step."""

import contextlib
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from tudui_course import distributed, report, run_folder
from tudui_course.board import open_writer
from tudui_course.checkpoint import newest_checkpoint, restore, save_checkpoint
from tudui_course.data.loaders import InMemory, fingerprint, has_test_set, is_folder, make_loaders, read_data
from tudui_course.errors import InputError, StoppedError
from tudui_course.loop import Log, fit
from tudui_course.model import MODELS
from tudui_course.recipe import RECIPES, Recipe
from tudui_course.resume import EpochRecord, Progress, best_epoch
from tudui_course.runtime import choose_device, choose_precision, place, seed_everything
from tudui_course.settings import Settings

# What may change when a run is resumed. All else decides its outcome, as `epochs` does for a one-cycle schedule.
MAY_CHANGE = {"epochs", "device"}


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
        settings: everything that decides the outcome.
        run_dir: a new folder; by default runs/<data>, or runs/<data>-2 ... if that is taken.
        resume: continue the run in `run_dir` from its newest checkpoint, even one from the middle of an epoch.
        overwrite: start afresh in `run_dir`, removing the checkpoints and TensorBoard files of the run there.
        keep: keep this many of the latest epochs' checkpoints, and the best; 0 keeps all.

    Returns:
        The finished epochs.

    Raises:
        InputError, NotFoundError: something can't be used; the message says what, and what to do.
        DivergedError: the loss turned NaN or infinite; earlier checkpoints stay.
        StoppedError: Ctrl-C or SIGTERM; the message gives the command that continues the run.
    """
    settings = settle(settings)
    recipe = replace(RECIPES[settings.recipe], lr=settings.lr)
    with claim_once(run_dir, settings, resume, overwrite) as (run_dir, resume):
        checkpoint, passed_over = distributed.shared(lambda: newest_checkpoint(run_dir) if resume else (None, []))
        if checkpoint:
            refuse_changes(settings, checkpoint)
        train_set, test_set = read_once(settings)
        data = fingerprint(train_set, test_set)
        distributed.refuse_differences(data)
        train_set, validation_set = keep_back(train_set, settings)
        parts = assemble(
            recipe, settings.network, train_set, test_set, epochs=settings.epochs, batch_size=settings.batch_size,
            seed=settings.seed, order=settings.order, device=settings.device, validation_set=validation_set,
        )  # fmt: skip
        saver = Saver(run_dir, keep, parts, settings=asdict(settings), classes=train_set.classes, data=data)
        progress = Progress()
        if checkpoint:
            refuse_other_data(checkpoint, data, parts.loaders)
            if checkpoint["settings"]["data"] != settings.data:
                print(f"moved       the pictures of {checkpoint['settings']['data']} are now those of {settings.data}")
            progress = restore(checkpoint, parts.model, parts.optimizer, parts.scheduler, path=run_dir)

        report.print_start(settings, run_dir, *parts.loaders, progress=progress, resume=resume, passed_over=passed_over)
        if not checkpoint:
            saver.save(run_folder.INTERRUPTED, progress)  # killed in the first epoch, a run can be resumed, too
        with open_log(run_dir, progress) as log, stop_on_signal() as stop:
            fit(
                parts.model, parts.loaders, parts.loss_fn, parts.optimizer, settings.device,
                epochs=settings.epochs, scheduler=parts.scheduler, precision=settings.precision,
                log=log, progress=progress, save=saver, stop=stop,
            )  # fmt: skip
    if progress.epoch < settings.epochs:
        raise StoppedError(report.how_to_continue(progress, settings, run_dir, keep), 128 + stop.signal)
    report.print_end(run_dir, progress.history, settings.validation)
    return progress.history


@contextlib.contextmanager
def claim_once(
    run_dir: Path | str | None, settings: Settings, resume: bool, overwrite: bool
) -> Iterator[tuple[Path, bool]]:
    """Claim the run's folder as `run_folder.claim` does, in the first process for all.

    Yields:
        The folder, and whether to resume: a run that torchrun starts anew goes on in the folder that it had.
    """
    run_dir, name, job = Path(run_dir) if run_dir else None, Path(settings.data).name, distributed.job()
    with contextlib.ExitStack() as stack:

        def claim() -> tuple[Path, bool]:
            earlier = run_folder.folder_of(job, run_dir, name) if job else None
            flags = {"resume": True} if earlier else {"resume": resume, "overwrite": overwrite}
            folder = stack.enter_context(run_folder.claim(earlier or run_dir, name, **flags))
            run_folder.write_job(folder, job)
            return folder, flags["resume"]

        yield distributed.shared(claim)


def read_once(settings: Settings) -> tuple[InMemory, InMemory]:
    """The train and test set that the settings name; processes on one machine share their memory."""

    def read() -> list[tuple]:
        sets = read_data(settings.data, limit=settings.limit, keep_back=settings.validation, seed=settings.seed)
        return [(one.images, one.targets, one.classes) for one in sets]

    train_set, test_set = (InMemory(*one) for one in distributed.read_once(read))
    return train_set, test_set


@contextlib.contextmanager
def open_log(run_dir: Path, progress: Progress) -> Iterator[Log | None]:
    """TensorBoard's add_scalar in the first process, None in the others."""
    if not distributed.is_first():
        yield None
        return
    with open_writer(run_dir, progress.points) as writer:
        yield writer.add_scalar


def settle(settings: Settings) -> Settings:
    """Check the settings and fill in what they leave open: learning rate, device, precision, the folder's full path."""
    settings.check()
    device = distributed.own_device(choose_device(settings.device))
    return replace(
        settings,
        lr=settings.lr or RECIPES[settings.recipe].lr,
        data=full_name(settings.data),
        device=str(device),
        precision=choose_precision(settings.precision, device),
    )


def keep_back(train_set: InMemory, settings: Settings) -> tuple[InMemory, InMemory | None]:
    """The pictures to train on, and those kept back to choose by (None if there are none or they are the test set)."""
    if settings.validation and has_test_set(settings.data):
        return train_set.split(settings.validation, settings.seed)
    return train_set, None


def full_name(data: str) -> str:
    """A folder with its full path, so that a run can be resumed from anywhere; the name of a data set as it is."""
    return str(Path(data).expanduser().resolve()) if is_folder(data) else data


class Parts(NamedTuple):
    """All that `fit` trains with."""

    model: nn.Module
    loaders: tuple[DataLoader, ...]
    loss_fn: nn.Module
    optimizer: Optimizer
    scheduler: LRScheduler | None


def assemble(
    recipe: Recipe,
    network: str,
    train_set: InMemory,
    test_set: InMemory,
    *,
    epochs: int,
    batch_size: int = 64,
    seed: int = 0,
    order: str = "shuffled",
    device: str = "cpu",
    validation_set: InMemory | None = None,
) -> Parts:
    """Seed everything, then make the network and all that trains it.

    Args:
        recipe: decides transforms, loss, optimizer and learning rates.
        network: a name in `MODELS`.
        train_set, test_set: pictures without a transform.
        epochs: how many the learning-rate schedule is for.
        batch_size, seed, order: as in `Settings`.
        device: where the model goes.
        validation_set: pictures kept back to choose by.
    """
    shuffle = order == "shuffled"
    train_set = train_set if shuffle else train_set.mixed(seed)
    train_set = train_set.transformed(recipe.train_transform())
    test_set = test_set.transformed(recipe.test_transform())
    seed_everything(seed)
    model = place(MODELS[network](len(train_set.classes)), device)
    optimizer = recipe.optimizer(model)
    # With a new order each epoch, a last batch of few pictures would mean a noisy step right before the
    # test (docs/results.md); in the fixed order, as in the lesson, it is always the same.
    drop_last = shuffle and len(train_set) >= batch_size
    loaders = make_loaders(train_set, test_set, batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last)
    if validation_set is not None:
        loaders += make_loaders(train_set, validation_set.transformed(recipe.test_transform()), batch_size)[1:]
    scheduler = recipe.scheduler(optimizer, epochs * len(loaders[0]))
    return Parts(distributed.wrap(model, loaders[0]), loaders, recipe.loss_fn(), optimizer, scheduler)


class Saver:
    """What `fit` calls as `save`: writes the checkpoint, prints the epoch, removes checkpoints no longer wanted."""

    def __init__(self, run_dir: Path, keep: int, parts: Parts, **stored) -> None:
        self.run_dir, self.keep, self.parts, self.stored = run_dir, keep, parts, stored
        self.started = time.perf_counter()

    def __call__(self, progress: Progress) -> None:
        distributed.same_random_state()
        if progress.batch:
            self.save(run_folder.INTERRUPTED, progress)
            return
        record = progress.history[-1]
        if record is best_epoch(progress.history):
            self.save(run_folder.BEST, progress)  # first, so that a run killed between the two repeats the epoch
        self.save(run_folder.epoch_name(record.epoch), progress)
        if distributed.is_first():
            run_folder.finish_epoch(self.run_dir, record.epoch, self.keep)
        now = time.perf_counter()
        report.print_epoch(record, now - self.started)
        self.started = now

    def save(self, name: str, progress: Progress) -> None:
        if not distributed.is_first():
            return
        parts = self.parts
        save_checkpoint(
            self.run_dir / name, parts.model, parts.optimizer, progress, scheduler=parts.scheduler, **self.stored
        )


@dataclass
class Stop:
    """Returns True once a signal has arrived, here or in another process of this training; `signal` is its number."""

    signal: int = 0
    announced: bool = False

    def __call__(self) -> bool:
        asked = distributed.largest(self.signal)
        if asked:  # only then: a signal that comes meanwhile must not be lost
            self.signal = asked
        if asked and not self.announced:  # not in the signal's handler, which may interrupt a print
            self.announced = True
            twice = "; once more stops at once, without saving" if distributed.count() == 1 else ""
            print(f"\nFinishing this step and saving{twice}.", flush=True)
        return asked != 0


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Make the first Ctrl-C or SIGTERM stop the run after the current step; a second one stops it at once.

    Under torchrun there is no second one: a Ctrl-C reaches each process twice, from the terminal and from torchrun.
    """
    stop = Stop()

    def ask(number: int, frame: object) -> None:
        stop.signal = number
        if distributed.count() == 1:
            for handled, handler in before.items():
                signal.signal(handled, handler)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, ask)
    except ValueError:  # not the main thread, the only one that gets signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse_changes(settings: Settings, stored: dict) -> None:
    """Raise InputError if a run is resumed with settings that would make it a different run."""
    earlier = Settings.from_dict(stored["settings"])
    may_be_new = MAY_CHANGE | ({"data"} if stored.get("data") else set())  # the pictures themselves are compared
    for name, value in asdict(earlier).items():
        may_change = name in may_be_new and not (name == "epochs" and RECIPES[earlier.recipe].one_cycle)
        if not may_change and getattr(settings, name) != value:
            raise InputError(
                f"this run was begun with {name.replace('_', '-')} {value}, not {getattr(settings, name)}, and can "
                "only be resumed as it was begun; leave that flag out, or start another run."
            )


def refuse_other_data(checkpoint: dict, data: str, loaders: tuple[DataLoader, ...]) -> None:
    """Raise InputError if the pictures are no longer those the run was started with."""
    if checkpoint.get("data"):
        same = checkpoint["data"] == data
    else:  # format version 1 knows only how many there were
        train_loader, test_loader, *_ = loaders
        counts = [(row["train"]["count"], row["test"]["count"]) for row in checkpoint["progress"]["history"]]
        trained = len(train_loader) * train_loader.batch_size if train_loader.drop_last else len(train_loader.dataset)
        same = train_loader.dataset.classes == checkpoint["classes"]
        same = same and all(count == (trained, len(test_loader.dataset)) for count in counts)
    if not same:
        raise InputError(
            "the pictures or their classes have changed since this run was begun; put them back, or start another run."
        )
