"""`tudui doctor`: what works on this machine, what doesn't, and how to mend it."""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from tudui_course.data.cifar10 import CIFAR10
from tudui_course.runtime import (
    available_devices,
    choose_device,
    choose_precision,
    data_dir,
    fault_of,
    runs_dir,
    short_path,
)

INSTALL = f"{sys.executable} -m pip install --upgrade"


def examine() -> bool:
    """Print one line a finding, each fault with its remedy; return whether all is well."""
    findings = [check_python(), *check_packages(), check_torchvision(), check_jupyter_kernel()]
    findings += [check_devices(), check_precision(), check_data(), check_disk(), check_tensorboard()]
    for subject, found, remedy in findings:
        print(f"{'fix ' if remedy else 'ok  '} {subject:12s} {found}")
        if remedy:
            print(f"     {'':12s} -> {remedy}")
    return not any(remedy for _, _, remedy in findings)


Finding = tuple[str, str, str]  # subject, what was found, remedy ("" where none is needed)


def check_python() -> Finding:
    """The version of Python."""
    remedy = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer and set the course up again"
    return "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", remedy


def check_packages() -> list[Finding]:
    """The packages a learner may have of the wrong version; older ones are known not to work."""
    wanted = (
        ("torch", 2, 10), ("torchvision", 0, 25), ("tensorboard", 2, 21), ("setuptools",), ("jupyterlab", 4, 2),
        ("nbval", 0, 11), ("matplotlib", 3, 8),
    )  # fmt: skip
    return [check_package(*package) for package in wanted]


def check_package(name: str, *oldest: int) -> Finding:
    """A package's version; `oldest` is the first that is known to work, nothing for one that may be missing."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return name, "missing", f"{INSTALL} {name}" if oldest else ""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[: len(oldest)])
    wanted = ".".join(map(str, oldest))
    return name, found, "" if numbers >= oldest else f'{INSTALL} "{name}>={wanted}"'


def check_torchvision() -> Finding:
    """torch and torchvision built for different machines fail at the first use of an operator."""
    remedy = f"{INSTALL} --force-reinstall torch torchvision"
    try:
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError) as error:
        return "operators", f"torchvision doesn't fit torch: {str(error).splitlines()[0]}", remedy
    return "operators", "torchvision fits torch", ""


def check_jupyter_kernel() -> Finding:
    """A `jupyter` of another Python on the PATH would open the notebooks in a kernel without these packages."""
    found = shutil.which("jupyter")
    if not found:
        return "jupyter", "not on the PATH; python -m jupyterlab works", ""
    if os.path.dirname(os.path.abspath(found)) == os.path.dirname(os.path.abspath(sys.executable)):
        return "jupyter", "of this environment", ""
    return "jupyter", "another environment's comes first on the PATH; python -m jupyterlab takes this one's", ""


def machine() -> dict[str, str | int]:
    """This machine in words: its CPU and what that can, the system, and torch, as reports of figures name it."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": choose_precision("auto", "cpu"),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "torch": torch.__version__,
    }


def check_devices() -> Finding:
    """What can be trained on; a small product is tried on each."""
    faults = {device: fault_of(device) for device in available_devices()}
    found = "; ".join(f"{device}: {fault}" if fault else device for device, fault in faults.items())
    return "devices", found + "; {cpu}, {cores} cores, {threads} threads".format(**machine()), remedy_of(faults)


def remedy_of(faults: dict[str, str]) -> str:
    """What to do about the first device that is there but computes nothing; "" where all do."""
    device = next((device for device, fault in faults.items() if fault), "")
    if not device.startswith("cuda"):
        return device and f"update torch and the driver of {device}: {INSTALL} torch torchvision"
    card = ""
    with contextlib.suppress(Exception):  # even this can fail on a card that doesn't fit
        major, minor = torch.cuda.get_device_capability(device)
        card = f", your card is sm_{major}{minor}"
    built = ", ".join(torch.cuda.get_arch_list()) or "no card at all"
    return (
        f"torch {torch.__version__} was built for {built}{card}: install a torch built for it (newer for a new card, "
        "older for an old one; 'Get Started' at pytorch.org gives the command), or update the card's driver"
    )


def check_precision() -> Finding:
    """What --precision auto takes here."""
    with warnings.catch_warnings(action="ignore"):  # check_devices says it
        device = choose_device("auto")
    precision = choose_precision("auto", device)
    fast = "natively" if precision == "bfloat16" else "not natively"
    return "precision", f"{device} computes bfloat16 {fast}: --precision auto takes {precision}", ""


def check_data() -> Finding:
    """Which data sets are there already."""
    dataset = data_dir()
    pictograms = "drawn" if (dataset / "pictograms-batches-py").is_dir() else "drawn on first use"
    cifar10 = "there" if (dataset / CIFAR10.base_folder).is_dir() else "not there (tudui download fetches it)"
    return "data sets", f"in {short_path(dataset)}: pictograms {pictograms}; cifar10 {cifar10}", ""


def check_disk() -> Finding:
    """Room for runs and data sets."""
    free = shutil.disk_usage(next(path for path in (runs_dir(), *runs_dir().parents) if path.exists())).free / 1e9
    remedy = "" if free > 1 else "make room, or set TUDUI_HOME to a folder on another disk"
    return "disk", f"{free:.0f} GB free where runs are kept", remedy


def check_tensorboard() -> Finding:
    """Start a real TensorBoard on a free port of this machine, ask it for its page, stop it."""
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "log"), "w+") as log:
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--port", "0", "--host", "127.0.0.1"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(300):
                time.sleep(0.1)
                log.seek(0)
                text = log.read()
                if address := re.search(r"http://127\.0\.0\.1:\d+/", text):
                    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # none knows this machine
                    opener.open(address[0], timeout=10).close()
                    return "TensorBoard", "starts and answers", ""
                if process.poll() is not None:
                    break
        except OSError as error:
            text = str(error)
        finally:
            process.terminate()
            process.wait()
    reason = (text.strip().splitlines() or ["no answer within 30 s"])[-1]
    return "TensorBoard", f"doesn't start: {reason}", f"{INSTALL} tensorboard setuptools"
