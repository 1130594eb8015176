"""Train on two machines, and cut one off: network namespaces stand in for the machines (root on Linux).

    python tools/several_machines.py        `make distributed`; some two minutes

Each namespace has its own address; between them there is a cable (veth) that is pulled and put back. Both run torchrun,
which meets over the network (c10d). Compared with one process: the weights at the end.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tudui_course import run
from tudui_course.checkpoint import read_checkpoint
from tudui_course.run_folder import epoch_name
from tudui_course.settings import Settings

SPACES = {"tudui-a": "10.77.0.1", "tudui-b": "10.77.0.2"}
SETTINGS = Settings(epochs=24, batch_size=32, limit=640, precision="float32", device="cpu", order="fixed")
BOUND = 1e-3  # between the largest weights' differences of one process and two, after all steps


def call(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def machines() -> Iterator[None]:
    """Two namespaces joined by a cable."""
    try:
        for name in SPACES:
            call("ip", "netns", "add", name)
        call("ip", "link", "add", "cable-a", "netns", "tudui-a", "type", "veth", "peer", "cable-b", "netns", "tudui-b")
        for name, address in SPACES.items():
            inside = ("ip", "-n", name)
            call(*inside, "addr", "add", f"{address}/24", "dev", cable(name))
            call(*inside, "link", "set", "lo", "up")
            call(*inside, "link", "set", cable(name), "up")
        yield
    finally:
        for name in SPACES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def cable(name: str) -> str:
    return f"cable-{name[-1]}"


def plug(name: str, state: str) -> None:
    """Pull a machine's cable ("down"), or put it back ("up")."""
    call("ip", "-n", name, "link", "set", cable(name), state)


def torchrun(name: str, folder: Path, log: Path) -> subprocess.Popen:
    """Start torchrun on one of the machines; one process each, one or both machines."""
    flags = {
        "--epochs": SETTINGS.epochs, "--batch-size": SETTINGS.batch_size, "--limit": SETTINGS.limit,
        "--precision": SETTINGS.precision, "--device": SETTINGS.device, "--order": SETTINGS.order,
        "--run-dir": folder, "--keep": 3,
    }  # fmt: skip
    meeting = f"join_timeout=60,last_call_timeout=5,is_host={int(name == 'tudui-a')}"
    command = [
        "ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2",
        "--nproc-per-node=1", "--max-restarts=5", "--rdzv-backend=c10d", f"--rdzv-endpoint={SPACES['tudui-a']}:29500",
        "--rdzv-id=course", f"--local-addr={SPACES[name]}", f"--rdzv-conf={meeting}",
        "-m", "tudui_course", "train", *(str(one) for pair in flags.items() for one in pair),
    ]  # fmt: skip
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": cable(name), "TUDUI_TIMEOUT": "10",
        "TQDM_DISABLE": "1",
        # Otherwise a torchrun that comes later never hears from the others where to meet (torch 2.15).
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # fmt: skip
    with open(log, "ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)


def wait_for(path: Path, *processes: subprocess.Popen, seconds: float = 240) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if all(process.poll() is not None for process in processes) or time.monotonic() > deadline:
            raise SystemExit(f"{path.name} never came: the log is above.")
        time.sleep(0.05)


def difference(folder: Path, expected: dict) -> float:
    """The largest difference of a weight after the last epoch."""
    found = read_checkpoint(folder / epoch_name(SETTINGS.epochs - 1))["model"]
    return max((found[name] - expected[name]).abs().max().item() for name in expected)


def stop(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()


def undisturbed(folder: Path, log: Path) -> list[subprocess.Popen]:
    """Both machines from the beginning to the end."""
    both = [torchrun(name, folder, log) for name in SPACES]
    wait_for(folder / epoch_name(SETTINGS.epochs - 1), *both)
    return both


def cut_off(folder: Path, log: Path) -> list[subprocess.Popen]:
    """The second machine is cut off, the first goes on alone, the second comes back and both finish."""
    first, second = (torchrun(name, folder, log) for name in SPACES)
    wait_for(folder / epoch_name(4), first, second)
    plug("tudui-b", "down")
    pulled = max(int(path.stem.split("_")[1]) for path in folder.glob("tudui_[0-9]*.pth"))
    wait_for(folder / epoch_name(pulled + 2), first)  # it has gone on alone
    stop([second])  # nobody on it reaches the first any more; whoever looks after it starts torchrun again
    plug("tudui-b", "up")
    back = torchrun("tudui-b", folder, log)
    wait_for(folder / epoch_name(SETTINGS.epochs - 1), first, back)
    return [first, second, back]


def main() -> None:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"):
        print("skipped: network namespaces take Linux, root and the command `ip` (Debian's iproute2).")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, machines():
        with contextlib.redirect_stdout(io.StringIO()):
            run.train(SETTINGS, Path(folder) / "one")
        expected = read_checkpoint(Path(folder) / "one" / epoch_name(SETTINGS.epochs - 1))["model"]
        for trial in (undisturbed, cut_off):
            started, log, processes = time.monotonic(), Path(folder) / f"{trial.__name__}.log", []
            try:
                processes = trial(Path(folder) / trial.__name__, log)
            finally:
                stop(processes)
                lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
                told = [line for line in lines if line.startswith(("resumed", "tudui:", "epoch"))]
                print(*(f"    {line[:150]}" for line in told or lines[-30:]), sep="\n", flush=True)
            apart = difference(Path(folder) / trial.__name__, expected)
            print(
                f"{trial.__doc__} Largest difference of a weight from one process's: {apart:.1e}; "
                f"{time.monotonic() - started:.0f} s"
            )
            if apart > BOUND:
                sys.exit(f"more than {BOUND}")


if __name__ == "__main__":
    main()
