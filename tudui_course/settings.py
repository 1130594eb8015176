"""The settings of a run: the flags of `tudui train`, what a checkpoint stores, what is printed at the start.

This module imports nothing heavy, so that `tudui --help` answers at once.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import tyro

from tudui_course.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What decides the outcome of a run. The defaults are the lesson's (SGD, lr 0.01, batch 64, 10 epochs)."""

    data: Annotated[str, tyro.conf.arg(metavar="NAME|DIR")] = "pictograms"
    """pictograms, cifar10, or a folder that holds train/<class>/* and test/<class>/*."""
    network: Literal["Tudui", "TuduiNorm"] = "Tudui"
    """Tudui is the lesson's; TuduiNorm has BatchNorm, ReLU and Dropout as well."""
    recipe: Literal["seed", "fast"] = "seed"
    """seed: plain SGD, as in the lesson. fast: the better recipe of notebooks 13 and 14, for the same network."""
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
    validation: int = 0
    """Keep so many training pictures back, of each class its share, and choose the best epoch by them; 0 keeps none."""

    def check(self) -> None:
        """Raise InputError, naming the value and the remedy, for what no run can work with."""
        if self.epochs < 1:
            raise InputError(f"epochs is {self.epochs}, but a run needs at least 1: --epochs 10.")
        if self.batch_size < 1:
            raise InputError(f"batch size is {self.batch_size}, but a batch needs at least 1 picture: --batch-size 64.")
        if self.lr is not None and not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"learning rate is {self.lr}, but it must be a finite number above 0: --lr 0.01.")
        if self.limit < 0:
            raise InputError(f"limit is {self.limit}, but it counts pictures: a number above 0, or 0 for all of them.")
        if self.validation < 0:
            raise InputError(f"validation is {self.validation}, but it counts pictures: 5000 for example, or 0.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}, but it must be a whole number from 0 to {2**32 - 1}: --seed 0.")
        for name, hint in get_type_hints(type(self)).items():  # where the type lists names, it must be one of them
            names, value = get_args(hint), getattr(self, name)
            if get_origin(hint) is Literal and value not in names:
                raise InputError(f"{name} is {value!r}, but it must be {', '.join(names[:-1])} or {names[-1]}.")

    def __str__(self) -> str:
        return "  ".join(f"{name.replace('_', '-')} {value}" for name, value in asdict(self).items())

    @classmethod
    def from_dict(cls, values: dict) -> "Settings":
        """Read back what `dataclasses.asdict` gave; names that this version doesn't know are left out."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})
