"""Checkpoints: written whole or not at all, read without running foreign code, resumed to the bit."""

import io
import itertools
import random
import warnings
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from tudui_course.errors import CourseError, CourseWarning, DamagedError, InputError, NotFoundError, StorageError
from tudui_course.foreign import OTHERS, Opened, class_count, describe, is_state_dict, open_file, recognise
from tudui_course.model import MODELS
from tudui_course.resume import Progress
from tudui_course.run_folder import BEST, INTERRUPTED, checkpoints
from tudui_course.runtime import short_path, write_whole
from tudui_course.settings import Settings
from tudui_course.whole_model import printable

FORMAT = "tudui_course checkpoint"
VERSION = 2  # 2 records which data; version 1 can be read too
PHOTOGRAPHS = Path(__file__).with_name("photographs.pth")  # comes with the package; tools/photo_checkpoint.py makes it


def save_checkpoint(
    path: Path | str,
    model: nn.Module,
    optimizer: Optimizer | None = None,
    progress: Progress | None = None,
    *,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    settings: dict | None = None,
    classes: list[str] | None = None,
    data: str = "",
) -> Path:
    """Save a model and all that is needed to continue training it, as tensors and plain values only; return the path.

    The file is written under another name, flushed to the disk and renamed, so that `path` holds either what it held
    before or the whole new checkpoint. Missing folders are made.

    Args:
        path: the file, for example "runs/first/tudui_0.pth".
        model: `Tudui` or `TuduiNorm`, possibly compiled or wrapped for several processes; the network's name is stored
            with its state_dict.
        optimizer, scheduler: their state (momentum and the like) goes with it.
        progress: how far the run has come; see `resume.Progress`.
        settings: plain values to keep with it.
        classes: class names, in the order of the logits.
        data: fingerprint of the pictures trained on.

    Raises:
        StorageError: the file can't be written, for example because the disk is full.
    """
    path, model = Path(path), unwrapped(model)
    checkpoint = {
        "format": FORMAT,
        "version": VERSION,
        "network": type(model).__name__,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict() if optimizer else None,
        "scheduler": scheduler.state_dict() if scheduler else None,
        "progress": asdict(progress or Progress()),
        "random": random_state(),
        "settings": dict(settings or {}),
        "classes": list(classes) if classes else None,
        "data": data,
    }
    serialized = io.BytesIO()  # all that torch.save to a file says of a full disk is "unexpected pos"
    torch.save(checkpoint, serialized)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, serialized.getbuffer())
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{path} can't be written ({reason}); what was saved before is intact.") from None
    return path


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside torch.compile's and DistributedDataParallel's wrappers; its weights are the same."""
    while inner := getattr(model, "_orig_mod", getattr(model, "module", None)):
        model = inner
    return model


def read_checkpoint(path: Path | str) -> dict:
    """Read a checkpoint of this package, on the CPU, without running any code from the file.

    Raises:
        NotFoundError: no such file.
        InputError: not a checkpoint, damaged, or from a newer version; the message says what to do.
    """
    content, _ = read_tensors(path)
    return check_checkpoint(content, path)


def check_checkpoint(content: dict, path: Path | str) -> dict:
    """Return a file's content if it is a checkpoint of this package; raises as `read_checkpoint` does."""
    if content.get("format") != FORMAT:
        raise InputError(f"{path} holds no checkpoint of this course but {describe(content)}.")
    version, classes, progress = (content.get(key) for key in ("version", "classes", "progress"))
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{path} has format version {version}, but this package reads up to {VERSION}: update it.")
    if not (
        {"network", "settings", "classes", "progress", "optimizer", "random"} <= content.keys()
        and isinstance(version, int)
        and is_state_dict(content.get("model"))
        and isinstance(content["network"], str)
        and are_settings(content["settings"])
        and isinstance(progress, dict)
        and all(type(progress.get(name)) is int for name in ("epoch", "step", "batch"))
        and (classes is None or (isinstance(classes, list) and all(isinstance(name, str) for name in classes)))
    ):
        raise DamagedError(f"{path} is damaged; {OTHERS}")
    return content


