"""Files from elsewhere: checked before torch opens them, and searched for one of the course's networks."""

import io
import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tudui_course.errors import DamagedError, InputError
from tudui_course.model import MODELS, MOST_CLASSES
from tudui_course.pickles import STORAGE, Call, Notes, content_of, unpack_old, unpack_zip
from tudui_course.whole_model import OtherNetworkError, printable, weights_of

TENSORS = re.compile(
    r"torch\._utils\.(_rebuild_tensor_v2|_rebuild_parameter)|collections\.OrderedDict|torch\.(Size|device)|_codecs\.encode"
    rf"|torch\.((float|int|uint|bfloat|complex)\d+|bool)|{STORAGE.pattern}"
)
NETWORK = re.compile(
    r"set|torch\.nn\.modules\.(container\.Sequential|conv\.Conv2d|pooling\.MaxPool2d|flatten\.Flatten|linear\.Linear)"
)
WRAPPERS = ("model_state_dict", "state_dict", "model_state", "model", "net", "network", "weights")
MOST_BYTES = 1 << 28  # of a file; a checkpoint of this course has about one million
OTHERS = "use another one, for example an earlier epoch's."


class Opened(NamedTuple):
    """A file that was read without running anything in it."""

    content: dict  # of tensors and plain values, as passed to torch.save; for a whole model, its state_dict
    said: list[str]  # how it was interpreted, a sentence each


def open_file(path: Path) -> Opened:
    """Read a file that torch.save wrote, from any source, in bounded time and memory and without running its code.

    It holds a dict of tensors and plain values, or a whole `Tudui` as torch.save(model) left it on whatever device, by
    torch 1.8 or newer; its class, its modules and its attributes may have any name.

    Raises:
        InputError: it needs anything else, or holds another network or something that isn't a dict.
        DamagedError: it is damaged, or not such a file at all.
    """
    if path.stat().st_size > MOST_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size:,} bytes; a checkpoint of this course has about one million."
        )
    raw = path.read_bytes()
    if known := what_else(raw):
        raise DamagedError(f"{path} {known}")
    failure = DamagedError(f"{path} is damaged or no checkpoint at all; {OTHERS}")
    notes, model, weights = Notes(), None, {}
    try:
        unpack = unpack_zip if raw[:4] == b"PK\x03\x04" else unpack_old
        model, read_storage = unpack(io.BytesIO(raw), notes)
        if isinstance(model, Call) and model.is_object:
            weights = weights_of(model, read_storage)
        elif not foreign(notes, model):
            content = content_of(model, read_storage, notes.steps.spent)
            if isinstance(content, dict):
                return Opened(content, [])
            failure = InputError(f"{path} holds {describe(content)}, not a checkpoint.")
    except OtherNetworkError as error:
        failure = InputError(f"{path} holds another network than Tudui: {error}.")
    except Exception:  # a file can be broken in any way; whatever the error, it can't be read
        pass
    if asked := foreign(notes, model):
        raise InputError(
            f"{path} was not opened: it asks for {asked}, and opening it would run code from the file. "
            "Have its author save model.state_dict() instead of the whole model."
        )
    if not weights:
        raise failure
    said = f"the weights of a whole model, {printable(model.name)}, were taken; its code was not run"
    return Opened(weights, [said + ", its forward() not looked at"])


def what_else(raw: bytes) -> str:
    """Say what a file not written by torch.save is, and what to do; "" if unknown."""
    start = raw[:200].lstrip().lower()
    if not raw:
        return f"is empty (0 bytes); {OTHERS}"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself: get it with `git lfs pull`, or download it from its page."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page saved under this name: download the file itself (on GitHub: the button Raw or Download)."
    return ""


