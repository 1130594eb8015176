"""What else could make a step faster: each change alone, in turn with the bare loop of `--precision float32`.

python benchmarks/tried.py DATA STEPS     print the milliseconds of a bare step in both precisions, and what
                                          `--precision auto` chooses; used below, with other instructions
"""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import torch
from common import BATCH, LR, in_turn, ratio, summary
from steps import Task, bare, read_task
from torch import nn

from tudui_course.model import Tudui
from tudui_course.runtime import autocast, choose_precision, place

# How memory is asked for, by the variables that say so to torch and to glibc's malloc.
ALLOCATORS = {
    "as it is": {},
    "huge pages": {"THP_MEM_ALLOC_ENABLE": "1"},
    "malloc gives nothing back": {"MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_MMAP_THRESHOLD_": "4000000000"},
}
FLAGS = {"foreach": {"foreach": True}, "fused": {"fused": True}, "for-loop": {"foreach": False}}


class Change:
    """A bare loop with one thing changed.

    Args:
        task: gives the pictures and the number of steps.
        batch: pictures a step; the loop makes as many steps as it takes for the same number of pictures.
        compiled: with torch.compile; the seconds that compiling takes are in `compiling`.
        flags: of SGD.
        channels_last: lay the pictures out like the weights beforehand.
        threads: how many compute, 0 for torch's own choice.
        precision: "float32" or "bfloat16", as `--precision` has it.
        channels: of the pictures; those beyond 3 are zero (oneDNN has kernels for 4, 8 or 16).
        pool: a layer in the place of torch's max-pooling.
        cast: keep the weights themselves in bfloat16, so that nothing is cast in a step.
    """

    def __init__(
        self, task: Task, *, batch: int = BATCH, compiled: bool = False, flags: dict | None = None,
        channels_last: bool = False, threads: int = 0, precision: str = "float32", channels: int = 3,
        pool: Callable[[], nn.Module] | None = None, cast: bool = False,
    ) -> None:  # fmt: skip
        images = task.train.images[:batch].float().div(255)
        images = nn.functional.pad(images, (0, 0, 0, 0, 0, channels - 3))
        images = images.bfloat16() if cast else images
        self.images = images.to(memory_format=torch.channels_last) if channels_last else images
        self.targets = task.train.targets[:batch]
        self.steps = max(1, task.steps * BATCH // batch)
        self.threads = threads or torch.get_num_threads()
        network = Tudui().model1  # without its check of the pictures' shape
        for index, layer in enumerate(network):
            if isinstance(layer, nn.MaxPool2d) and pool:
                network[index] = pool()
        if channels > 3:
            network[0] = nn.Conv2d(channels, 32, 5, 1, 2)
        self.model = place(network.bfloat16() if cast else network, "cpu")
        self.precision = "float32" if cast else precision
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR, **(flags or {}))
        self.loss_of = torch.compile(self.loss) if compiled else self.loss
        started = time.perf_counter()
        self.step()
        self.compiling = time.perf_counter() - started

    def loss(self) -> torch.Tensor:
        with autocast("cpu", self.precision):
            return nn.functional.cross_entropy(self.model(self.images).float(), self.targets)

    def step(self) -> None:
        loss = self.loss_of()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def __call__(self) -> float:
        """Seconds for as many pictures as the other changes see."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        self.step()
        started = time.perf_counter()
        for _ in range(self.steps):
            self.step()
        seconds = time.perf_counter() - started
        torch.set_num_threads(before)
        return seconds


class LargestOfFour(nn.Module):
    """Max-pooling as three comparisons of whole tensors."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.maximum(x[:, :, ::2], x[:, :, 1::2])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])


def in_bfloat16(task: Task) -> dict[str, Callable[[], float]]:
    """Changes to the bare loop in bfloat16, by name."""
    kinds = {
        "bfloat16": {},
        "bfloat16, pictures channels last": {"channels_last": True},
        "bfloat16, 4 channels": {"channels": 4, "channels_last": True},
        "bfloat16, 8 channels": {"channels": 8, "channels_last": True},
        "bfloat16, 16 channels": {"channels": 16, "channels_last": True},
        "bfloat16, pooling by comparing": {"pool": LargestOfFour},
        "bfloat16, weights too": {"cast": True, "channels_last": True},
        "bfloat16, batch 512": {"batch": 512},
        "bfloat16, one thread": {"threads": 1},
    }
    return {name: Change(task, precision="bfloat16", **kind) for name, kind in kinds.items()}


