"""Loss and accuracy, exact on a ragged last batch."""

import math
import operator
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from tudui_course.distributed import summed


@dataclass(frozen=True)
class EpochResult:
    """Sums over the samples of an epoch, or of the part of it that has been run.

    Attributes:
        loss_sum: sum over samples of the per-sample loss (each batch's mean loss times its size).
        batch_loss_sum: sum over batches of the batch's mean loss, the figure that XiaoTudui's lesson prints as
            "整体测试集上的Loss"; on CIFAR-10's 10,000 test pictures it adds up 157 batch means.
        correct: samples whose largest logit is that of their target.
        count: samples seen.
        steps: batches seen.
    """

    loss_sum: float = 0.0
    batch_loss_sum: float = 0.0
    correct: int = 0
    count: int = 0
    steps: int = 0

    @property
    def loss(self) -> float:
        """Mean loss of a sample, in nats for cross-entropy; NaN where nothing has been seen."""
        return self.loss_sum / self.count if self.count else math.nan

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1; NaN where nothing has been seen."""
        return self.correct / self.count if self.count else math.nan

    def __add__(self, other: "EpochResult") -> "EpochResult":
        return EpochResult(*map(operator.add, astuple(self), astuple(other)))


def count_correct(logits: Tensor, targets: Tensor) -> Tensor:
    """Count the samples whose largest logit stands at the target.

    Classes lie along dim 1, one row a sample, so it is `argmax(1)`; `argmax(0)` would answer which sample of the
    batch has the largest logit for each class.

    Args:
        logits: (N, C), any float dtype.
        targets: (N,) int64 in [0, C).

    Returns:
        0-dimensional int64 tensor on the device of the logits; `.item()` makes a number of it.

    Raises:
        ValueError: the shapes don't belong together.
    """
    if logits.dim() != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and targets {tuple(targets.shape)}; "
            "expected (N, C) and (N,): one row of logits and one class index for each sample."
        )
    return (logits.argmax(1) == targets).sum()


def confusion_matrix(logits: Tensor, targets: Tensor, num_classes: int = 10) -> Tensor:
    """Count how often each class was taken for each, with torchmetrics.

    Args:
        logits: (N, C).
        targets: (N,) int64.

    Returns:
        (C, C) int64: row = the true class, column = the predicted one.
    """
    # torchmetrics takes a second to import, which a training run need not wait for.
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return multiclass_confusion_matrix(logits.argmax(1), targets, num_classes)


class Totals:
    """Adds up batches on their own device, so that nobody waits for it until the numbers are asked for.

    Where several processes share each batch, the numbers are those of all of them; all must ask at the same step.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        # MPS has no float64; elsewhere it keeps the sum of 50,000 losses exact to the last printed digit.
        self.real = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self.batches = []  # of each: samples, their summed loss, right answers
        self.nothing = torch.zeros(3, dtype=self.real, device=device)

    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add one batch: its mean loss (0-dim), logits (N, C) and targets (N,)."""
        size = torch.full_like(self.nothing[0], len(targets))
        batch = torch.stack((size, loss.detach().to(self.real) * size, count_correct(logits, targets).to(self.real)))
        self.batches.append(batch if len(targets) else self.nothing)  # the mean loss of no sample is NaN

    def table(self) -> Tensor:
        """(batches, 3), on the CPU: samples, summed loss and right answers of each batch. Waits for the device."""
        return summed(torch.stack([self.nothing, *self.batches])[1:]).cpu()

    def last_loss(self) -> float:
        """The mean loss of the last batch. Waits for the device."""
        size, loss, _ = self.table()[-1].tolist()
        return loss / size

    def first_bad_step(self) -> int | None:
        """The 1-based number of the first batch whose loss was NaN or infinite, or None. Waits for the device."""
        bad = (~self.table()[:, 1].isfinite()).nonzero()
        return int(bad[0]) + 1 if len(bad) else None

    def result(self) -> EpochResult:
        """The sums as plain numbers. Waits for the device."""
        table = self.table()
        sizes, losses, correct = table.unbind(1)
        batch_loss_sum = (losses / sizes).sum().item()
        return EpochResult(losses.sum().item(), batch_loss_sum, int(correct.sum()), int(sizes.sum()), len(table))
