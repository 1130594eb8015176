"""The machine: where data and runs live, seeds, device, precision."""

import functools
import os
import random
import shlex
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import platformdirs
import torch

from tudui_course.errors import CourseWarning, InputError


def home() -> Path:
    """The folder that holds `runs/`, solved exercises and `dataset/`, the same for notebooks, command line and tests.

    TUDUI_HOME where it is set, the checkout for an editable install, the user's data folder otherwise.
    """
    if os.environ.get("TUDUI_HOME"):
        return Path(os.environ["TUDUI_HOME"]).expanduser().resolve()
    return checkout() or Path(platformdirs.user_data_dir("tudui_course"))


def checkout() -> Path | None:
    """The checkout that an editable install runs from, or None."""
    folder = Path(__file__).resolve().parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def data_dir() -> Path:
    """Where the data sets are kept: in `home()`, or in the user's cache for an installed package."""
    if os.environ.get("TUDUI_HOME") or checkout():
        return home() / "dataset"
    return Path(platformdirs.user_cache_dir("tudui_course")) / "dataset"


def runs_dir() -> Path:
    """Where runs keep their checkpoints and TensorBoard files."""
    return home() / "runs"


def short_path(path: Path | str) -> str:
    """A path as it can be typed here: relative where it or `home()` holds both it and the current folder."""
    path, here = Path(path).resolve(), Path.cwd()
    if path.is_relative_to(here) or (path.is_relative_to(home()) and here.is_relative_to(home())):
        return Path(os.path.relpath(path, here)).as_posix()
    return str(path)


def typed(program: str) -> str:
    """How to type a program of this environment here: its name where that finds it, otherwise its path."""
    script = Path(sys.executable).with_name(program)
    found = shutil.which(program)
    if (found and Path(found) == script) or not script.exists():
        return program
    near = script.is_relative_to(home()) and Path.cwd().is_relative_to(home())
    return shlex.quote(os.path.relpath(script) if near else str(script))


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all: under another name, flushed to the disk and renamed. Its folder must exist."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):  # a power cut could undo the renaming; Windows has no such call
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def seed_everything(seed: int) -> None:
    """Seed python, numpy and torch (all devices) with 0 to 2**32 - 1: a run can be repeated on the same machine."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def choose_device(name: str = "auto") -> torch.device:
    """Turn a name into a device that is there and computes.

    Args:
        name: "auto" (the accelerator where there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps" ... Where the
            accelerator computes nothing, "auto" warns and takes the CPU.

    Raises:
        InputError: no such device, here or anywhere, or one that computes nothing.
    """
    here = available_devices()
    choice = name if name != "auto" else here[min(1, len(here) - 1)]
    try:
        device = torch.device(choice)
    except RuntimeError:
        raise InputError(f"device {name!r} is no device name; here you can use: auto, {', '.join(here)}.") from None
    if str(device) not in here and not any(known.split(":")[0] == str(device) for known in here):
        raise InputError(f"device {name!r} isn't there; here you can use: auto, {', '.join(here)}.")
    fault = fault_of(str(device))
    if not fault:
        return device
    told = f"device {choice!r} is there but computes nothing ({fault}); `{typed('tudui')} doctor` says what to do"
    if name != "auto":
        raise InputError(f"{told}, or take --device cpu.")
    warnings.warn(f"{told}. Meanwhile the CPU is taken.", CourseWarning, stacklevel=2)
    return torch.device("cpu")


@functools.cache
def fault_of(device: str) -> str:
    """Why a device that torch finds can't multiply two small matrices, or "" where it can.

    A card that is newer or older than those this torch was built for is found all the same, and fails at the first use.
    """
    if device == "cpu":
        return ""
    try:
        ones = torch.ones(2, 2, device=device)
        right = (ones @ ones).sum().item() == 8
    except Exception as error:  # each kind of accelerator raises errors of its own
        return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return "" if right else "a wrong product"


def available_devices() -> list[str]:
    """The devices of this machine, the CPU first: ["cpu"], ["cpu", "cuda:0"], ["cpu", "mps:0"] ..."""
    names = ["cpu"]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        names += [f"{kind}:{index}" for index in range(torch.accelerator.device_count())]
    return names


def choose_precision(name: str, device: torch.device | str) -> str:
    """Settle "auto": "bfloat16" where the device has instructions for it, "float32" elsewhere; other names stay.

    On a CPU without them bfloat16 is emulated and far slower than float32, so the CPU is asked.
    """
    if name != "auto":
        return name
    return "bfloat16" if has_fast_bfloat16(torch.device(device)) else "float32"


def autocast(device: torch.device | str, precision: str) -> torch.autocast:
    """torch.autocast for "bfloat16", switched off for "float32".

    Raises:
        ValueError: another precision, which torch would silently take for float32.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision is {precision!r}, but it must be float32 or bfloat16.")
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # Ampere and newer
    if device.type != "cpu" or os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in ISA_WITHOUT_BFLOAT16:
        return False
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, question, lambda: False)() for question in questions)


# Values of oneDNN's variable that keep it from using the CPU's bfloat16 instructions.
ISA_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}


def place(model: torch.nn.Module, device: torch.device | str) -> torch.nn.Module:
    """Move a model to the device, its convolutions' weights laid out channels last.

    The layout changes no result beyond rounding; it lets max-pooling and convolutions use vector instructions
    (about 1.5 times as fast on a CPU). The model is changed in place and returned.
    """
    return model.to(device=device, memory_format=torch.channels_last)
