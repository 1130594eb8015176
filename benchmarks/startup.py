"""Start-up time and memory of the command line, each in a process of its own, in turn.

The commands are those a learner types, run from this environment's Python. For the first step a hook ends the process
right after the optimizer's first step. Memory is the resident size, read 50 times a second.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from common import ROOT, in_turn, summary

from tudui_course.data.loaders import read_data

FIRST_STEP = """
import os, sys
from torch.optim.optimizer import register_optimizer_step_post_hook
register_optimizer_step_post_hook(lambda *_: os._exit(0))
from tudui_course.cli import main
sys.argv = ["tudui", *sys.argv[1:]]
main()
sys.exit("no step was made")
"""
# It ends as abruptly as the first step does: taking torch down in good order costs another second.
TORCH = "import os, torch, torchvision; os._exit(0)"


def seconds(*arguments: str) -> float:
    """Seconds that this Python takes with these arguments, from start to exit."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def first_step(data: str) -> float:
    """Seconds from the start of `tudui train` to the end of its first optimizer step."""
    with tempfile.TemporaryDirectory() as folder:
        return seconds("-c", FIRST_STEP, "train", "--data", data, "--run-dir", folder)


def torch_in_help() -> bool:
    """Whether `tudui --help` imports torch, which takes seconds."""
    program = "import sys; sys.argv = ['tudui', '--help']\nfrom tudui_course.cli import main\n"
    program += "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)
    return printed.stdout.splitlines()[-1] == "True"


def peak_memory(arguments: list[str], run_dir: Path | None = None) -> dict[int, int]:
    """Run Python with these arguments; the most bytes that it held, by epochs finished (checkpoints in `run_dir`)."""
    peaks: dict[int, int] = {}
    child = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    while child.poll() is None:
        epoch = len(list(run_dir.glob("tudui_[0-9]*.pth"))) if run_dir else 0
        try:
            peaks[epoch] = max(peaks.get(epoch, 0), process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if child.wait():
        raise RuntimeError(f"{' '.join(arguments)} failed.")
    return peaks


def memory(data: str, epochs: int, limit: int) -> dict:
    """Peak of a run against torch and the pictures alone, and whether it grows from the second epoch to the last."""
    train, test = read_data(data, limit=limit)
    pictures = train.images.nbytes + test.images.nbytes
    # Taking torch down takes memory too: it counts in the run's peak, not here.
    torch_alone = max(peak_memory(["-c", "import os, time, torch, torchvision; time.sleep(0.2); os._exit(0)"]).values())
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "tudui_course", "train", "--data", data, "--run-dir", folder, "--epochs", str(epochs)]
        peaks = peak_memory([*command, "--limit", str(limit)], Path(folder))
    by_epoch = [peaks[epoch] for epoch in range(epochs) if epoch in peaks]
    return {
        "torch": torch_alone,
        "pictures": pictures,
        "peak": max(peaks.values()),
        "ratio": max(peaks.values()) / (torch_alone + pictures),
        "by_epoch": by_epoch,
        "growth": by_epoch[-1] / by_epoch[1],
    }


def measure(data: str, quick: bool) -> dict:
    """Start-up of import, --help and train in turn, and memory.

    Args:
        data: as for `read_data`.
        quick: two rounds and few pictures, to see that everything works.
    """
    commands = {
        "import": lambda: seconds("-c", TORCH),
        "help": lambda: seconds("-m", "tudui_course", "--help"),
        "first_step": lambda: first_step(data),
    }
    for command in commands.values():
        command()  # files read from the disk once
    taken = in_turn(commands, 2 if quick else 7)
    pairs = zip(taken["first_step"], taken["import"], strict=True)
    return {
        "seconds": {name: summary(values) for name, values in taken.items()},
        "first_step_after_import": summary([one - other for one, other in pairs]),
        "torch_in_help": torch_in_help(),
        "memory": memory(data, epochs=3 if quick else 6, limit=640 if quick else 0),
    }
