"""How far a run has come, and how an epoch that was stopped goes on with the batches it would have had."""

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
    """A finished epoch: its number (from 0), the optimizer steps done so far, and its results.

    Attributes:
        validation: on the pictures kept back for choosing, None where there are none.
    """

    epoch: int
    step: int
    train: EpochResult
    test: EpochResult
    validation: EpochResult | None = None

    @property
    def deciding(self) -> EpochResult:
        """What the best epoch is chosen by: the validation set, or for want of one the test set, which flatters."""
        return self.validation or self.test


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
        points: all logged (tag, value, step, time in seconds since 1970); without the time from format version 1.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    partial: EpochResult = field(default_factory=EpochResult)
    loader_state: Tensor | None = None
    history: list[EpochRecord] = field(default_factory=list)
    points: list[tuple] = field(default_factory=list)

    def add(self, result: EpochResult) -> None:
        """Count batches that were trained on."""
        self.partial += result
        self.step += result.steps
        self.batch += result.steps

    def finish_epoch(self, train_loader: DataLoader, test: EpochResult, validation: EpochResult | None = None) -> None:
        """Enter the finished epoch into the history and start counting the next one."""
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
    """Put the loader's generator back to where the epoch under way began, so that its order comes again.

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
    """Iterate over a loader without its first `done` batches, until `stop`, asked after each batch, says True.

    It isn't asked after the last batch: a loader has to be gone through to its very end, where it draws once more from
    its generator, or the next epoch would have another order.
    """
    batches = skip(loader, done) if done else iter(loader)
    for number, batch in enumerate(batches, start=done + 1):
        yield batch
        if number < len(loader) and stop():
            return


def skip(loader: DataLoader, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over a loader without its first `count` batches, leaving the random state as if they had not been loaded.

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
    """The epoch with the highest accuracy on what decides, the first of several."""
    return max(history, key=lambda record: record.deciding.accuracy)
