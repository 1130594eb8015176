"""The training loop: train an epoch, evaluate, and do both for as many epochs as asked."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, RandomSampler
from tqdm import tqdm

from tudui_course.metrics import EpochResult, Totals

Batches = Iterable[tuple[Tensor, Tensor]]
Log = Callable[[str, float, int], None]


class DivergedError(RuntimeError):
    """The loss or a weight is no finite number any more; training on would make nothing better."""


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
        optimizer: over the model's parameters.
        device: where the model is; batches are moved there.
        log: called with ("train_loss", the batch's loss, step) every `log_every` steps; `writer.add_scalar` fits.
        first_step: optimizer steps done before, so that steps are numbered on from there.
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
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
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
                log("train_loss", loss.item(), step)  # .item() waits for the device: once a logged step, not each
    check_finite(totals, first_step, optimizer)
    return totals.result()


@torch.no_grad()
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
    device = torch.device(device)
    totals = Totals(device)
    model.eval()
    for images, targets in loader:
        images = images.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
            loss = loss_fn(logits, targets)
        totals.add(loss, logits, targets)
    return totals.result()


@torch.no_grad()
def predict_all(
    model: nn.Module, loader: Batches, device: torch.device | str = "cpu", *, precision: str = "float32"
) -> tuple[Tensor, Tensor]:
    """The logits (N, C) and targets (N,) of all samples, on the CPU, in the order of the loader."""
    model.eval()
    device = torch.device(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        batches = [(model(images.to(device)).float().cpu(), targets) for images, targets in loader]
    return torch.cat([logits for logits, _ in batches]), torch.cat([targets for _, targets in batches])


def check_weights(model: nn.Module) -> None:
    """Raise DivergedError if a parameter or a running statistic is NaN or infinite."""
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise DivergedError(f"{name} holds NaN or infinity after the last step: try a smaller learning rate.")


def check_finite(totals: Totals, first_step: int, optimizer: Optimizer) -> None:
    """Raise DivergedError, naming the step and the learning rate, if a loss was NaN or infinite."""
    bad = totals.first_bad_step()
    if bad is not None:
        lr = optimizer.param_groups[0]["lr"]
        raise DivergedError(
            f"the loss became NaN or infinite at step {first_step + bad} (learning rate {lr:g}): "
            f"try a smaller learning rate, for example {lr / 10:g}, or clip the gradients with "
            "torch.nn.utils.clip_grad_norm_; if it happens at the first step, look at the input for NaN."
        )


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch: its number (from 0), the optimizer steps done so far, and its two results."""

    epoch: int
    step: int
    train: EpochResult
    test: EpochResult


