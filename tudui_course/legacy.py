"""Whole-model files, torch.save(model), as the lesson's scripts leave them: their weights, without running anything.

A pickle is a program for a small stack machine that may call any function it can name. Here it is gone through with
every call left out: a name stays a name, a call becomes a note of what would have been called, and of the notes that
describe the lesson's network the weights are looked up in the file.
"""

import io
import pickletools
import re
import reprlib
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn

from tudui_course.model import Tudui

DTYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16}
STORAGE = re.compile(r"torch\.(?:cuda\.)?(\w+)Storage")
TENSORS = re.compile(
    rf"torch\._utils\.(_rebuild_tensor_v2|_rebuild_parameter)|collections\.OrderedDict|set|{STORAGE.pattern}"
)
NETWORK = re.compile(
    r"(\w+\.)+Tudui"
    r"|torch\.nn\.modules\.(container\.Sequential|conv\.Conv2d|pooling\.MaxPool2d|flatten\.Flatten|linear\.Linear)"
)
OLD_FORMAT = [0x1950A86A20F9469CFC6C, 1001]  # how files begin that are no zip archives: magic number and version


class OtherNetworkError(ValueError):
    """A file describes another network than `Tudui`; the message says where they differ."""


def read_whole_model(path: Path | str) -> dict[str, Tensor]:
    """Read the weights of a whole `Tudui` as torch.save(model) left it, on whatever device, by torch 1.8 or newer.

    Args:
        path: the file; its class may be `__main__.Tudui`, `model.Tudui` ..., its attribute `model1` or `model`.

    Returns:
        The state_dict as `Tudui` has it: float32, on the CPU.

    Raises:
        ValueError: the file asks for anything else, is another network, or damaged; the message says which.
    """
    names, model, weights, failure = [], None, {}, damaged(path)
    try:
        file = io.BytesIO(Path(path).read_bytes())
        unpack = unpack_zip if file.getvalue()[:4] == b"PK\x03\x04" else unpack_old
        model, read_storage = unpack(file, names)
        weights = weights_of(model, read_storage)
    except OtherNetworkError as error:
        failure = f"{path} holds another network than Tudui: {error}."
    except Exception:  # a file can be broken in any way; whatever was stumbled over, its weights can't be had
        pass
    if asked := foreign(names, model):
        raise ValueError(
            f"{path} was not opened: it asks for {asked}, and opening it would run code from the file. "
            "Have its author save model.state_dict() instead of the whole model."
        )
    if not weights:
        raise ValueError(failure)
    return weights


def damaged(path: Path | str) -> str:
    """What is said of a file that nothing can be made of."""
    return f"{path} is damaged or no checkpoint at all; use another one, for example an earlier epoch's."


