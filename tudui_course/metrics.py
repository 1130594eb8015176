"""Loss and accuracy, exact on a ragged last batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


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
        return EpochResult(
            self.loss_sum + other.loss_sum,
            self.batch_loss_sum + other.batch_loss_sum,
            self.correct + other.correct,
            self.count + other.count,
            self.steps + other.steps,
        )


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
    """Adds up batches on their own device, so that nobody waits for it until `result()` asks for the numbers."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        # MPS has no float64; elsewhere it keeps the sum of 50,000 losses exact to the last printed digit.
        real = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self.losses = torch.zeros(2, dtype=real, device=device)  # weighted by samples, and the plain sum of batch means
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.finite_steps = torch.zeros((), dtype=torch.int64, device=device)
        self.count = 0
        self.steps = 0

    def add(self, loss: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Add one batch: its mean loss (0-dim), logits (N, C) and targets (N,)."""
        loss = loss.detach()
        self.losses += torch.stack((loss * len(targets), loss))
        self.correct += count_correct(logits, targets)
        self.finite_steps += self.losses[0].isfinite()  # stops counting at the first NaN or infinity: both stay
        self.count += len(targets)
        self.steps += 1

    def first_bad_step(self) -> int | None:
        """The 1-based number of the first batch whose loss was NaN or infinite, or None. Waits for the device."""
        finite = int(self.finite_steps.item())
        return finite + 1 if finite < self.steps else None

    def result(self) -> EpochResult:
        """The sums as plain numbers. Waits for the device."""
        loss_sum, batch_loss_sum = self.losses.tolist()
        return EpochResult(loss_sum, batch_loss_sum, int(self.correct.item()), self.count, self.steps)
