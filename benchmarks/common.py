"""What all parts of the benchmark share: the machine in words, a silent terminal, variants in turn, ratios."""

import contextlib
import io
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tudui_course import doctor

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64  # pictures a step, in every variant
LR = 0.01  # of SGD, in every variant


class SilentTerminal(io.StringIO):
    """Passes for a terminal, so that progress bars are drawn as a learner has them, and keeps nothing."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what is printed and drawn to a silent terminal."""
    terminal = SilentTerminal()
    with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
        yield


def in_turn(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run all variants once a round, every other round backwards, so that a slow minute of the machine hits them all.

    Args:
        variants: name -> function that does the work and returns seconds.
        rounds: how often.

    Returns:
        name -> seconds, round by round.
    """
    seconds = {name: [] for name in variants}
    for number in range(rounds):
        started = time.perf_counter()
        for name in list(variants) if number % 2 == 0 else reversed(variants):
            seconds[name].append(variants[name]())
        print(f"  round {number + 1} of {rounds}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return seconds


def summary(values: list[float]) -> dict:
    """Median, least and most of what was measured, and all of it."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "values": values}


def ratio(slow: list[float], fast: list[float]) -> dict:
    """How many times as long `slow` takes as `fast`, round by round, so that both saw the same minutes."""
    return summary([one / other for one, other in zip(slow, fast, strict=True)])


def machine() -> dict:
    """This machine, the date, and the load average as the part begins; what ran right before is in that too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**doctor.machine(), "load": load, "date": time.strftime("%Y-%m-%d")}


def name(facts: dict) -> str:
    """A short name for the kind of machine, under which bench.json keeps its figures: Intel Xeon, 2 cores, AVX512."""
    cpu = " ".join(re.sub(r"\((R|TM)\)|\b(CPU|Processor)\b|@.*", "", facts["cpu"]).split())
    native = ", bfloat16" if facts["precision"] == "bfloat16" else ""
    return f"{cpu}, {facts['cores']} cores, {facts['instructions']}{native}"