def foreign(names: list[str], model: object) -> str:
    """Those names that no file of the lesson's network needs, the first five of them, fit to be printed."""
    other = model is not None and not is_tudui(model)  # of which the layers are to be named, too
    found = [name for name in names if not TENSORS.fullmatch(name) and (other or not NETWORK.fullmatch(name))]
    found = list(dict.fromkeys(found))
    return ", ".join(map(printable, found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def printable(name: str) -> str:
    """A name from a file as it can be printed: nothing that steers a terminal, and not too long."""
    return "".join(sign if sign.isprintable() else "?" for sign in name[:60])


class Name(str):
    """A function or class that a pickle names, for example "torch.nn.modules.conv.Conv2d". It is never looked up."""


class Call:
    """A call that a pickle asks for; it is never made. `state` is what the object would have been given then."""

    def __init__(self, name: Name, args: tuple) -> None:
        if not isinstance(name, Name):
            raise ValueError("a pickle calls what is no name")
        self.name, self.args, self.state = name, args, {}


class Notes:
    """Goes through pickles, calling nothing, and notes all names and all storages that they ask for."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.storages = names, {}

    def read(self, file: BinaryIO) -> object:
        """Go through one pickle; the file is left at its end."""
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, value, _ in pickletools.genops(file):
            self.step(opcode.name, value)
        return self.stack.pop()

    def step(self, opcode: str, value: object) -> None:
        """Do one of the stack machine's steps. Source: the table of opcodes in python's pickletools."""
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.marked()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[value] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[value])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}.get(opcode, set()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self.last(int(opcode[-1]))))
            case "TUPLE" | "LIST" | "DICT" | "FROZENSET":
                items = self.marked()
                stack.append({"TUPLE": tuple, "LIST": list, "FROZENSET": list}.get(opcode, pairs)(items))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = self.last(1) if opcode == "APPEND" else self.marked()
                if type(stack[-1]) is list:
                    stack[-1].extend(items)
            case "SETITEM" | "SETITEMS":
                items = pairs(self.last(2) if opcode == "SETITEM" else self.marked())
                if type(stack[-1]) is dict:
                    stack[-1].update(items)
            case "GLOBAL" | "STACK_GLOBAL" | "INST" | "EXT1" | "EXT2" | "EXT4":
                self.name(opcode, value)
            case "REDUCE" | "NEWOBJ":
                self.call(*self.last(2))
            case "NEWOBJ_EX":
                name, args, _ = self.last(3)
                self.call(name, args)
            case "OBJ":
                name, *args = self.marked()
                self.call(name, tuple(args))
            case "BUILD":
                (state,) = self.last(1)
                if isinstance(stack[-1], Call) and type(state) is dict:
                    stack[-1].state = state
            case "BINPERSID":
                self.persistent(*self.last(1))
            case _:
                if value is None or opcode == "PERSID":  # all that are left push what stands in the pickle
                    raise ValueError(f"{opcode} is not used by torch")
                stack.append(value)

    def last(self, count: int) -> list:
        """Take the last `count` things off the stack."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def marked(self) -> list:
        """Take all things after the last mark off the stack."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def name(self, opcode: str, value: object) -> None:
        """Note a name, and push it as such."""
        if opcode.startswith("EXT"):
            module, name = "copyreg", f"extension {value}"
        elif opcode == "STACK_GLOBAL":
            module, name = map(str, self.last(2))
        else:  # GLOBAL and INST, where pickletools puts a space between the two
            module, name = value.split(" ", 1)
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))  # from python 2's
        value = f"{module}.{name}".removeprefix("builtins.")
        self.names.append(value)
        self.stack.append(Name(value))
        if opcode == "INST":
            self.call(self.stack.pop(), tuple(self.marked()))

    def call(self, name: object, args: object) -> None:
        """Push a note of a call; an OrderedDict is pushed as a dict, so that items can be put into it."""
        self.stack.append({} if name == "collections.OrderedDict" and args == () else Call(name, args))

    def persistent(self, saved: tuple) -> None:
        """Push what torch keeps outside of the pickle: a storage, or, in the old format, a class with its source."""
        if saved[0] == "module":
            self.stack.append(saved[1])
            return
        kind, storage_type, key, _location, count = saved[:5]
        if kind != "storage" or saved[5:] not in ((), (None,)):
            raise ValueError("torch puts only storages outside of a pickle")
        self.storages[key] = (key, storage_type, count)
        self.stack.append(Call(Name("storage"), self.storages[key]))


def pairs(items: list) -> dict:
    """A dict of alternating keys and values; keys that are no texts are refused, hashing them could take for ever."""
    keys = items[::2]
    if not all(type(key) in (str, int) for key in keys):
        raise ValueError("a key is neither a text nor a number")
    return dict(zip(keys, items[1::2], strict=True))


ReadStorage = Callable[[str, int], bytes]  # the storage of this key, which has to hold so many bytes


def unpack_zip(file: BinaryIO, names: list[str]) -> tuple[object, ReadStorage]:
    """Unpack torch's format: a zip archive with NAME/data.pkl and NAME/data/KEY for each storage; extracts nothing."""
    archive = zipfile.ZipFile(file)
    records = {info.filename: info for info in archive.infolist()}
    if any(name.startswith("/") or ".." in name or info.compress_type for name, info in records.items()):
        raise ValueError("torch neither compresses nor writes such names")
    (pickled,) = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    top = pickled.removesuffix("data.pkl")

    def read_storage(key: str, size: int) -> bytes:
        record = records[f"{top}data/{key}"]
        if record.file_size != size:
            raise ValueError("a storage has another size")
        return archive.read(record)

    if f"{top}byteorder" in records and archive.read(f"{top}byteorder") != b"little":
        raise ValueError("written on a big-endian machine")
    return Notes(names).read(io.BytesIO(archive.read(pickled))), read_storage


def unpack_old(file: BinaryIO, names: list[str]) -> tuple[object, ReadStorage]:
    """Unpack the format before torch 1.6: five pickles (the fourth is the model), then the storages one by one."""
    notes = Notes(names)
    if [notes.read(file), notes.read(file)] != OLD_FORMAT or not notes.read(file)["little_endian"]:
        raise ValueError("not the old format")
    model, keys = notes.read(file), notes.read(file)
    contents = {}
    for key in keys:
        _, storage_type, count = notes.storages[key]
        if struct.unpack("<q", file.read(8)) != (count,):
            raise ValueError("a storage has another size")
        contents[key] = file.read(count * dtype_of(storage_type).itemsize)
    return model, lambda key, size: contents[key]


def is_tudui(model: object) -> bool:
    """Whether a pickle describes an object of a class named Tudui, wherever that class was."""
    return isinstance(model, Call) and model.name.endswith(".Tudui")


def weights_of(model: object, read_storage: ReadStorage) -> dict[str, Tensor]:
    """Compare a model's notes with `Tudui`, layer by layer, and read its weights.

    Raises:
        OtherNetworkError: a layer, a setting or a shape differs, or it carries what `Tudui` doesn't.
    """
    if not is_tudui(model):
        raise ValueError("not a whole Tudui")
    parts = model.state["_modules"]
    if set(parts) not in ({"model"}, {"model1"}):
        raise OtherNetworkError(f"its parts are {short(list(parts))}, not model1 alone")
    (sequence,) = parts.values()
    layers = sequence.state["_modules"]
    if list(layers) != [str(number) for number in range(9)]:
        raise OtherNetworkError(f"it has the layers {short(list(layers))}, not 0 to 8")
    with torch.device("meta"):  # shapes without memory
        reference = Tudui()
    compare(model, reference, "the network")
    compare(sequence, reference.model1, "its part")
    weights = {}
    for number, layer in reference.model1.named_children():
        compare(layers[number], layer, f"layer {number}")
        for name, parameter in layer.named_parameters():
            noted, where = layers[number].state["_parameters"][name], f"the {name} of layer {number}"
            weights[f"model1.{number}.{name}"] = read_tensor(noted, tuple(parameter.shape), where, read_storage)
    return weights


def compare(noted: Call, module: nn.Module, where: str) -> None:
    """Raise OtherNetworkError unless a module's notes are of its class, with its settings and with nothing beside."""
    kind, settings = f"{type(module).__module__}.{type(module).__name__}", vars(module)
    if noted.name != kind and type(module) is not Tudui:
        raise OtherNetworkError(f"{where} is a {printable(noted.name)}, not a {kind}")
    for key, value in noted.state.items():
        if key.startswith("_"):
            usual = not key.startswith("__") and not ("hook" in key and value)
        elif key == "training" or key not in settings:
            usual = value is None or type(value) in (bool, int, float, str)
        else:
            usual = value == settings[key] or (value, value) == settings[key] or value == (settings[key],) * 2
        if not usual:
            raise OtherNetworkError(f"{where} has {short(key)} {short(value)}, not {settings.get(key)}")
    for kind in ("_parameters", "_buffers") if settings["_modules"] else ("_parameters", "_buffers", "_modules"):
        if set(noted.state[kind]) != set(settings[kind]):
            raise OtherNetworkError(f"{where} has the {kind[1:]} {short(list(noted.state[kind]))}")


def short(value: object) -> str:
    """What a file holds, fit to be printed: only plain values, only so much of them."""
    return reprlib.repr(value) if isinstance(value, bool | int | float | str | tuple | list | None) else "(an object)"


def dtype_of(storage_type: str) -> torch.dtype:
    """The dtype of a storage by the name of its class, "torch.FloatStorage" for example."""
    return DTYPES[STORAGE.fullmatch(storage_type)[1]]


def read_tensor(noted: Call | None, shape: tuple, where: str, read_storage: ReadStorage) -> Tensor:
    """Look up the numbers of a tensor that torch would have made; float32, of this shape."""
    if noted is None:
        raise OtherNetworkError(f"{where} is missing")
    if noted.name == "torch._utils._rebuild_parameter":
        noted = noted.args[0]
    storage, offset, size, stride = noted.args[:4]
    if noted.name != "torch._utils._rebuild_tensor_v2" or storage.name != "storage":
        raise ValueError("not a tensor")
    if size != shape:
        raise OtherNetworkError(f"{where} has the shape {short(size)}, not {shape}")
    key, storage_type, count = storage.args
    dtype = dtype_of(storage_type)
    numbers = torch.frombuffer(bytearray(read_storage(key, count * dtype.itemsize)), dtype=dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min(offset, *stride) < 0 or last >= len(numbers):
        raise ValueError("a tensor reaches beyond its storage")
    return numbers.as_strided(size, stride, offset).float().clone()