@dataclass
class Progress:
    """How far a run has come: all that `fit` needs to go on, beside model, optimizer and random state.

    Attributes:
        epoch: epochs finished.
        step: optimizer steps done in all.
        batch: batches done of the epoch under way (0 between epochs).
        partial: what these batches added up to.
        loader_state: state of the train loader's generator when the epoch under way, or the next, began; uint8 tensor.
        history: the finished epochs.
        points: all logged (tag, value, step).
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    partial: EpochResult = field(default_factory=EpochResult)
    loader_state: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list)
    points: list[tuple[str, float, int]] = field(default_factory=list)


def fit(
    model: nn.Module,
    loaders: tuple[DataLoader, DataLoader],
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
        loaders: train loader and test loader.
        epochs: epochs in all, those that `progress` counts included.
        log: called with "train_loss" every `log_every` steps, and with "test_loss" and "test_accuracy" after each
            epoch (step 0 after the first, as in the lesson).
        progress: where an earlier call stopped; it is kept up to date in place.
        save: called with the progress after each epoch, and when stopped in the middle of one.
        stop: asked after each step; once it says True the step is finished, `save` is called and `fit` returns.

    Returns:
        The finished epochs, earlier ones included.

    Raises:
        DivergedError: a loss or a weight was NaN or infinite. `save` is not called with it.
        ValueError: `progress` stands in the middle of an epoch whose order can't come again.
    """
    train_loader, test_loader = loaders
    progress = progress if progress is not None else Progress()
    rewind(train_loader, progress)

    def record(tag: str, value: float, step: int) -> None:
        progress.points.append((tag, value, step))
        if log is not None:
            log(tag, value, step)
        if tag == "train_loss":
            bar.set_postfix_str(f"loss {value:.3f}")

    while progress.epoch < epochs and not stop():
        batches = until(stop, remaining(train_loader, progress.batch), len(train_loader) - progress.batch)
        try:
            with progress_bar(batches, train_loader, progress, epochs) as bar:
                result = train_one_epoch(
                    model, bar, loss_fn, optimizer, device, log=record, first_step=progress.step,
                    log_every=log_every, scheduler=scheduler, precision=precision,
                )  # fmt: skip
            check_weights(model)
        except DivergedError as error:
            raise DivergedError(f"epoch {progress.epoch + 1}: {error}") from None
        progress.partial += result
        progress.step += result.steps
        progress.batch += result.steps
        if progress.batch == len(train_loader):  # not stopped in the middle
            test = evaluate(model, test_loader, loss_fn, device, precision=precision)
            if not math.isfinite(test.loss):
                raise DivergedError(
                    f"epoch {progress.epoch + 1}: the test loss is {test.loss}: try a smaller learning rate."
                )
            record("test_loss", test.loss, progress.epoch)
            record("test_accuracy", test.accuracy, progress.epoch)
            finish_epoch(progress, test)
            if train_loader.generator is not None:
                progress.loader_state = train_loader.generator.get_state()
        if save is not None:
            save(progress)
    return progress.history


def finish_epoch(progress: Progress, test: EpochResult) -> None:
    """Enter the finished epoch into the history and start counting the next one."""
    progress.history.append(EpochRecord(progress.epoch, progress.step, progress.partial, test))
    progress.epoch += 1
    progress.batch = 0
    progress.partial = EpochResult()


def rewind(loader: DataLoader, progress: Progress) -> None:
    """Put the loader's generator back to where the epoch under way began, so that its order comes again."""
    if loader.generator is not None:
        if progress.loader_state is not None:
            loader.generator.set_state(progress.loader_state)
        progress.loader_state = loader.generator.get_state()
    elif progress.batch and isinstance(loader.sampler, RandomSampler):
        raise ValueError(
            "the order of the epoch under way is lost: to be resumed in its middle, a shuffling loader needs a "
            "generator of its own, DataLoader(..., shuffle=True, generator=torch.Generator())."
        )


def remaining(loader: DataLoader, done: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader without its first `done` batches, with random state as if they had not been loaded.

    A resumed run restores the random state as it was *after* those batches; loading them again must not move it.
    """
    if done == 0:
        return iter(loader)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    batches = iter(loader)
    for _ in itertools.islice(batches, done):
        pass
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
    return batches


def until(stop: Callable[[], bool], batches: Batches, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `count` batches, or fewer if `stop`, asked after each one has been used, says True.

    It isn't asked after the last one: a loader has to be gone through to its very end, where it draws once more from
    its generator, or the next epoch would have another order.
    """
    for number, batch in enumerate(batches, start=1):
        yield batch
        if number < count and stop():
            return


def progress_bar(batches: Batches, loader: DataLoader, progress: Progress, epochs: int) -> tqdm:
    """Show pictures done and pictures per second on a terminal; nothing where the output is piped."""
    return tqdm(
        batches,
        desc=f"epoch {progress.epoch + 1}/{epochs}",
        total=len(loader),
        initial=progress.batch,
        unit=" pictures",
        unit_scale=loader.batch_size or 1,
        disable=None,  # None: only where stderr is a terminal
        leave=False,
    )
