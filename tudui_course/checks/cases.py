"""The twelve cases of 15_not_learning. Don't read on before you have solved them: the functions' names give them away.

A training is put together from the parts of `HEALTHY`; a case replaces one of them, or two, by parts with a real bug.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tudui_course.data import InMemory

Batches = list[tuple[Tensor, Tensor]]


@dataclass
class Case:
    """A training that is set up and can be looked into.

    Attributes:
        classes: class names.
        train: images (N, 3, 32, 32), float, and targets (N,), ready to train on.
        test_batches: batches of the test pictures, class by class, as many pictures each as there are classes.
        model, optimizer: as they are now.
        train_step: one step on (model, images, targets, optimizer); returns the loss.
        evaluate: of (model, batches); returns loss and accuracy.
        steps, losses, tests: what `run` has seen; tests are (step, loss, accuracy).
    """

    classes: list[str]
    train: tuple[Tensor, Tensor]
    test_batches: Batches
    model: nn.Module
    optimizer: torch.optim.Optimizer
    train_step: Callable
    evaluate: Callable
    losses: list[float] = field(default_factory=list)
    tests: list[tuple[int, float, float]] = field(default_factory=list)

    def batches(self, size: int = 64) -> Batches:
        """The training pictures in batches."""
        images, targets = self.train
        return list(zip(images.split(size), targets.split(size), strict=True))

    def run(self, epochs: int = 5) -> "Case":
        """Train, and test before the first epoch and after each, always with the same random numbers."""
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(0)
            for epoch in range(epochs + 1):
                for images, targets in self.batches() if epoch > 0 else ():
                    self.losses.append(self.train_step(self.model, images, targets, self.optimizer))
                loss, accuracy = self.evaluate(self.model, self.test_batches)
                self.tests.append((len(self.losses), torch.as_tensor(loss).item(), accuracy))
        return self


def open_case(letter: str, train: InMemory, test: InMemory, **mended: Callable) -> Case:
    """Set up the training of this letter, "A" to "L", or "healthy", always from the same random numbers.

    Args:
        train: pictures to train on.
        test: pictures to test on; a few at the end may be left out to fill all batches.
        mended: parts to put in place of the case's own, by their names in `HEALTHY`.

    Raises:
        ValueError: there is no such case.
    """
    if letter not in {"healthy", *CASES}:
        raise ValueError(f'there is no case {letter!r}: name one from "A" to "L", or "healthy", and give mended parts.')
    part = {**HEALTHY, **CASES.get(letter, {}), **mended}
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        numbers = part["number"]([".ipynb_checkpoints", *train.classes])  # JupyterLab leaves such a folder behind
        own = torch.tensor([numbers[name] for name in train.classes])
        images, test_images = part["normalise"](train.images / 255, test.images / 255)
        pictures = part["shuffle"](images, own[train.targets])
        by_class, size = test.targets.argsort(stable=True), len(test.classes)
        by_class = by_class[: len(by_class) // size * size]
        batches = list(zip(test_images[by_class].split(size), test.targets[by_class].split(size), strict=True))
        model = make_model(len(numbers))
        optimizer = part["make_optimizer"](model, part["lr"])
    return Case(train.classes, pictures, batches, model, optimizer, part["train_step"], part["evaluate"])


def make_model(classes: int) -> nn.Sequential:
    """A small sister of TuduiNorm, quick enough for many trainings: 11,034 parameters for ten classes."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, 2, 2, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, classes),
    )  # fmt: skip
    return model.to(memory_format=torch.channels_last)


# ---- a healthy training, part by part ----


def number(folders: Iterable[str]) -> dict[str, int]:
    """Number the visible folders from 0, in the order of the alphabet."""
    return {name: index for index, name in enumerate(sorted(name for name in folders if name[0] != "."))}


def normalise(train_images: Tensor, test_images: Tensor) -> tuple[Tensor, Tensor]:
    """Give both sets (N, 3, H, W) the training set's scale, channel by channel."""
    mean, std = train_images.mean((0, 2, 3), keepdim=True), train_images.std((0, 2, 3), keepdim=True)
    return (train_images - mean) / std, (test_images - mean) / std


