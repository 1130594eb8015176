"""Milliseconds of a training step: the lesson's way, ours, the other libraries', the bare loop, the machine's limit.

Every variant is a function that trains an epoch of `task.steps` batches and returns the seconds of the call that
trains: one network, batch size, optimizer and pictures, on the CPU. What stands before that call (pictures in memory,
network, optimizer, loaders, the library's trainer object) isn't timed, in none of them.
"""

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import peers
import torch
from common import BATCH, LR, in_turn, quiet, ratio, summary
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.tensorboard import SummaryWriter
from torchvision.transforms import ToTensor

from tudui_course import run
from tudui_course.board import open_writer
from tudui_course.data.loaders import InMemory, make_loaders, read_data
from tudui_course.loop import fit
from tudui_course.model import Tudui
from tudui_course.recipe import SEED
from tudui_course.runtime import choose_precision, place, seed_everything
from tudui_course.settings import Settings

STEPS = 156  # batches of an epoch: all of Pictograms
# What shows the machine's limit: products (rows, inner, columns), some of them square, and convolutions of 64 pictures
# (channels in and out, side of the picture, side of the kernel) of a kind that oneDNN does best.
PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (16384, 576, 64), (4096, 1024, 1024))
CONVOLUTIONS = ((64, 32, 3), (128, 16, 3), (256, 8, 3), (256, 16, 1))


class OneByOne(Dataset):
    """Pictures as torchvision's CIFAR10 gives them: each made a PIL image, then sent through ToTensor."""

    def __init__(self, pictures: InMemory) -> None:
        self.data = pictures.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = pictures.targets.tolist()
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


@dataclass(frozen=True)
class Task:
    """What every variant trains on: `steps` full batches, and one batch to test on where an epoch ends in a test."""

    train: InMemory
    test: InMemory
    steps: int

    def loaders(self, path: str) -> tuple[DataLoader, DataLoader]:
        """Train and test loader on the lesson's data path ("seed") or on ours ("ours")."""
        if path == "seed":
            return DataLoader(OneByOne(self.train), BATCH), DataLoader(OneByOne(self.test), BATCH)
        return make_loaders(self.train, self.test, BATCH, drop_last=True)


