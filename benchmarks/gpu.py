"""Show on a GPU what notebooks 04 and 09 say of it, and train there; write docs/gpu.json and gpu.md.

python benchmarks/gpu.py DIR              DIR/train/<class>/* and DIR/test/<class>/*, or cifar10 (three minutes)
python benchmarks/gpu.py DIR --quick      a smoke trial, into build/bench; without a GPU the CPU plays its part
"""

import argparse
import functools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
import torch
from common import ROOT, in_turn, machine, summary
from torch import Tensor, nn

from tudui_course import plots
from tudui_course.checkpoint import newest_checkpoint
from tudui_course.model import Tudui
from tudui_course.runtime import autocast, choose_device, choose_precision, place, seed_everything

GPU = choose_device()
loss_fn = nn.CrossEntropyLoss()


def wait() -> None:
    """Until the GPU has done all that is in its queue."""
    if GPU.type != "cpu":
        torch.accelerator.synchronize()


def batch_of(count: int, device: torch.device | str = GPU) -> tuple[Tensor, Tensor]:
    """Random pictures and targets, the same on any device."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images.to(device), torch.randint(10, (count,), generator=generator).to(device)


def exact(yes: bool) -> None:
    """Compute float32 exactly, or, as is torch's default for convolutions, with TF32."""
    torch.backends.cudnn.conv.fp32_precision = "ieee" if yes else "tf32"


