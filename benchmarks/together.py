"""One process of two threads against two of one, under torchrun, and what many machines would gain, on paper.

python benchmarks/together.py DATA STEPS    (each worker) train each kind of step in turn; print the seconds as JSON
"""

import json
import os
import subprocess
import sys
import time

import torch
from common import in_turn, ratio, summary
from steps import read_task

from tudui_course import distributed, run
from tudui_course.loop import train_one_epoch
from tudui_course.model import Tudui
from tudui_course.recipe import SEED

BATCHES = (64, 512)
PRECISIONS = ("float32", "bfloat16")
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SPEEDS = {"10 Gbit/s": 10e9 / 8, "100 Gbit/s": 100e9 / 8}  # bytes a second
LATENCY = 20e-6  # seconds that a message takes however small it is: assumed, a usual figure for Ethernet


def work(data: str, steps: int) -> dict[str, float]:
    """Milliseconds a step by precision and batch size, of this process and those that torchrun started beside it."""
    found = {}
    task = read_task(data, steps)
    for batch in BATCHES:
        for precision in PRECISIONS:
            parts = run.assemble(SEED, "Tudui", task.train, task.test, epochs=1, batch_size=batch)
            count = len(parts.loaders[0])
            for _ in range(2):  # the first warms up
                started = time.perf_counter()
                train_one_epoch(parts.model, parts.loaders[0], parts.loss_fn, parts.optimizer, precision=precision)
                found[f"{precision}, batch {batch}"] = (time.perf_counter() - started) / count * 1000
    return found


def launch(processes: int, threads: int, data: str, steps: int) -> dict[str, float]:
    """Run `work` in so many processes of so many threads; what the first of them printed."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [*command, __file__, data, str(steps)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def gradient_bytes() -> int:
    """What each process sends for a step: the gradients of all parameters, float32."""
    return sum(parameter.numel() * 4 for parameter in Tudui().parameters())


def exchange(workers: int, speed: float, size: int) -> float:
    """Seconds of a ring all-reduce: each worker sends (W - 1)/W of the bytes twice, in 2 (W - 1) messages.

    Source: P. Patarasuk and X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.
    """
    return 2 * (workers - 1) * (size / workers / speed + LATENCY)


def on_paper(ms: float, size: int) -> dict[str, dict[str, float]]:
    """speed of the network -> workers -> times as many pictures a second as one worker, each with a batch of its own.

    Nothing is hidden behind the computing: the network is so small that its gradients are ready all at once.

    Args:
        ms: of a step of one worker.
        size: bytes of the gradients.
    """
    step = ms / 1000
    return {
        name: {str(workers): workers * step / (step + exchange(workers, speed, size)) for workers in WORKERS}
        for name, speed in SPEEDS.items()
    }


def fixed_batch(ms: float, size: int) -> dict[str, dict[str, float]]:
    """speed of the network -> workers -> times as fast as one worker, where all share one batch of the same size.

    Args:
        ms: of a step of one worker on the whole batch.
        size: bytes of the gradients.
    """
    step = ms / 1000
    return {
        name: {str(count): step / (step / count + exchange(count, speed, size)) for count in WORKERS}
        for name, speed in SPEEDS.items()
    }


def measure(data: str, quick: bool) -> dict:
    """Both ways in turn, and the gain on paper from this machine's step of one process.

    Args:
        data: as for `read_data`.
        quick: few steps and one round, to see that everything works.
    """
    steps, rounds = (16, 1) if quick else (156, 5)
    ways = {"1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
    ms = {way: [] for way in ways}

    def timed(way: str) -> float:
        started = time.perf_counter()
        ms[way].append(launch(*ways[way], data, steps))
        return time.perf_counter() - started

    in_turn({way: lambda way=way: timed(way) for way in ways}, rounds)
    rows = {}
    for kind in next(iter(ms.values()))[0]:
        one, two = ([found[kind] for found in ms[way]] for way in ways)
        rows[kind] = {"one": summary(one), "two": summary(two), "ratio": ratio(two, one)}
    size = gradient_bytes()
    small, large = (rows[f"float32, batch {batch}"]["one"]["median"] for batch in BATCHES)
    return {
        "rows": rows, "bytes": size, "latency": LATENCY, "step_ms": small, "large_step_ms": large,
        "on_paper": on_paper(small, size), "fixed_batch": fixed_batch(large, size),
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with distributed.joined():
        print(json.dumps(work(sys.argv[1], int(sys.argv[2]))))