def are_settings(stored: object) -> bool:
    """Whether it is a dict whose entries have the types of `Settings`' fields."""
    types = {field.name: type(field.default) for field in fields(Settings)} | {"lr": float | int | None}
    return isinstance(stored, dict) and all(
        isinstance(stored[name], types[name]) for name in types.keys() & stored.keys()
    )


def newest_checkpoint(run_dir: Path | str) -> tuple[dict | None, list[str]]:
    """Read the undamaged checkpoint that is furthest into the run.

    Returns:
        The checkpoint, or None if the run was killed before its first; and why newer ones were passed over.

    Raises:
        InputError: all of the run's checkpoints are damaged.
    """
    sound, passed_over = [], []
    for path in checkpoints(Path(run_dir)):
        if path.name == BEST and sound:  # a run killed after saving this one and before its epoch's repeats the epoch
            break
        try:
            sound.append(read_checkpoint(path))
        except InputError as error:
            passed_over.append(str(error))
        else:
            if path.name != INTERRUPTED:  # it may be older than the newest epoch's
                break
    if passed_over and not sound:
        raise InputError(
            f"{short_path(run_dir)} holds no sound checkpoint; begin anew with --overwrite: {passed_over[0]}"
        )
    return max(sound, key=lambda checkpoint: checkpoint["progress"]["step"], default=None), passed_over


def read_tensors(path: Path | str) -> Opened:
    """Read a file of tensors and plain values, or a whole `Tudui`; if damaged, the error names sound ones beside it."""
    path = Path(path)
    if path == Path(PHOTOGRAPHS.stem) and not path.is_file():
        path = PHOTOGRAPHS
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a checkpoint in it, for example {path / 'tudui_9.pth'}.")
    if not path.is_file():
        raise NotFoundError(f"{path} doesn't exist; a run's checkpoints are named tudui_0.pth, tudui_1.pth ...")
    try:
        return open_file(path)
    except PermissionError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from None
    except DamagedError as error:
        sound = (other.name for other in checkpoints(path.parent) if other != path and is_sound(other))
        sound = ", ".join(itertools.islice(sound, 3))
        raise DamagedError(f"{error} Sound ones beside it: {sound}." if sound else str(error)) from None


def is_sound(path: Path) -> bool:
    """Whether a file is a complete checkpoint."""
    try:
        return bool(check_checkpoint(open_file(path).content, path))
    except (CourseError, OSError):
        return False


def load_model(path: Path | str, device: torch.device | str = "cpu") -> tuple[nn.Module, dict]:
    """Build the network that a checkpoint, or an older file with one of the course's networks, belongs to.

    Args:
        path: a checkpoint of this package, or a file made with `torch.save(model.state_dict(), path)` or, as the
            lesson does, with `torch.save(model, path)`; it may have been saved on another device. "photographs" is the
            network for photographs that comes with the package.
        device: where to put the model.

    Returns:
        The model in eval mode, and what else the checkpoint held (settings, classes, progress ...); under "said" what
        was made of another file, a sentence each.

    Raises:
        NotFoundError, InputError: as for `read_checkpoint`, or the weights belong to another network.
    """
    content, said = read_tensors(path)
    if content.get("format") == FORMAT:
        content = {**check_checkpoint(content, path), "said": []}
    else:
        network, weights, more = recognise(content, Path(path))
        content = {"network": network, "model": weights, "settings": {}, "classes": None, "said": said + more}
    if content["network"] not in MODELS:
        raise InputError(
            f"{path} belongs to the network {content['network']!r}; this package knows {', '.join(MODELS)}."
        )
    count = class_count(content["model"], content["network"], Path(path))
    if content["classes"] and len(content["classes"]) != count:
        raise InputError(f"{path} names {len(content['classes']):,} classes for a network of {count:,}.")
    model = MODELS[content["network"]](count)
    load_weights(model, content["model"], path)
    return model.to(device).eval(), content