class Steps:
    """Training steps on one batch; called, it makes `count` of them and gives the milliseconds of one.

    Args:
        batch: pictures a step.
        device: where.
        precision: "exact" (float32), "float32" as torch has it by default (TF32 in convolutions), or "bfloat16".
        last: with channels last.
        compiled: with torch.compile.
        item: fetch the loss after each step.
        hasty: look at the clock without waiting for the GPU.
    """

    def __init__(
        self, batch: int, count: int, device: torch.device | str = GPU, precision: str = "float32", *,
        last: bool = True, compiled: bool = False, item: bool = False, hasty: bool = False,
    ) -> None:  # fmt: skip
        self.count, self.device, self.precision, self.item, self.hasty = count, device, precision, item, hasty
        self.images, self.targets = batch_of(batch, device)
        seed_everything(0)
        self.model = place(Tudui(), device) if last else Tudui().to(device)
        self.forward = torch.compile(self.model.model1) if compiled else self.model
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01)
        started = time.perf_counter()
        self.first_loss = self.step().item()
        self.first_seconds = time.perf_counter() - started

    def step(self) -> Tensor:
        with autocast(self.device, "bfloat16" if self.precision == "bfloat16" else "float32"):
            loss = loss_fn(self.forward(self.images), self.targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def __call__(self) -> float:
        exact(self.precision == "exact")
        self.step()
        wait()
        started = time.perf_counter()
        for _ in range(self.count):
            loss = self.step()
            if self.item:
                loss.item()
        if not self.hasty:
            wait()
        ms = (time.perf_counter() - started) * 1000 / self.count
        exact(False)
        return ms


def timed(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, dict]:
    """Milliseconds by name, in turn."""
    for variant in variants.values():
        variant()
    return {name: summary(values) for name, values in in_turn(variants, rounds).items()}


def message(function: Callable[[], object]) -> str:
    """The error that a function raises, as torch words it."""
    try:
        function()
    except Exception as error:  # whatever it is: it is quoted
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return "no error"


def errors(quick: bool) -> dict[str, str]:
    """What is said where one of three things is forgotten, or a result isn't brought back."""
    (images, targets), (images_there, targets_there) = batch_of(8, "cpu"), batch_of(8)
    here, there = Tudui(), Tudui().to(GPU)
    return {
        "images": message(lambda: there(images)),
        "network": message(lambda: here(images_there)),
        "targets": message(lambda: loss_fn(there(images_there), targets)),
        "numpy": message(lambda: there(images_there).detach().numpy()),
        "optimizer": optimizer_first(images_there, targets_there),
    }


def optimizer_first(images: Tensor, targets: Tensor) -> str:
    """Whether an optimizer follows a network that moves after it was built."""
    model = Tudui()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    model.to(GPU)
    losses = []
    for _ in range(50):
        loss = loss_fn(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return f"loss {losses[0]:.3f} -> {losses[-1]:.3f}"


def rounding(quick: bool) -> dict[str, float]:
    """How far the first convolution, and a product of matrices, are off, relative to the largest number."""
    images, _ = batch_of(64)
    layer = Tudui().model1[0].to(GPU)
    right = nn.functional.conv2d(images.double(), layer.weight.double(), layer.bias.double(), padding=2)
    found = {}
    for name in ("exact", "float32", "bfloat16"):
        exact(name == "exact")
        with torch.no_grad(), autocast(GPU, "bfloat16" if name == "bfloat16" else "float32"):
            found[f"convolution, {name}"] = ((layer(images) - right).abs().max() / right.abs().max()).item()
    exact(False)
    one = torch.rand(512, 512, device=GPU)
    found["product, float32"] = ((one @ one - one.double() @ one.double()).abs().max() / 512).item()
    return found


def moving(quick: bool) -> dict[str, dict]:
    """Milliseconds to bring 512 pictures to the GPU: until they are there, and until the CPU goes on."""
    images, _ = batch_of(512, "cpu")
    pinned = images.pin_memory() if GPU.type == "cuda" else images

    def move(images: Tensor, non_blocking: bool, hasty: bool) -> float:
        wait()
        started = time.perf_counter()
        for _ in range(20):
            images.to(GPU, non_blocking=non_blocking)
        if not hasty:
            wait()
        return (time.perf_counter() - started) * 1000 / 20

    kinds = {"ordinary": (images, False), "non_blocking": (images, True)}
    kinds |= {"pinned": (pinned, False), "pinned, non_blocking": (pinned, True)}
    variants = {name: functools.partial(move, *kind, False) for name, kind in kinds.items()}
    variants |= {f"{name}: CPU goes on": functools.partial(move, *kind, True) for name, kind in kinds.items()}
    return timed(variants, 2 if quick else 5)


def train(data: str, folder: Path, *flags: str, torchrun: bool = False) -> dict:
    """`tudui train`, or torchrun before it: seconds and test accuracy by epoch, and the weights at the end."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"] if torchrun else []
    command = [sys.executable, *launcher, "-m", "tudui_course", "train", "--data", data, "--run-dir", str(folder)]
    started = time.perf_counter()
    done = subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = time.perf_counter() - started
    checkpoint, _ = newest_checkpoint(folder)
    return {
        "seconds": seconds,
        "epochs": [float(one) for one in re.findall(r"^epoch .* ([\d.]+) s$", done.stdout, re.MULTILINE)],
        "accuracy": [row["test"]["correct"] / row["test"]["count"] for row in checkpoint["progress"]["history"]],
        "weights": checkpoint["model"],
    }


def difference(one: dict, other: dict) -> float:
    """The largest difference of a weight."""
    pairs = ((one["weights"][name].cpu().double(), other["weights"][name].cpu().double()) for name in one["weights"])
    return max((first - second).abs().max().item() for first, second in pairs)


def same(quick: bool) -> dict[str, float]:
    """The largest difference of a weight after two epochs of Pictograms on the GPU: from ...

    "again": the same command once more. "resumed": a run of one epoch, resumed for the second. "torchrun": one process
    under torchrun, with NCCL. "CPU": the CPU's, in float32.
    """
    flags = ["--epochs", "2", "--limit", "200" if quick else "5000", "--precision", "float32"]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor() as pool:
        start = functools.partial(pool.submit, train, "pictograms")
        folder = Path(name)
        half = start(folder / "resumed", *flags, "--epochs", "1")
        first = start(folder / "first", *flags)
        others = {
            "again": start(folder / "again", *flags),
            "torchrun": start(folder / "torchrun", *flags, torchrun=True),
            "CPU": start(folder / "cpu", *flags, "--device", "cpu"),
        }
        half.result()
        others["resumed"] = start(folder / "resumed", "--resume", "--epochs", "2")
        return {name: difference(first.result(), other.result()) for name, other in others.items()}


def whole(data: str, quick: bool) -> dict[str, dict]:
    """`tudui train` on all pictures, on the GPU with both recipes and on the CPU."""
    runs = {
        "fast, GPU": ["--recipe", "fast", "--epochs", "10"],
        "fast, GPU, batch of 512": ["--recipe", "fast", "--epochs", "10", "--batch-size", "512"],
        "fast, CPU": ["--recipe", "fast", "--epochs", "2", "--device", "cpu"],
    }
    more = ["--limit", "200"] if quick else []
    with tempfile.TemporaryDirectory() as folder:
        found = {name: train(data, Path(folder) / name, *flags, *more) for name, flags in runs.items()}
    return {name: {key: one[key] for key in ("seconds", "epochs", "accuracy")} for name, one in found.items()}


def by_size(quick: bool) -> dict[str, dict]:
    """Milliseconds of a step by batch size, on the CPU and on the GPU in several precisions."""
    count, rounds, found = (2, 2, {}) if quick else (30, 5, {})
    for size in (64,) if quick else (64, 512, 4096):
        variants = {"CPU": Steps(size, max(2, count // (size // 8)), "cpu", choose_precision("auto", "cpu"))}
        variants |= {name: Steps(size, count, precision=name) for name in ("exact", "float32", "bfloat16")}
        variants["float32, usual layout"] = Steps(size, count, last=False)
        found[str(size)] = timed(variants, rounds)
    return found


def fetching(quick: bool) -> dict[str, dict]:
    """Milliseconds of a step with and without `.item()`, and by a clock that doesn't wait for the GPU."""
    large = 64 if quick else 4096
    variants = {
        "never": Steps(64, 50), "each step": Steps(64, 50, item=True),
        "hasty clock": Steps(large, 20, hasty=True), "patient clock": Steps(large, 20),
    }  # fmt: skip
    return timed(variants, 2 if quick else 5)


def compiling(quick: bool) -> dict:
    """torch.compile: seconds of the first step, milliseconds of the others."""
    variants = {str(size): Steps(size, 30, compiled=True) for size in ((64,) if quick else (64, 4096))}
    return {"first_seconds": variants["64"].first_seconds, "ms": timed(variants, 5)}


def about(quick: bool) -> dict:
    """The machine, and the GPU."""
    name = torch.cuda.get_device_name(GPU) if GPU.type == "cuda" else str(GPU)
    return {**machine(), "gpu": name, "cuda": torch.version.cuda, "quick": quick}


PARTS = {
    "about": about, "errors": errors, "rounding": rounding, "steps": by_size, "item": fetching, "moving": moving,
    "same": same, "whole": whole, "compile": compiling,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--quick", action="store_true", help="few steps and pictures; the figures mean nothing")
    parser.add_argument("--out", type=Path, help="folder of the report (default: docs, with --quick build/bench)")
    options = parser.parse_args()
    if options.data and GPU.type == "cpu" and not options.quick:
        sys.exit("No GPU that torch can use; `tudui doctor` says more.")
    out = options.out or (ROOT / "build" / "bench" if options.quick else ROOT / "docs")
    out.mkdir(parents=True, exist_ok=True)
    results = {} if options.data else json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    for name, part in PARTS.items() if options.data else ():
        started = time.perf_counter()
        results[name] = part(options.data, options.quick) if part is whole else part(options.quick)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
        (out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write(results, out)


def write(results: dict, out: Path) -> None:
    """Write the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "benchmarks"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    (out / "gpu.md").write_text(environment.get_template("gpu.md.jinja").render(**results) + "\n", encoding="utf-8")
    plot(results["steps"], out / "gpu.png")


def plot(steps: dict[str, dict], path: Path) -> None:
    """Milliseconds of a step by batch size."""
    figure, ax = plots.plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    for name, colour in {"CPU": "tab:gray", "float32": plots.BLUE, "bfloat16": "tab:purple"}.items():
        label = name if name == "CPU" else f"GPU, {name}"
        ax.plot(
            [int(size) for size in steps],
            [one[name]["median"] for one in steps.values()],
            "o-",
            color=colour,
            label=label,
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="pictures a batch",
        ylabel="ms a training step",
        xticks=[int(size) for size in steps],
    )
    ax.set_xticklabels(steps)
    ax.minorticks_off()
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
