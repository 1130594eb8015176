"""What test_distributed.py does in one process, and torchrun in several: `torchrun ... together.py FILE RUN SETTINGS`.

It writes what it found to FILE, and trains the run in the folder RUN.
"""

import contextlib
import io
import json
import sys
from dataclasses import asdict

import torch
from torch import nn

from tudui_course import distributed, run
from tudui_course.data.loaders import InMemory
from tudui_course.errors import DivergedError, InputError
from tudui_course.loop import fit, train_one_epoch
from tudui_course.recipe import FAST, SEED
from tudui_course.settings import Settings

CASES = {
    "float64": (SEED, "Tudui", torch.float64, 8),
    "float32": (SEED, "Tudui", torch.float32, 8),
    "fast": (FAST, "Tudui", torch.float64, 8),
    "small": (SEED, "Tudui", torch.float64, 4),
}


def random_pictures(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return InMemory(images, torch.randint(0, 10, (count,), generator=generator), [f"class {n}" for n in range(10)])


class To:
    """A recipe's transform, and then another dtype."""

    def __init__(self, transform, dtype):
        self.transform, self.dtype = transform, dtype

    def __call__(self, images):
        return self.transform(images).to(self.dtype)


def train(recipe, network, dtype, batch_size):
    """Two epochs in a fixed order: 81 pictures, so that the last batch has one, and 37 to test on."""
    torch.set_default_dtype(dtype)
    parts = run.assemble(
        recipe, network, random_pictures(81, 0), random_pictures(37, 1), epochs=2, batch_size=batch_size, order="fixed"
    )
    torch.set_default_dtype(torch.float32)
    for loader in parts.loaders:
        loader.dataset.transform = To(loader.dataset.transform, dtype)
    points = []
    history = fit(
        parts.model, parts.loaders, parts.loss_fn, parts.optimizer, epochs=2, scheduler=parts.scheduler, log_every=3,
        log=lambda *point: points.append(point),
    )  # fmt: skip
    weights = {name.removeprefix("module."): tensor.clone() for name, tensor in parts.model.state_dict().items()}
    return {"weights": weights, "points": points, "history": [asdict(record) for record in history]}


def message(kind, function):
    try:
        function()
    except kind as error:
        return str(error)
    return ""


def one_batch():
    """A network with BatchNorm, and an epoch of one batch."""
    pictures = random_pictures(20, 0), random_pictures(8, 1)
    return run.assemble(SEED, "TuduiNorm", *pictures, epochs=1, batch_size=20, order="fixed")


def running_mean():
    """That of the first BatchNorm layer after one step."""
    model, loaders, loss_fn, optimizer, _ = one_batch()
    train_one_epoch(model, loaders[0], loss_fn, optimizer)
    return next(layer.running_mean.clone() for layer in model.modules() if isinstance(layer, nn.BatchNorm2d))


def one_nan():
    """Train on pictures of which one, in a share of one process, is NaN."""
    parts = run.assemble(SEED, "Tudui", random_pictures(40, 0), random_pictures(8, 1), epochs=1, batch_size=10)
    seen = []

    def spoil(images):
        seen.append(images)
        if len(seen) == 3:
            images[0] = torch.nan
        return images

    parts.loaders[0].dataset.transform = spoil
    fit(parts.model, parts.loaders, parts.loss_fn, parts.optimizer, epochs=1)


def main():
    with distributed.joined():
        results = {name: train(*case) for name, case in CASES.items()}
        results["running mean"] = running_mean()
        states = distributed.everybody(torch.get_rng_state().tolist())
        distributed.same_random_state()
        results["random"] = [states, distributed.everybody(torch.get_rng_state().tolist())]
        results["nan"] = distributed.everybody(message(DivergedError, one_nan))
        other = f"data of {distributed.rank() // 2}"
        results["data"] = distributed.everybody(message(InputError, lambda: distributed.refuse_differences(other)))
        read = []
        numbers, names = distributed.read_once(lambda: read.append(1) or [torch.arange(5), ["a", "b"]])
        results["read"] = distributed.everybody((len(read), numbers.tolist(), names))
        numbers[0] = distributed.rank()  # a private copy of the page is made
        results["written"] = distributed.everybody(int(numbers[0]))
        results["signal"] = distributed.largest(15 if distributed.rank() == 1 else 0)
        with contextlib.redirect_stdout(io.StringIO()):
            run.train(Settings(**json.loads(sys.argv[3])), sys.argv[2], resume=distributed.count() == 3)
        print(json.dumps("printed once"))
        if distributed.is_first():
            torch.save(results, sys.argv[1])


if __name__ == "__main__":
    main()
