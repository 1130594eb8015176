"""How far a run has come, and how an interrupted epoch continues with exactly the batches it still had to do."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from tudui_course.metrics import EpochResult

Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class EpochRecord:
    """A finished epoch: its number (from 0), the optimizer steps done so far, and its results."""

    epoch: int
    step: int
    train: EpochResult
    test: EpochResult
    validation: EpochResult | None = None  # on the pictures kept back to choose by

    @property
    def deciding(self) -> EpochResult:
        """What the best epoch is chosen by: the validation set or, without one, the test set, which flatters."""
        return self.validation or self.test


@dataclass
class Progress:
    """How far a run has come: all that `fit` needs to continue besides model, optimizer and random state.

    Attributes:
        epoch: epochs finished.
        step: optimizer steps done in all.
        batch: batches done in the current epoch (0 between epochs).
        partial: totals over those batches.
        loader_state: state of the train loader's generator at the start of the current (or next) epoch; uint8.
        history: the finished epochs.
        points: all logged (tag, value, step, time in seconds since 1970); format version 1 has no time.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    partial: EpochResult = field(default_factory=EpochResult)
    loader_state: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list)
    points: list[tuple] = field(default_factory=list)

    def add(self, result: EpochResult) -> None:
        """Count the batches just trained on."""
        self.partial += result
        self.step += result.steps
        self.batch += result.steps

    def finish_epoch(self, train_loader: DataLoader, test: EpochResult, validation: EpochResult | None = None) -> None:
        """Add the finished epoch to the history and start counting the next one."""
        self.history.append(EpochRecord(self.epoch, self.step, self.partial, test, validation))
        self.epoch += 1
        self.batch = 0
        self.partial = EpochResult()
        if train_loader.generator is not None:
            self.loader_state = train_loader.generator.get_state()

    @classmethod
    def from_dict(cls, values: dict) -> "Progress":
        """Read back what `dataclasses.asdict` gave."""
        history = []
        for row in values["history"]:
            results = {name: EpochResult(**row[name]) for name in ("train", "test", "validation") if row.get(name)}
            history.append(EpochRecord(row["epoch"], row["step"], **results))
        points = [tuple(point) for point in values["points"]]
        return cls(**{**values, "partial": EpochResult(**values["partial"]), "history": history, "points": points})


def rewind(loader: DataLoader, progress: Progress) -> None:
    """Set the loader's generator back to the start of the current epoch, so that its order is repeated.

    Raises:
        ValueError: the loader shuffles without a generator of its own, so the order is lost.
    """
    if loader.generator is not None:
        if progress.loader_state is not None:
            loader.generator.set_state(progress.loader_state)
        progress.loader_state = loader.generator.get_state()
    elif progress.batch and isinstance(loader.sampler, RandomSampler):
        raise ValueError(
            "the order of the epoch under way is lost: to be resumed in its middle, a shuffling loader needs a "
            "generator of its own, DataLoader(..., shuffle=True, generator=torch.Generator())."
        )


def remaining(loader: DataLoader, done: int, stop: Callable[[], bool]) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader without its first `done` batches, until `stop`, called after each batch, returns True.

    It isn't called after the last batch: a loader draws from its generator once more at its very end, and if it isn't
    run to that end, the next epoch has a different order.
    """
    batches = skip(loader, done) if done else iter(loader)
    for number, batch in enumerate(batches, start=done + 1):
        yield batch
        if number < len(loader) and stop():
            return


def skip(loader: DataLoader, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader without its first `count` batches, leaving the random state as it was.

    A resumed run restores the random state as it was *after* those batches; loading them again must not move it.
    """
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    batches = iter(loader)
    for _ in itertools.islice(batches, count):
        pass
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state(states[2])
    return batches


def best_epoch(history: list[EpochRecord]) -> EpochRecord:
    """The epoch with the highest deciding accuracy; the first of several."""
    return max(history, key=lambda record: record.deciding.accuracy)
