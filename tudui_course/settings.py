"""The settings of a run: the flags of `tudui train`, what a checkpoint stores, what is printed at the start.

This module imports nothing heavy, so that `tudui --help` answers at once.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Settings:
    """What decides the outcome of a run. The defaults are the lesson's (SGD, lr 0.01, batch 64, 10 epochs)."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "pictograms"
    """pictograms, cifar10, or a folder that holds train/<class>/* and test/<class>/*."""
    network: Literal["Tudui", "TuduiNorm"] = "Tudui"
    """Tudui is the lesson's; TuduiNorm has BatchNorm, ReLU and Dropout as well."""
    recipe: Literal["seed", "fast"] = "seed"
    """seed: plain SGD, as in the lesson. fast: the better recipe of notebook 11, for the same network."""
    epochs: int = 10
    """How often the training set is gone through."""
    batch_size: int = 64
    """Pictures per optimizer step."""
    lr: float | None = None
    """Learning rate of SGD, the highest one for fast; by default the recipe's own, 0.01 for seed."""
    seed: int = 0
    """Decides initial weights and the order of the pictures."""
    order: Literal["shuffled", "fixed"] = "shuffled"
    """shuffled: another order each epoch, full batches only. fixed: one mixed order, as the lesson reads CIFAR-10."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ... auto takes an accelerator where there is one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto takes bfloat16 where the device computes it natively, float32 elsewhere."""
    limit: int = 0
    """Use only so many pictures of each set, to try something out; 0 uses all."""

    def check(self) -> None:
        """Raise ValueError, naming the value and the remedy, for what no run can work with."""
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}, but a run needs at least 1: --epochs 10.")
        if self.batch_size < 1:
            raise ValueError(f"batch size is {self.batch_size}, but a batch needs at least 1 picture: --batch-size 64.")
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"learning rate is {self.lr}, but it must be a finite number above 0: --lr 0.01.")
        if self.limit < 0:
            raise ValueError(f"limit is {self.limit}, but it counts pictures: a number above 0, or 0 for all of them.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}, but it must be a whole number from 0 to {2**32 - 1}: --seed 0.")
        if self.network not in ("Tudui", "TuduiNorm"):
            raise ValueError(f"network is {self.network!r}, but it must be Tudui or TuduiNorm.")
        if self.recipe not in ("seed", "fast"):
            raise ValueError(f"recipe is {self.recipe!r}, but it must be seed or fast.")
        if self.order not in ("shuffled", "fixed"):
            raise ValueError(f"order is {self.order!r}, but it must be shuffled or fixed.")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"precision is {self.precision!r}, but it must be auto, float32 or bfloat16.")

    def __str__(self) -> str:
        return "  ".join(f"{name.replace('_', '-')} {value}" for name, value in asdict(self).items())

    @classmethod
    def from_dict(cls, values: dict) -> "Settings":
        """Read back what `dataclasses.asdict` gave; names that this version doesn't know are left out."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
