"""What several judges hand to a learner's function: a loader that is a list, a network that is watched."""

import torch
from torch import Tensor, nn


class Batches(list):
    """A loader: batches in a list, with `dataset` and `batch_size` as a DataLoader has them.

    Args:
        images: all of them, (N, ...).
        targets: (N,).
        size: of a batch; the last one may be smaller.
    """

    def __init__(self, images: Tensor, targets: Tensor, size: int) -> None:
        super().__init__(zip(images.split(size), targets.split(size), strict=True))
        self.dataset, self.batch_size = list(zip(images, targets, strict=True)), size


class Watched(nn.Module):
    """A network that notes of each call whether it was in training mode, and whether gradients were recorded."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.modes, self.recorded = [], []

    def forward(self, images: Tensor) -> Tensor:
        """What the layers make of the images."""
        self.modes.append(self.training)
        self.recorded.append(torch.is_grad_enabled())
        return self.layers(images)
