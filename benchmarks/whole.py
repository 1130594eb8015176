"""Where the time of a whole `tudui train` goes, and what testing alone costs by batch size and number of threads."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from common import ROOT, in_turn, summary
from torch import nn
from torch.utils.data import DataLoader

from tudui_course.data.loaders import InMemory, collate, read_data
from tudui_course.loop import evaluate
from tudui_course.model import Tudui
from tudui_course.runtime import choose_precision, place

EPOCHS = 10
# Runs `tudui train` with a clock around each part, and writes what they took, in seconds, to the file named first; the
# time when all was begun is named second.
TIMED = """
import json, sys, time
from pathlib import Path
from tudui_course import loop, run

path, begun, *sys.argv[1:] = sys.argv[1:]
seconds = {}

def timed(part, function):
    def call(*args, **kwargs):
        seconds.setdefault("start", time.time() - float(begun))
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] = seconds.get(part, 0) + time.perf_counter() - started
    return call

loop.train_one_epoch = timed("train", loop.train_one_epoch)
loop.evaluate = timed("test", loop.evaluate)
run.save_checkpoint = timed("save", run.save_checkpoint)
from tudui_course.cli import main
main()
Path(path).write_text(json.dumps(seconds))
"""


def split_run(data: str, epochs: int, limit: int) -> dict[str, float]:
    """Seconds of a whole run by part; "start" is all before its first checkpoint, "rest" what no other part has."""
    with tempfile.TemporaryDirectory() as folder:
        path, run_dir = Path(folder) / "seconds.json", Path(folder) / "run"
        command = f"train --epochs {epochs} --limit {limit} --device cpu".split()
        command += ["--data", data, "--run-dir", str(run_dir)]
        started, begun = time.perf_counter(), str(time.time())
        subprocess.run(
            [sys.executable, "-c", TIMED, str(path), begun, *command], check=True, cwd=ROOT, stdout=subprocess.DEVNULL
        )
        total = time.perf_counter() - started
        parts = json.loads(path.read_text(encoding="utf-8"))
    return {**parts, "rest": total - sum(parts.values()), "total": total}


def testing(test: InMemory, batch: int, threads: int, precision: str) -> Callable[[], float]:
    """A function that tests the lesson's network on all pictures and returns milliseconds for 1,000 of them."""
    model, loss_fn = place(Tudui(), "cpu"), nn.CrossEntropyLoss()
    loader = DataLoader(test, batch, collate_fn=collate)

    def run() -> float:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        started = time.perf_counter()
        count = evaluate(model, loader, loss_fn, precision=precision).count
        seconds = time.perf_counter() - started
        torch.set_num_threads(before)
        return seconds * 1e6 / count

    return run


def measure(data: str, quick: bool) -> dict:
    """Split whole runs, and test by batch size and threads in turn.

    Args:
        data: as for `read_data`.
        quick: one short run and few pictures, to see that everything works.
    """
    epochs, limit = (2, 640) if quick else (EPOCHS, 0)
    runs = [split_run(data, epochs, limit) for _ in range(1 if quick else 3)]
    test, precision = read_data(data, limit=limit)[1], choose_precision("auto", "cpu")
    cores = sorted({1, psutil.cpu_count(logical=False) or 1, psutil.cpu_count() or 1})
    variants = {
        f"batch {batch}, threads {threads}": testing(test, batch, threads, precision)
        for batch in (64, 256, 1024)
        for threads in cores
    }
    for function in variants.values():
        function()  # thread pools, oneDNN's choices
    return {
        "epochs": epochs,
        "precision": precision,
        "seconds": {part: summary([one[part] for one in runs]) for part in runs[0]},
        "evaluate": {name: summary(values) for name, values in in_turn(variants, 2 if quick else 5).items()},
    }