def read_task(data: str, steps: int) -> Task:
    """Read the pictures of `steps` batches, mixed (a folder is sorted by class)."""
    train, test = read_data(data, limit=steps * BATCH)
    return Task(train.mixed(0), test.mixed(0, BATCH), min(steps, len(train) // BATCH))


def seed_epoch(model, loaders, loss_fn, optimizer, writer, folder: Path, epoch: int) -> float:
    """One epoch as the lesson writes it, section 9 of its note, down to what it prints and saves.

    Returns:
        Test accuracy.
    """
    train_loader, test_loader = loaders
    total_train_step = epoch * len(train_loader)
    print(f"-----第 {epoch + 1} 轮训练开始-----")
    for data in train_loader:
        imgs, targets = data
        outputs = model(imgs)
        loss = loss_fn(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total_train_step = total_train_step + 1
        if total_train_step % 100 == 0:
            print(f"训练次数：{total_train_step}，Loss：{loss.item()}")
            writer.add_scalar("train_loss", loss.item(), total_train_step)

    total_test_loss = 0
    total_accuracy = 0
    with torch.no_grad():
        for data in test_loader:
            imgs, targets = data
            outputs = model(imgs)
            loss = loss_fn(outputs, targets)
            total_test_loss = total_test_loss + loss.item()
            accuracy = (outputs.argmax(1) == targets).sum()
            total_accuracy = total_accuracy + accuracy
    test_accuracy = float(total_accuracy / len(test_loader.dataset))
    print(f"整体测试集上的Loss：{total_test_loss}")
    print(f"整体测试集上的正确率：{test_accuracy}")
    writer.add_scalar("test_loss", total_test_loss, epoch)
    writer.add_scalar("test_accuracy", test_accuracy, epoch)
    torch.save(model, folder / f"tudui_{epoch}.pth")
    print("模型已保存")
    return test_accuracy


def seed_way(task: Task) -> float:
    """a: picture by picture through PIL and ToTensor, float32, the default memory layout, the lesson's loop."""
    model, loss_fn = Tudui(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LR)
    loaders = task.loaders("seed")
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SummaryWriter(folder)) as writer:
        started = time.perf_counter()
        seed_epoch(model, loaders, loss_fn, optimizer, writer, Path(folder), epoch=0)
        return time.perf_counter() - started


def ours(task: Task, precision: str) -> float:
    """b, c: an epoch as `tudui train` runs it: metrics, progress bar, TensorBoard, both checkpoints, Ctrl-C watched."""
    settings = Settings(epochs=1, precision=choose_precision(precision, "cpu"))
    parts = run.assemble(SEED, "Tudui", task.train, task.test, epochs=1)
    with tempfile.TemporaryDirectory() as folder, open_writer(folder) as writer, run.stop_on_signal() as stop:
        saver = run.Saver(Path(folder), 0, parts, settings=asdict(settings), classes=task.train.classes)
        started = time.perf_counter()
        fit(
            parts.model, parts.loaders, parts.loss_fn, parts.optimizer, epochs=1, precision=settings.precision,
            log=writer.add_scalar, save=saver, stop=stop,
        )  # fmt: skip
        return time.perf_counter() - started


def bare(task: Task, precision: str = "float32", layout: str = "ours") -> float:
    """e: nothing but the steps, on one batch that is there already; the limit of this code on this machine."""
    model, loaders, loss_fn, optimizer, _ = run.assemble(SEED, "Tudui", task.train, task.test, epochs=1)
    if layout != "ours":
        model.to(memory_format=torch.contiguous_format)
    images, targets = next(iter(loaders[0]))
    bfloat16 = choose_precision(precision, "cpu") == "bfloat16"
    started = time.perf_counter()
    for _ in range(task.steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = loss_fn(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - started


def loading(task: Task, path: str) -> float:
    """The data path alone: all batches of an epoch, thrown away."""
    loader = task.loaders(path)[0]
    started = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - started


def peer(task: Task, train: Callable, path: str) -> float:
    """d: another library's loop on the lesson's data path, on ours, or with our memory layout too ("layout")."""
    model = place(Tudui(), "cpu") if path == "layout" else Tudui()
    loaders = task.loaders("seed" if path == "seed" else "ours")
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = train(SEED, model, loaders, Path(folder))
        return seconds


def variants(task: Task) -> dict[str, Callable[[], float]]:
    """All variants by name, ready to run."""
    found = {
        "seed": functools.partial(seed_way, task),
        "float32": functools.partial(ours, task, "float32"),
        "auto": functools.partial(ours, task, "auto"),
        "bare-seed": functools.partial(bare, task, layout="seed"),
        "bare-float32": functools.partial(bare, task, "float32"),
        "bare-auto": functools.partial(bare, task, "auto"),
        "data-seed": functools.partial(loading, task, "seed"),
        "data-ours": functools.partial(loading, task, "ours"),
    }
    for name, train in peers.installed().items():
        for path in ("seed", "ours", "layout"):
            found[f"{name}-{path}"] = functools.partial(peer, task, train, path)
    return {name: functools.partial(run_quietly, function) for name, function in found.items()}


def run_quietly(function: Callable[[], float]) -> float:
    """Call a variant from the same random state as all others, with its output sent to a silent terminal."""
    seed_everything(0)
    with quiet(), peers.without_warnings():
        return function()


# Kinds of layers: what torch's flop counter, and what its profiler, names each of them (forward, or backward).
KINDS = {
    "convolution": (("aten.convolution",), ("aten::convolution",)),
    "convolution, backward": (("aten.convolution_backward",), ("aten::convolution_backward",)),
    "pooling": ((), ("aten::max_pool2d",)),
    "pooling, backward": ((), ("aten::max_pool2d_with_indices_backward",)),
    "linear, both ways": (("aten.addmm", "aten.mm"), ("aten::addmm", "AddmmBackward0")),
    "optimizer": ((), ("Optimizer.step#SGD.step", "Optimizer.zero_grad#SGD.zero_grad")),
    "rest": ((), ()),
}


def flops_of_a_step(images: torch.Tensor, targets: torch.Tensor) -> dict[str, int]:
    """Floating-point operations of one step by kind of layer, counted by torch."""
    counter = FlopCounterMode(display=False)
    model = Tudui()
    with counter:
        nn.CrossEntropyLoss()(model(images), targets).backward()
    counts = {str(operation): count for operation, count in counter.get_flop_counts()["Global"].items()}
    flops = {kind: sum(counts.pop(name, 0) for name in names) for kind, (names, _) in KINDS.items()}
    return flops | {"rest": sum(counts.values())}


def friendly_work(dtype: torch.dtype) -> Iterator[tuple[str, float, Callable[[], Tensor]]]:
    """What a CPU does best, one at a time: what it is, floating-point operations, and a function that does it."""
    for rows, inner, columns in PRODUCTS:
        one, other = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        yield f"matrix product {rows}x{inner}x{columns}", 2 * rows * inner * columns, functools.partial(one.mm, other)
    for channels, side, kernel in CONVOLUTIONS:
        images = torch.ones(64, channels, side, side, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.ones(channels, channels, kernel, kernel, dtype=dtype).to(memory_format=torch.channels_last)
        flops = 2 * 64 * side**2 * channels**2 * kernel**2  # with those on the padding, as torch counts them
        name = f"convolution {kernel}x{kernel}, {channels} channels, {side}x{side}"
        yield name, flops, functools.partial(nn.functional.conv2d, images, weight, padding="same")


def best_rate(precision: str, seconds: float) -> tuple[str, float]:
    """The fastest of `friendly_work`, and its best rate in floating-point operations a second.

    Args:
        precision: "float32" or "bfloat16".
        seconds: to spend on each kind of work.
    """
    rates = {}
    with torch.no_grad():
        for name, flops, work in friendly_work(getattr(torch, precision)):
            work()
            deadline = time.perf_counter() + seconds
            while (started := time.perf_counter()) < deadline:
                work()
                rates[name] = max(rates.get(name, 0), flops / (time.perf_counter() - started))
    fastest = max(rates, key=rates.get)
    return fastest, rates[fastest]


def profile_steps(task: Task, precision: str) -> dict[str, float]:
    """Where the time of a step goes: shares of the bare loop by kind of layer, adding up to 1.

    Laying out the network and the batch is in the rest.
    """
    short = Task(task.train, task.test, min(task.steps, 30))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        bare(short, precision)
    spent = {event.key: event.cpu_time_total for event in profiler.key_averages()}
    total = sum(event.self_cpu_time_total for event in profiler.key_averages())
    shares = {kind: sum(spent.get(name, 0) for name in names) / total for kind, (_, names) in KINDS.items()}
    return shares | {"rest": 1 - sum(shares.values())}


def limits(task: Task, rounds: dict[str, list[float]]) -> dict:
    """f: what a step would take at the best rate that this CPU was seen to reach, and which layers take longer.

    The layers of the bare step count among what was seen, so that no step beats the limit by its convolutions.
    """
    images, targets = next(iter(task.loaders("ours")[0]))
    flops = flops_of_a_step(images, targets)
    found = {"flops": flops}
    for name in ("float32", "auto"):
        precision = choose_precision(name, "cpu")
        ms, bare_ms = (summary(rounds[key])["median"] / task.steps * 1000 for key in (name, f"bare-{name}"))
        layers = {
            kind: {
                "share": share,
                "ms": share * bare_ms,
                "rate": flops[kind] / (share * bare_ms) * 1000 if share else 0,
            }
            for kind, share in profile_steps(task, precision).items()
        }
        seen = [best_rate(precision, 0.02 if task.steps < STEPS else 1)]
        seen += [(f"{kind}, in the bare step", layer["rate"]) for kind, layer in layers.items()]
        fastest, rate = max(seen, key=lambda one: one[1])
        limit = sum(flops.values()) / rate * 1000
        found[name] = {
            "precision": precision, "fastest": fastest, "flops_per_second": rate, "ms": limit,
            "fraction": limit / ms, "fraction_of_bare": limit / bare_ms, "profile": layers,
        }  # fmt: skip
    return found


def measure(data: str, quick: bool) -> dict:
    """Run all variants in turn; ms a step and the ratios that the goals ask for.

    Args:
        data: as for `read_data`.
        quick: a few steps and two rounds, to see that everything works.
    """
    steps, rounds = (4, 2) if quick else (STEPS, 5)
    warm = variants(read_task(data, 2))
    for function in warm.values():
        function()  # imports, thread pools, oneDNN's choices
    threads = torch.get_num_threads()
    task = read_task(data, steps)
    seconds = in_turn(variants(task), rounds)
    if torch.get_num_threads() != threads:
        raise RuntimeError(f"a library changed the number of threads from {threads} to {torch.get_num_threads()}.")
    baselines = {"seed": "seed", "float32": "bare-float32", "auto": "bare-auto"}
    return {
        "steps": task.steps,
        "rounds": rounds,
        "versions": peers.versions(),
        "ms": {name: summary([one / task.steps * 1000 for one in values]) for name, values in seconds.items()},
        "faster_than_seed": {name: ratio(seconds["seed"], values) for name, values in seconds.items()},
        "slower_than_bare": {name: ratio(seconds[name], seconds[base]) for name, base in baselines.items()},
        "slower_than_float32": {name: ratio(values, seconds["float32"]) for name, values in seconds.items()},
        "slower_than_auto": {name: ratio(values, seconds["auto"]) for name, values in seconds.items()},
        "limits": limits(task, seconds),
    }
