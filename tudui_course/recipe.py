"""Training recipes for one and the same network: the lesson's, and a better one."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.transforms import v2

from tudui_course.errors import InputError

# Mean and standard deviation of CIFAR-10's training pictures by channel, in [0, 1].
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Recipe:
    """What decides how a network is trained, beside the network, the pictures and the number of epochs.

    Attributes:
        lr: learning rate of SGD; the highest one where `one_cycle` is on.
        normalize: bring each channel to about mean 0 and standard deviation 1.
        momentum: of SGD, as Nesterov has it; 0 for none.
        one_cycle: let the learning rate rise for the first quarter of all steps and then fall to almost nothing.
        weight_decay: of SGD.
        augment: mirror and shift the training pictures at random.
        label_smoothing: of the training loss, 0 to 1.
        clip: largest norm of all gradients together; 0 for no limit.
    """

    lr: float = 0.01
    normalize: bool = False
    momentum: float = 0.0
    one_cycle: bool = False
    weight_decay: float = 0.0
    augment: bool = False
    label_smoothing: float = 0.0
    clip: float = 0.0

    def train_transform(self) -> v2.Transform:
        """What a batch of training pictures (N, 3, 32, 32), float in [0, 1], goes through."""
        if not self.augment:
            return self.test_transform()
        return v2.Compose([v2.Lambda(mirror_and_shift), self.test_transform()])

    def test_transform(self) -> v2.Transform:
        """What any other pictures (N, 3, 32, 32), float in [0, 1], go through before the network sees them."""
        return v2.Normalize(CIFAR10_MEAN, CIFAR10_STD) if self.normalize else v2.Identity()

    def loss_fn(self) -> nn.Module:
        """The loss to train with; `fit` measures the test set with it too, and smoothing makes any loss higher."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def optimizer(self, model: nn.Module) -> Optimizer:
        """SGD over the model's parameters; with `clip`, gradients are clipped right before each step."""
        parameters = list(model.parameters())
        optimizer = torch.optim.SGD(
            parameters, self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )

        def clip_gradients(*_: object) -> None:
            nn.utils.clip_grad_norm_(parameters, self.clip)

        if self.clip:
            optimizer.register_step_pre_hook(clip_gradients)
        return optimizer

    def scheduler(self, optimizer: Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler | None:
        """One cycle over the `steps` of the whole run, or None for a constant learning rate.

        Source: L. N. Smith and N. Topin, "Super-convergence: very fast training of neural networks using large
        learning rates", 2018; rise and fall are straight lines here.
        """
        if not self.one_cycle:
            return None
        rise = 0.25 if steps != 4 else 0.3  # torch divides by zero where the highest rate falls on the first step
        return OneCycle(
            optimizer, self.lr, total_steps=steps, pct_start=rise, anneal_strategy="linear",
            cycle_momentum=False, div_factor=10, final_div_factor=1000,
        )  # fmt: skip


class OneCycle(torch.optim.lr_scheduler.OneCycleLR):
    """torch's, but after the last step the lowest rate stays; torch's goes on falling, below zero."""

    def get_lr(self) -> list[float]:
        """The learning rate of each parameter group."""
        groups = self.optimizer.param_groups
        return [max(lr, group["min_lr"]) for lr, group in zip(super().get_lr(), groups, strict=True)]


def mirror_and_shift(images: Tensor) -> Tensor:
    """Mirror each picture with probability 1/2, and shift each by up to 2 pixels both ways, drawn picture by picture.

    torchvision's own transforms draw once a call: the whole batch would be mirrored, or none of it.

    Args:
        images: (N, C, H, W), any dtype.

    Returns:
        The same shape and dtype; at the borders the picture is mirrored outwards.
    """
    count, _, height, width = images.shape
    mirrored = torch.rand(count, 1, 1, 1) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    rows = torch.randint(5, (count, 1)) + torch.arange(height)
    columns = torch.randint(5, (count, 1)) + torch.arange(width)
    picture = torch.arange(count)[:, None, None]
    return padded[picture, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


SEED = Recipe()
FAST = Recipe(lr=0.03, normalize=True, momentum=0.9, one_cycle=True, weight_decay=5e-4, augment=True, clip=2.0)
RECIPES = {"seed": SEED, "fast": FAST}


def stored_recipe(settings: dict) -> Recipe:
    """The recipe that a checkpoint's settings name; the lesson's where they name none.

    Raises:
        InputError: this package doesn't know it.
    """
    name = settings.get("recipe", "seed")
    if name not in RECIPES:
        raise InputError(
            f"the checkpoint was trained with the recipe {name!r}; this package knows {', '.join(RECIPES)}."
        )
    return RECIPES[name]
