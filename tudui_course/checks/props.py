"""What several judges hand to a learner's function: loaders that are lists, networks that are watched, saved runs."""

import copy
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from tudui_course.loop import train_one_epoch


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
    """A network that notes of each call whether it was in training mode, and whether gradients were recorded.

    It notes each call of train() and eval() as well.
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.modes, self.recorded, self.switched = [], [], []

    def forward(self, images: Tensor) -> Tensor:
        """What the layers make of the images."""
        self.modes.append(self.training)
        self.recorded.append(torch.is_grad_enabled())
        return self.layers(images)

    def train(self, mode: bool = True) -> "Watched":
        """Switch, as any network does."""
        self.switched.append(mode)
        return super().train(mode)


class Loaded(nn.Linear):
    """One weight; notes what it is asked to load: whether those are its own tensors, or a plain copy of their names."""

    def __init__(self) -> None:
        super().__init__(1, 1, bias=False)
        nn.init.zeros_(self.weight)
        self.notes = []

    def count(self) -> None:
        """Add 1 to the weight, in place, as an optimizer does."""
        with torch.no_grad():
            self.weight += 1

    def load_state_dict(self, weights, *options, **more):
        """Load, as any network does."""
        result = super().load_state_dict(weights, *options, **more)
        own = weights["weight"].data_ptr() == self.weight.data_ptr()
        self.notes.append(f"{own=} {hasattr(weights, '_metadata')}")
        return result


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random inputs of six numbers, (count, 6), and random targets of three classes, (count,)."""
    generator = torch.Generator().manual_seed(seed)
    return 2 + 3 * torch.randn(count, 6, generator=generator), torch.randint(0, 3, (count,), generator=generator)


def tensors(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Random tensors, float64, one of each shape."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def exam(count: int, size: int, seed: int) -> tuple[Watched, Batches, float, float]:
    """What an evaluation is tried out on, and what is to come out.

    Returns:
        A network with BatchNorm, whose running mean is off, and Dropout, in evaluation mode; `count` pictures in
        batches of `size`; the mean loss, and the accuracy, which is more than half.
    """
    images, targets = pictures(count, seed)
    torch.default_generator.manual_seed(seed)
    model = Watched(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).eval()
    model.layers[0].running_mean += 1.5
    with torch.no_grad():
        logits = model.layers(images)
    right = logits.argmax(1)
    targets = torch.where(torch.arange(count) % 7 < 4, right, targets)
    loss = -logits.log_softmax(1)[torch.arange(count), targets].mean().item()
    return model, Batches(images, targets, size), loss, (right == targets).double().mean().item()


def trained(model: nn.Module, batches: Iterable, lr: float, **options: object) -> tuple[nn.Module, list[float]]:
    """A copy of a network, trained with plain SGD by the package's own loop, and each batch's loss before its step."""
    model, losses = copy.deepcopy(model), []
    train_one_epoch(
        model, batches, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr),
        log=lambda tag, loss, step: losses.append(loss), log_every=1, **options,
    )  # fmt: skip
    return model, losses


def weights_of(model: nn.Module) -> Tensor:
    """All parameters in one row, copied."""
    return parameters_to_vector(model.parameters()).detach()


def start(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A tiny network with Dropout, and an SGD with momentum."""
    torch.default_generator.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train_a_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One step, without random numbers."""
    optimizer.zero_grad()
    model.eval()(torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum().backward()
    optimizer.step()


def save(path: Path, epoch: int, **more: object) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Write a checkpoint of a run that has made a step, and return that run."""
    model, optimizer = start(seed=3)
    train_a_step(model, optimizer)
    torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict(), **more}, path)
    return model, optimizer