def foreign(notes: "Notes", model: object) -> str:
    """The first five names that neither a file of tensors nor the lesson's network needs, safe to print."""
    whole = isinstance(model, Call) and model.is_object
    allowed = {model.name} if whole else set()
    needed = re.compile(f"{TENSORS.pattern}|{NETWORK.pattern}") if whole else TENSORS
    found = [name for name in notes.names if name not in allowed and not needed.fullmatch(name)]
    return ", ".join(map(printable, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def describe(content: object) -> str:
    """A short name for what a file held."""
    if is_state_dict(content):
        return f"a bare state_dict of {len(content)} tensors"
    if isinstance(content, dict):
        return f"a dict with the keys {', '.join(printable(key) for key in list(content)[:5]) or '(none)'}"
    return f"a {type(content).__name__}"


def is_state_dict(content: object) -> bool:
    """Whether it is a dict of named tensors only."""
    if not isinstance(content, dict) or not content:
        return False
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())


def recognise(content: dict, path: Path) -> tuple[str, dict[str, Tensor], list[str]]:
    """Find one of the course's networks in a state_dict, or in a dict with one, by the order and shapes of its tensors.

    Returns:
        The network's name, its state_dict under its own names, and one sentence for each layer of wrapping removed.

    Raises:
        InputError: there is none.
    """
    said = []
    for key in WRAPPERS:
        if is_state_dict(content.get(key)):
            beside = ", ".join(printable(other) for other in list(content)[:6] if other != key)
            said.append(f"the weights were found under {key!r}" + (f", beside {beside}" if beside else ""))
            content = content[key]
            break
    if not is_state_dict(content):
        raise InputError(f"{path} holds {describe(content)}, neither a checkpoint of this course nor a state_dict.")
    for prefix in ("_orig_mod.", "module.") * 2:  # torch.compile's, DataParallel's
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
            said.append(f"the prefix {prefix!r} was taken off the names")
    network = "TuduiNorm" if any("running_mean" in name for name in content) else "Tudui"
    classes = class_count(content, network, path)
    with torch.device("meta"):  # shapes only, no memory
        wanted = MODELS[network](classes).state_dict()
    if content.keys() != wanted.keys():
        renamed = dict(zip(wanted, content.values(), strict=False))
        if len(content) == len(wanted) and all(renamed[name].shape == wanted[name].shape for name in wanted):
            refuse_gaps(list(content), list(wanted), f"{path} holds another network than {network}")
            said.append(
                f"its tensors have other names than {network}'s, but the same order and shapes; layers without any, "
                "a ReLU for example, can't be seen in them"
            )
            content = renamed
    return network, content, said


def refuse_gaps(found: list[str], wanted: list[str], message: str) -> None:
    """Raise InputError if the numbers in a state_dict's names leave room for layers the course's network lacks.

    Between "features.0.weight" and "features.3.weight" lie two layers without tensors, so not just a MaxPool2d.
    """

    def place(name: str) -> tuple[str, int]:
        *above, number, _ = ["", *name.split(".")]
        return ".".join(above), int(number) if re.fullmatch(r"[0-9]{1,4}", number) else -1

    for one, two, first, second in zip(found, found[1:], wanted, wanted[1:], strict=False):
        (above, start), (same, end) = place(one), place(two)
        step = place(second)[1] - place(first)[1]
        if above == same and min(start, end) >= 0 and end - start != step:
            raise InputError(
                f"{message}: from {printable(one)} to {printable(two)} it is {end - start} layers, not {step}."
            )


def class_count(weights: dict[str, Tensor], network: str, path: Path) -> int:
    """How many classes a network has, by the bias of its last layer, or else by its last tensor."""
    with torch.device("meta"):
        name = list(MODELS[network]().state_dict())[-1]
    last = weights.get(name, list(weights.values())[-1])
    count = len(last) if last.dim() == 1 else 10  # if it is no bias, this is another network, which is reported later
    if not 1 <= count <= MOST_CLASSES:
        raise InputError(f"{path} holds a network of {count:,} classes; this course's have 1 to {MOST_CLASSES:,}.")
    return count