def shuffle(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Put images (N, ...) and targets (N,) in one random order."""
    order = torch.randperm(len(images))
    return images[order], targets[order]


def make_optimizer(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """SGD with momentum over all parameters."""
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9)


def train_step(model: nn.Module, images: Tensor, targets: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """One step; returns the loss of the batch before it."""
    model.train()
    loss = nn.functional.cross_entropy(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def evaluate(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """Mean loss and accuracy over all pictures."""
    model.eval()
    return measure(model, batches)


def measure(model: nn.Module, batches: Batches, dim: int = 1, number: Callable = Tensor.item) -> tuple[float, float]:
    """Mean loss and accuracy: the largest logit is looked for along `dim`, `number` is taken of each batch's loss."""
    loss, correct, count = 0.0, 0, 0
    for images, targets in batches:
        logits = model(images)
        loss += number(nn.functional.cross_entropy(logits, targets, reduction="sum"))
        correct += (logits.argmax(dim) == targets).sum().item()
        count += len(targets)
    return loss / count, correct / count


HEALTHY = {
    "number": number, "normalise": normalise, "shuffle": shuffle, "make_optimizer": make_optimizer, "lr": 0.02,
    "train_step": train_step, "evaluate": evaluate,
}  # fmt: skip


# ---- the bugs ----


def number_hidden_folders_too(folders: Iterable[str]) -> dict[str, int]:
    """A hidden folder takes number 0."""
    return {name: index for index, name in enumerate(sorted(folders))}


def normalise_train_only(train_images: Tensor, test_images: Tensor) -> tuple[Tensor, Tensor]:
    """The test pictures stay as they are."""
    return normalise(train_images, test_images)[0], test_images


def shuffle_targets_apart(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Images and targets get two orders."""
    return images[torch.randperm(len(images))], targets[torch.randperm(len(targets))]


def freeze_all_but_the_last(model: nn.Sequential, lr: float) -> torch.optim.Optimizer:
    """Only the last layer can move."""
    for parameter in model[:-1].parameters():
        parameter.requires_grad_(False)
    return make_optimizer(model, lr)


def train_step_softmax_twice(model, images: Tensor, targets: Tensor, optimizer) -> float:
    """cross_entropy does a softmax itself."""
    return train_step(nn.Sequential(model, nn.Softmax(1)), images, targets, optimizer)


def train_step_without_zero_grad(model, images: Tensor, targets: Tensor, optimizer) -> float:
    """Gradients add up from step to step."""
    model.train()
    loss = nn.functional.cross_entropy(model(images), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def evaluate_without_eval(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """The network is measured in training mode."""
    return measure(model, batches)


@torch.no_grad()
def evaluate_argmax_0(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """The largest is taken along the pictures, not the classes."""
    model.eval()
    return measure(model, batches, dim=0)


def evaluate_keeping_graphs(model: nn.Module, batches: Batches) -> tuple[Tensor, float]:
    """The sum of losses holds on to each batch's graph."""
    model.eval()
    return measure(model, batches, number=lambda loss: loss)


def give_the_model_a_new_head_too_late(model: nn.Sequential, lr: float) -> torch.optim.Optimizer:
    """The optimizer has the old last layer, so that the new one never moves."""
    decay = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decay, "weight_decay": 5e-4}, {"params": other, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
    model[-1] = nn.Linear(model[-1].in_features, model[-1].out_features)
    return optimizer


def normalise_with_blue_first(train_images: Tensor, test_images: Tensor) -> tuple[Tensor, Tensor]:
    """Red and blue of the test pictures change places."""
    return normalise(train_images, test_images[:, [2, 1, 0]])


def train_step_on_the_sum(model, images: Tensor, targets: Tensor, optimizer) -> float:
    """The learning rate is one for the mean over the batch."""
    model.train()
    losses = nn.functional.cross_entropy(model(images), targets, reduction="none")
    optimizer.zero_grad()
    losses.sum().backward()
    optimizer.step()
    return losses.mean().item()


CASES = {
    "A": {"shuffle": shuffle_targets_apart},
    "B": {"lr": HEALTHY["lr"] / 1000},
    "C": {"number": number_hidden_folders_too},
    "D": {"evaluate": evaluate_without_eval},
    "E": {"normalise": normalise_train_only},
    "F": {"evaluate": evaluate_argmax_0},
    "G": {"train_step": train_step_softmax_twice},
    "H": {"train_step": train_step_without_zero_grad},
    "I": {"make_optimizer": freeze_all_but_the_last},
    "J": {"evaluate": evaluate_keeping_graphs},
    "K": {"make_optimizer": give_the_model_a_new_head_too_late},
    "L": {"normalise": normalise_with_blue_first, "train_step": train_step_on_the_sum},
}
