"""Training recipes: the lesson's, and a better one for the same network and the same number of epochs."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.optim import Optimizer
from torchvision.transforms import v2

# Mean and standard deviation of CIFAR-10's training pictures, channel by channel, in [0, 1].
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class Recipe:
    """What is done at training beside going through the pictures.

    Attributes:
        lr: learning rate of SGD; the peak where `one_cycle` is on.
        normalise: subtract CIFAR-10's mean and divide by its standard deviation.
        momentum: of SGD, after Nesterov; 0 for none.
        one_cycle: let the learning rate rise for the first quarter of the steps and then fall to nothing.
        weight_decay: of SGD.
        augment: mirror and shift the training pictures by up to 2 pixels, anew in every batch.
        label_smoothing: of the training loss, 0 to 1.
        clip: largest norm of all gradients together; 0 for no limit.
    """

    lr: float = 0.01
    normalise: bool = False
    momentum: float = 0.0
    one_cycle: bool = False
    weight_decay: float = 0.0
    augment: bool = False
    label_smoothing: float = 0.0
    clip: float = 0.0

    def transforms(self) -> tuple[v2.Transform, v2.Transform]:
        """What a whole batch of float pictures (N, 3, 32, 32) in [0, 1] goes through: at training, and at testing.

        One draw holds for the whole batch: the pictures of a batch are all mirrored or none, which costs nothing and
        works as well here as a draw for each, since every epoch mixes the batches anew.
        """
        test = v2.Normalize(CIFAR10_MEAN, CIFAR10_STD) if self.normalise else v2.Identity()
        if not self.augment:
            return test, test
        shift = v2.RandomCrop(32, padding=2, padding_mode="reflect")
        return v2.Compose([test, v2.RandomHorizontalFlip(), shift]), test

    def loss_fn(self) -> nn.Module:
        """The training loss; the test loss is always the plain cross-entropy, so that recipes can be compared."""
        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)

    def optimizer(self, model: nn.Module) -> Optimizer:
        """SGD over the model's parameters; gradients are clipped right before each step."""
        optimizer = torch.optim.SGD(
            model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )

        def clip_gradients(*_: object) -> None:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip)

        if self.clip:
            optimizer.register_step_pre_hook(clip_gradients)
        return optimizer

    def scheduler(self, optimizer: Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler | None:
        """One cycle over all `steps` of the run (Smith and Topin, 2018), or None for a constant learning rate."""
        if not self.one_cycle:
            return None
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.lr, total_steps=steps, pct_start=0.25, anneal_strategy="linear",
            cycle_momentum=False, div_factor=10, final_div_factor=1000,
        )  # fmt: skip


LESSON = Recipe()
FAST = replace(LESSON, normalise=True, momentum=0.9, lr=0.02, one_cycle=True, weight_decay=5e-4, augment=True, clip=2.0)
RECIPES = {"seed": LESSON, "fast": FAST}