def changes(task: Task, compiled: bool) -> dict[str, Callable[[], float]]:
    """The changes by name; torch.compile only if `compiled`, and where it works (it needs a C++ compiler)."""
    found = {"float32": Change(task)}
    found |= {f"SGD {name}": Change(task, flags=flags) for name, flags in FLAGS.items()}
    found["pictures channels last"] = Change(task, channels_last=True)
    found |= {f"batch {size}": Change(task, batch=size) for size in (32, 128, 256, 512) if size <= len(task.train)}
    cores = sorted({1, psutil.cpu_count(logical=False) or 1, psutil.cpu_count() or 1})
    found |= {f"threads {count}": Change(task, threads=count) for count in cores}
    if not compiled:
        return found
    try:
        found["torch.compile"] = Change(task, compiled=True)
    except Exception as error:  # whatever torch.compile stumbles over on this machine
        print(f"  torch.compile doesn't work here: {str(error).splitlines()[0]}", file=sys.stderr)
    return found


def precisions(data: str, steps: int) -> list[dict]:
    """Both precisions and what auto chooses, as this CPU is and as one without bfloat16 instructions.

    oneDNN, which does the convolutions, is told by ONEDNN_MAX_CPU_ISA which instructions it may use.
    """
    found = []
    for isa in ("", "AVX512_CORE", "AVX2"):
        found.append({"isa": isa or "all", **elsewhere(data, steps, {"ONEDNN_MAX_CPU_ISA": isa} if isa else {})})
    return found


def allocators(data: str, steps: int, rounds: int) -> dict:
    """Milliseconds of a bare step of `--precision auto` by the way memory is asked for, in turn, and ratios."""

    def ms(variables: dict[str, str]) -> float:
        found = elsewhere(data, steps, variables)
        return found["ms"][found["auto"]]

    taken = in_turn({name: functools.partial(ms, variables) for name, variables in ALLOCATORS.items()}, rounds)
    return {
        "ms": {name: summary(values) for name, values in taken.items()},
        "faster": {name: ratio(taken["as it is"], values) for name, values in taken.items()},
    }


def elsewhere(data: str, steps: int, variables: dict[str, str]) -> dict:
    """What `both_precisions` finds in a process of its own with these environment variables."""
    command = [sys.executable, __file__, data, str(steps)]
    printed = subprocess.run(command, env=os.environ | variables, check=True, capture_output=True, text=True).stdout
    return json.loads(printed)


def both_precisions(data: str, steps: int) -> dict:
    """Milliseconds of a bare step in float32 and bfloat16, in turn, and what auto chooses."""
    task = read_task(data, steps)
    loops = {name: lambda name=name: bare(task, name) for name in ("float32", "bfloat16")}
    for loop in loops.values():
        loop()
    seconds = in_turn(loops, 1 if steps == 1 else 3)
    ms = {name: summary(values)["median"] / task.steps * 1000 for name, values in seconds.items()}
    return {"auto": choose_precision("auto", "cpu"), "ms": ms, "faster": min(ms, key=ms.get)}


def measure(data: str, quick: bool) -> dict:
    """All changes in turn; times and ratios for the same number of pictures.

    Args:
        data: as for `read_data`.
        quick: a few steps and two rounds without torch.compile, to see that everything works.
    """
    task = read_task(data, 2 if quick else 48)
    variants = changes(task, compiled=not quick)
    if choose_precision("auto", "cpu") == "bfloat16":
        variants |= in_bfloat16(task)
    seconds = in_turn(variants, 2 if quick else 5)
    compiled = variants.get("torch.compile")
    return {
        "steps": task.steps,
        "ms": {name: summary([one / task.steps * 1000 for one in values]) for name, values in seconds.items()},
        "faster_than_float32": {
            name: ratio(seconds["bfloat16" if name.startswith("bfloat16,") else "float32"], values)
            for name, values in seconds.items()
        },
        "compiling_seconds": compiled.compiling if compiled else None,
        "precisions": precisions(data, 1 if quick else 16),
        "allocators": allocators(data, *((1, 1) if quick else (16, 5))),
    }


if __name__ == "__main__":
    print(json.dumps(both_precisions(sys.argv[1], int(sys.argv[2]))))