def convert(old: Path | str, new: Path | str, *, overwrite: bool = False) -> tuple[nn.Module, list[str]]:
    """Convert an older file, a whole model or a bare state_dict, to a checkpoint of this package.

    Nothing in the old file is run. Missing folders are made; `new` is replaced only with `overwrite`.

    Returns:
        The model, and what was made of the old file, a sentence each.

    Raises:
        NotFoundError, InputError: as for `load_model`, `new` exists or can't be written.
    """
    new = Path(new)
    if new.is_dir():
        raise InputError(f"{new} is a folder; give the name of a file, for example {new / 'tudui.pth'}.")
    if new.exists() and not overwrite:
        raise InputError(f"{new} exists: give another name, or replace it with --overwrite.")
    model, content = load_model(old)
    if "format" in content:
        raise InputError(f"{old} is a checkpoint of this course already: there is nothing to convert.")
    save_checkpoint(new, model)
    return model, content["said"]


def load_weights(model: nn.Module, state_dict: dict, path: Path | str) -> None:
    """model.load_state_dict, with a one-sentence error for a mismatch."""
    try:
        model.load_state_dict(state_dict)
    except RuntimeError as error:
        first = printable(str(error).splitlines()[1].strip(), 200).rstrip(".")
        raise InputError(f"{path} holds the weights of another network than {type(model).__name__}: {first}.") from None


def restore(checkpoint: dict, model: nn.Module, optimizer: Optimizer, scheduler=None, path: Path | str = "checkpoint"):
    """Restore model, optimizer, scheduler and all random generators as they were when the checkpoint was saved.

    The model must already be on its device: the optimizer's state follows its parameters there.

    Returns:
        The `Progress` to pass to `fit`.

    Raises:
        InputError: it holds only weights, another network's weights, or state that can't be restored.
    """
    if checkpoint["optimizer"] is None:
        raise InputError(f"{path} holds weights alone, without what it takes to go on training; start another run.")
    load_weights(unwrapped(model), checkpoint["model"], path)
    try:
        optimizer.load_state_dict(checkpoint["optimizer"])
        if scheduler is not None:
            scheduler.load_state_dict(checkpoint["scheduler"])
        set_random_state(checkpoint["random"])
        return Progress.from_dict(checkpoint["progress"])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise DamagedError(f"{path} holds a state that can't be put back ({printable(error)}); {OTHERS}") from error


def random_state() -> dict:
    """The state of torch's, numpy's and python's generators as tensors and plain values."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, numbers, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "accelerator": accelerator_state(),
        "numpy": {"keys": keys.tolist(), "position": position, "has_gauss": has_gauss, "gauss": gauss},
        "python": {"version": version, "numbers": list(numbers), "gauss_next": gauss_next},
    }


def accelerator_state() -> dict:
    """The kind of this machine's accelerator ("cuda", "mps" ...; "" for none) and a generator's state for each."""
    if not torch.accelerator.is_available():
        return {"kind": "", "states": []}
    kind = torch.accelerator.current_accelerator().type
    module, count = torch.get_device_module(kind), torch.accelerator.device_count()
    states = [module.get_rng_state(index) for index in range(count)] if count > 1 else [module.get_rng_state()]
    return {"kind": kind, "states": states}


def set_random_state(state: dict) -> None:
    """Restore what `random_state` returned; warns if an accelerator's state can't be restored on this machine."""
    torch.set_rng_state(state["torch"])
    numpy, python = state["numpy"], state["python"]
    keys = np.array(numpy["keys"], dtype=np.uint32)
    if not 0 <= numpy["position"] <= len(keys):  # numpy doesn't check it
        raise ValueError(f"position {numpy['position']} of {len(keys)}")
    np.random.set_state(("MT19937", keys, numpy["position"], numpy["has_gauss"], numpy["gauss"]))
    random.setstate((python["version"], tuple(python["numbers"]), python["gauss_next"]))
    # Format version 1 had only CUDA.
    stored = state.get("accelerator", {"kind": "cuda" if state.get("cuda") else "", "states": state.get("cuda", [])})
    here = accelerator_state()
    if stored["kind"] == here["kind"] and len(stored["states"]) == len(here["states"]):
        module = torch.get_device_module(here["kind"]) if here["kind"] else None
        for index, one in enumerate(stored["states"]):
            module.set_rng_state(one, index) if len(here["states"]) > 1 else module.set_rng_state(one)
    elif stored["kind"]:
        warnings.warn(
            f"the random state of {len(stored['states'])} {stored['kind']} device(s) can't be put back here: "
            "training goes on, but not to the bit as it would have there (Dropout draws other numbers).",
            CourseWarning,
            stacklevel=2,
        )
