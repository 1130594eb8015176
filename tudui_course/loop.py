"""The training loop: train one epoch, evaluate, and do both for as many epochs as asked."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm

from tudui_course.distributed import is_first
from tudui_course.errors import DivergedError
from tudui_course.metrics import EpochResult, Totals
from tudui_course.resume import Batches, EpochRecord, Progress, remaining, rewind
from tudui_course.runtime import autocast

Log = Callable[[str, float, int], None]


def train_one_epoch(
    model: nn.Module,
    loader: Batches,
    loss_fn: nn.Module,
    optimizer: Optimizer,
    device: torch.device | str = "cpu",
    *,
    log: Log | None = None,
    first_step: int = 0,
    log_every: int = 100,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    precision: str = "float32",
) -> EpochResult:
    """Train on every batch once.

    Args:
        model: maps images (N, 3, 32, 32) to logits (N, C); it is already on the device.
        loader: yields images (N, 3, 32, 32), float, and targets (N,), int64.
        loss_fn: maps logits and targets to the batch's mean loss.
        optimizer: updates the model's parameters.
        device: where the model is; batches are moved there.
        log: called with ("train_loss", the batch's loss, step) every `log_every` steps; `writer.add_scalar` fits.
        first_step: optimizer steps done before; numbering continues from there.
        log_every: steps between two logged losses.
        scheduler: stepped after each optimizer step.
        precision: "float32", or "bfloat16" for autocast.

    Returns:
        Loss and accuracy over the samples seen, each as the model was when it saw them.

    Raises:
        DivergedError: a loss was NaN or infinite; noticed at the next logged step or at the end.
    """
    device = torch.device(device)
    totals = Totals(device)
    model.train()
    for step, (images, targets) in enumerate(loader, start=first_step + 1):
        images = images.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = model(images)
            loss = loss_fn(logits, targets)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()

        totals.add(loss, logits, targets)
        if step % log_every == 0:
            check_finite(totals, first_step, optimizer)
            if log is not None:
                log("train_loss", totals.last_loss(), step)  # waits for the device: once a logged step, not each
    check_finite(totals, first_step, optimizer)
    return totals.result()


def evaluate(
    model: nn.Module,
    loader: Batches,
    loss_fn: nn.Module,
    device: torch.device | str = "cpu",
    *,
    precision: str = "float32",
) -> EpochResult:
    """Measure loss and accuracy, changing nothing; the model is left in eval mode.

    Args:
        model: maps images (N, 3, 32, 32) to logits (N, C); it is already on the device.
        loader: yields images (N, 3, 32, 32), float, and targets (N,), int64.
        loss_fn: maps logits and targets to the batch's mean loss.
        device: where the model is; batches are moved there.
        precision: "float32", or "bfloat16" for autocast.

    Returns:
        Loss and accuracy over all samples, exact on a smaller last batch.
    """
    totals = Totals(device)
    for logits, targets in predict_batches(model, loader, device, precision=precision):
        totals.add(loss_fn(logits, targets), logits, targets)
    return totals.result()


@torch.no_grad()
def predict_batches(
    model: nn.Module, loader: Batches, device: torch.device | str = "cpu", *, precision: str = "float32"
) -> Iterator[tuple[Tensor, Tensor]]:
    """Run a model in eval mode, without gradients: for each batch its logits (N, C), float32, and its targets (N,)."""
    device = torch.device(device)
    model.eval()
    for images, targets in loader:
        images = images.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = model(images)
        yield logits.float(), targets


def predict_all(
    model: nn.Module, loader: Batches, device: torch.device | str = "cpu", *, precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """The logits (N, C), float32, and targets (N,) of all samples, on the CPU, in the order of the loader."""
    batches = list(predict_batches(model, loader, device, precision=precision))
    logits, targets = zip(*batches, strict=True)
    return torch.cat(logits).cpu(), torch.cat(targets).cpu()


def fit(
    model: nn.Module,
    loaders: tuple[DataLoader, ...],
    loss_fn: nn.Module,
    optimizer: Optimizer,
    device: torch.device | str = "cpu",
    *,
    epochs: int,
    log: Log | None = None,
    log_every: int = 100,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    precision: str = "float32",
    progress: Progress | None = None,
    save: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[EpochRecord]:
    """Train and evaluate, epoch after epoch.

    Args:
        model, loss_fn, optimizer, device, log_every, scheduler, precision: as for `train_one_epoch`.
        loaders: train loader, test loader and, if pictures were kept back to choose by, validation loader.
        epochs: total number of epochs, including those in `progress`.
        log: called with "train_loss" every `log_every` steps, and with "test_loss" and "test_accuracy" (and
            "validation_loss", "validation_accuracy") after each epoch (step 0 after the first, as in the lesson).
        progress: where an earlier call stopped; it is kept up to date in place.
        save: called with the progress after each epoch, and when stopped partway through one.
        stop: called after each step; once it returns True, `save` is called and `fit` returns.

    Returns:
        The finished epochs, earlier ones included.

    Raises:
        DivergedError: a loss or a weight was NaN or infinite; that state is not saved.
        ValueError: `progress` is partway through an epoch whose order can't be repeated.
    """
    train_loader, *test_loaders = loaders
    progress = progress if progress is not None else Progress()
    rewind(train_loader, progress)

    def record(tag: str, value: float, step: int) -> None:
        progress.points.append((tag, value, step, time.time()))
        if log is not None:
            log(tag, value, step)
        if tag == "train_loss":
            bar.set_postfix_str(f"loss {value:.3f}")

    while progress.epoch < epochs and not stop():
        batches = remaining(train_loader, progress.batch, stop)
        with name_epoch(progress.epoch), progress_bar(batches, train_loader, progress, epochs) as bar:
            train = train_one_epoch(
                model, bar, loss_fn, optimizer, device, log=record, first_step=progress.step,
                log_every=log_every, scheduler=scheduler, precision=precision,
            )  # fmt: skip
            check_weights(model)
        progress.add(train)

        if progress.batch == len(train_loader):  # not stopped in the middle
            tests = [evaluate(model, loader, loss_fn, device, precision=precision) for loader in test_loaders]
            for name, test in zip(("test", "validation"), tests, strict=False):
                check_test(name, test, progress.epoch)
                record(f"{name}_loss", test.loss, progress.epoch)
                record(f"{name}_accuracy", test.accuracy, progress.epoch)
            progress.finish_epoch(train_loader, *tests)
        if save is not None:
            save(progress)
    return progress.history


@contextlib.contextmanager
def name_epoch(epoch: int) -> Iterator[None]:
    """Put the epoch, counted from 1, in front of a DivergedError's message."""
    try:
        yield
    except DivergedError as error:
        raise DivergedError(f"epoch {epoch + 1}: {error}") from None


def check_weights(model: nn.Module) -> None:
    """Raise DivergedError if a parameter or a running statistic is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise DivergedError(f"{name} holds NaN or infinity after the last step: try a smaller learning rate.")


def check_test(name: str, test: EpochResult, epoch: int) -> None:
    """Raise DivergedError if the loss on the test or validation set is NaN or infinite."""
    if not math.isfinite(test.loss):
        raise DivergedError(f"epoch {epoch + 1}: the {name} loss is {test.loss}: try a smaller learning rate.")


def check_finite(totals: Totals, first_step: int, optimizer: Optimizer) -> None:
    """Raise DivergedError, naming the step and the learning rate, if a loss was NaN or infinite."""
    bad = totals.first_bad_step()
    if bad is not None:
        lr = optimizer.defaults["lr"]  # the one asked for, not what a scheduler has made of it since
        raise DivergedError(
            f"the loss became NaN or infinite at step {first_step + bad} (learning rate {lr:g}): "
            f"try a smaller learning rate, for example {lr / 10:g}, or clip the gradients with "
            "torch.nn.utils.clip_grad_norm_; if it happens at the first step, look at the input for NaN."
        )


def progress_bar(batches: Batches, loader: DataLoader, progress: Progress, epochs: int) -> tqdm:
    """Show pictures done and pictures per second on a terminal; nothing where the output is piped."""
    return tqdm(
        batches,
        desc=f"epoch {progress.epoch + 1}/{epochs}",
        total=len(loader),
        initial=progress.batch,
        unit=" pictures",
        unit_scale=loader.batch_size or 1,
        disable=None if is_first() else True,  # None: only where stderr is a terminal
        leave=False,
    )
