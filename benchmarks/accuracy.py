"""Time to a test accuracy: the lesson's way, `tudui train`, the other libraries with its recipe; whole commands.

All are timed in a process that has imported torch and the libraries, from reading the pictures (a folder's from the
cache of decoded ones) to the test that shows the accuracy: training, the test of all test pictures after each epoch,
logs, checkpoints. Each run is printed as it ends, for a measurement that is cut short.
"""

import contextlib
import functools
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import peers
import torch
import tyro
from common import LR, quiet, ratio, summary
from steps import Task, seed_epoch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from tudui_course import run
from tudui_course.data.loaders import read_data
from tudui_course.model import Tudui
from tudui_course.recipe import FAST
from tudui_course.runtime import choose_precision, seed_everything
from tudui_course.settings import Settings

GOAL = 0.546  # what the lesson prints after its tenth epoch
SEEDS = (0, 1, 2)
# One epoch of so many pictures with this peak learning rate; chosen on training pictures kept back (python
# tools/recipes.py DIR short), with some room left: three seeds reach 0.567 to 0.571 there. Not under 10,000 pictures:
# --limit holds for the test set too.
PICTURES, FAST_LR = 17_500, 0.07
SHORT = f"--recipe fast --epochs 1 --limit {PICTURES} --lr {FAST_LR}"
# Whole commands: the flags of `tudui train`, and the test accuracy that it should end on.
COMMANDS = (
    ("--recipe fast", 0.74),
    ("--recipe fast --network TuduiNorm --lr 0.05", 0.80),  # the learning rate of docs/recipes.md
)
COMMAND_SEEDS = (0, 1)
QUICK = {"epochs": 1, "limit": 640}


def seed_way(data: str, seed: int, max_epochs: int, limit: int) -> dict:
    """Train the lesson's way, in one fixed order, until a test shows the goal."""
    started = time.perf_counter()
    train, test = read_data(data, limit=limit)
    seed_everything(seed)
    model, loss_fn = Tudui(len(train.classes)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), LR)
    loaders = Task(train.mixed(seed), test, 0).loaders("seed")
    accuracies = []
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(SummaryWriter(folder)) as writer, quiet():
        while len(accuracies) < max_epochs and max(accuracies, default=0) < GOAL:
            epoch = len(accuracies)
            accuracies.append(seed_epoch(model, loaders, loss_fn, optimizer, writer, Path(folder), epoch))
    return {"seed": seed, "seconds": time.perf_counter() - started, "test_accuracy": accuracies}


def our_way(data: str, seed: int, flags: str, changes: dict) -> dict:
    """Run `tudui train --data DATA --seed SEED FLAGS` in this process, with `changes` to its settings."""
    settings = replace(tyro.cli(Settings, args=flags.split()), data=data, seed=seed, device="cpu", **changes)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, quiet():
        history = run.train(settings, folder)
    seconds = time.perf_counter() - started
    return {"seed": seed, "seconds": seconds, "test_accuracy": [row.test.accuracy for row in history]}


def peer_way(data: str, seed: int, limit: int, name: str) -> dict:
    """Train as SHORT does, with the same pictures, memory layout and recipe, but by another library's loop."""
    precision = choose_precision("auto", "cpu") if name in peers.BFLOAT16 else "float32"
    options = {"precision": precision} if name in peers.BFLOAT16 else {}
    recipe = replace(FAST, lr=FAST_LR)
    started = time.perf_counter()
    train, test = read_data(data, limit=limit)
    with tempfile.TemporaryDirectory() as folder, quiet(), peers.without_warnings():
        model, loaders, *_ = run.assemble(recipe, "Tudui", train, test, epochs=1, seed=seed)
        _, accuracy = peers.PEERS[name][1](recipe, model, loaders, Path(folder), **options)
    seconds = time.perf_counter() - started
    return {"seed": seed, "precision": precision, "seconds": seconds, "test_accuracy": [accuracy]}


def told(name: str, one: dict) -> dict:
    """Print a run, and give it back."""
    print(f"  {name}: {json.dumps(one)}", file=sys.stderr, flush=True)
    return one


def to_the_goal(data: str, quick: bool) -> dict:
    """All ways to the lesson's accuracy in turn, seed by seed; one that doesn't reach it is said to have failed."""
    limit, changes = (QUICK["limit"], QUICK) if quick else (PICTURES, {})
    ways = {
        "seed_way": functools.partial(seed_way, max_epochs=1 if quick else 15, limit=limit if quick else 0),
        "our_way": functools.partial(our_way, flags=SHORT, changes=changes),
        **{name: functools.partial(peer_way, limit=limit, name=name) for name in peers.installed()},
    }
    our_way(data, 0, SHORT, QUICK)  # imports, thread pools, and the folder's pictures decoded where they weren't
    for name in peers.installed():
        peer_way(data, 0, QUICK["limit"], name)
    runs = {name: [] for name in ways}
    for seed in SEEDS[: 1 if quick else None]:
        for name, way in ways.items():
            runs[name].append(told(name, way(data, seed)))
    seconds = {name: [one["seconds"] for one in those] for name, those in runs.items()}
    found = {name: {"runs": those, "seconds": summary(seconds[name])} for name, those in runs.items()}
    return {
        "goal": GOAL,
        "command": f"tudui train --data DIR {SHORT}",
        "precision": choose_precision("auto", "cpu"),
        "seed_way": found.pop("seed_way"),
        "our_way": found.pop("our_way"),
        "reached": all(max(one["test_accuracy"]) >= GOAL for one in runs["seed_way"] + runs["our_way"]),
        "ratio": ratio(seconds["seed_way"], seconds["our_way"]),
        "versions": peers.versions(),
        "libraries": {name: one | {"ratio": ratio(seconds[name], seconds["our_way"])} for name, one in found.items()},
    }


def whole_commands(data: str, quick: bool) -> list[dict]:
    """The commands of COMMANDS, one after the other for each seed."""
    runs = {flags: [] for flags, _ in COMMANDS}
    for seed in COMMAND_SEEDS[: 1 if quick else None]:
        for flags in runs:
            runs[flags].append(told(flags, our_way(data, seed, flags, QUICK if quick else {})))
    return [
        {"command": f"tudui train --data DIR {flags}", "goal": goal, "runs": runs[flags]} for flags, goal in COMMANDS
    ]


def measure(data: str, quick: bool) -> dict:
    """The ways to the lesson's accuracy, then the whole commands.

    Args:
        data: "cifar10", or a folder with such pictures.
        quick: one epoch of few pictures with one seed, to see that everything works.
    """
    return {**to_the_goal(data, quick), "commands": whole_commands(data, quick)}
