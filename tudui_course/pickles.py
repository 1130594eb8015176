"""Pickles of torch's files, gone through without running them.

A pickle is a program for a small stack machine that may call any function it can name, build keys that take for ever to
hash and ask for any amount of memory; torch.load(weights_only=True) stops the first, not the rest. Here every call is
left out: a name stays a name, a call becomes a note of what would have been called.
"""

import io
import pickletools
import re
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import BinaryIO

import torch

DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool,
}  # fmt: skip
STORAGE = re.compile(r"torch\.(?:cuda\.)?(\w+)Storage")
CALLS = re.compile(r"torch\._utils\.(_rebuild_tensor_v2|_rebuild_parameter)|torch\.(Size|device)|_codecs\.encode")
OLD_FORMAT = [0x1950A86A20F9469CFC6C, 1001]  # how files begin that are no zip archives: magic number and version
ReadStorage = Callable[[str, int], bytes]  # the storage of this key, which has to hold so many bytes


class Name(str):
    """A function or class that a pickle names, for example "torch.nn.modules.conv.Conv2d". It is never looked up."""


class Call:
    """A call that a pickle asks for; it is never made. `state` is what the object would have been given then.

    Attributes:
        is_object: whether it is an object of the class `name`, made without calling it.
        built: whether the object would have been given a state.
    """

    def __init__(self, name: Name, args: tuple, is_object: bool = False) -> None:
        if not isinstance(name, Name) or type(args) is not tuple:
            raise ValueError("a pickle calls what is no name")
        self.name, self.args, self.is_object = name, args, is_object
        self.built, self.state = False, {}


class Notes:
    """Goes through pickles, calling nothing, and notes all names, calls and storages that they ask for."""

    def __init__(self) -> None:
        self.names, self.calls, self.storages = [], [], {}

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
                self.call(*self.last(2), is_object=opcode == "NEWOBJ")
            case "NEWOBJ_EX":
                name, args, _ = self.last(3)
                self.call(name, args)
            case "OBJ":
                name, *args = self.marked()
                self.call(name, tuple(args))
            case "BUILD":
                (state,) = self.last(1)
                if isinstance(stack[-1], Call):
                    stack[-1].built = True
                    stack[-1].state = state if type(state) is dict else {}
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
            module, name = self.last(2)
            if not type(module) is type(name) is str:  # the text of nested tuples can take for ever
                raise ValueError("a name is no text")
        else:  # GLOBAL and INST, where pickletools puts a space between the two
            module, name = value.split(" ", 1)
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))  # from python 2's
        value = f"{module}.{name}".removeprefix("builtins.")
        self.names.append(value)
        self.stack.append(Name(value))
        if opcode == "INST":
            self.call(self.stack.pop(), tuple(self.marked()))

    def call(self, name: object, args: object, is_object: bool = False) -> None:
        """Push a note of a call; an OrderedDict is pushed as a dict, so that items can be put into it."""
        if name == "collections.OrderedDict" and args == ():
            self.stack.append({})
            return
        call = Call(name, args, is_object)
        self.calls.append(call)
        self.stack.append(call)

    def persistent(self, saved: tuple) -> None:
        """Push what torch keeps outside of the pickle: a storage, or, in the old format, a class with its source."""
        if saved[0] == "module":
            self.stack.append(saved[1])
            return
        kind, storage_type, key, _location, count = saved[:5]
        if kind != "storage" or saved[5:] not in ((), (None,)) or type(key) is not str or type(count) is not int:
            raise ValueError("torch puts only storages outside of a pickle")
        self.storages[key] = (key, storage_type, count)
        self.stack.append(Call(Name("storage"), self.storages[key]))

    def refuse_calls(self) -> None:
        """Raise ValueError unless all calls put a tensor or a plain value together, which takes torch no time."""
        for call in self.calls:
            if call.built or call.is_object or not CALLS.fullmatch(call.name):
                raise ValueError(f"a call of {call.name}")


def pairs(items: list) -> dict:
    """A dict of alternating keys and values; keys that are no texts are refused, hashing them could take for ever."""
    keys = items[::2]
    if not all(type(key) in (str, int) for key in keys):
        raise ValueError("a key is neither a text nor a number")
    return dict(zip(keys, items[1::2], strict=True))


def unpack_zip(file: BinaryIO, notes: Notes) -> tuple[object, ReadStorage]:
    """Unpack torch's format: a zip archive with NAME/data.pkl and NAME/data/KEY for each storage; extracts nothing.

    Its directory may not claim more than the file has, and each record must have the checksum that it was written
    with: torch looks at neither, and would load changed bytes as other weights.
    """
    archive = zipfile.ZipFile(file)
    records = {info.filename: info for info in archive.infolist()}
    if any(name.startswith("/") or ".." in name or info.compress_type for name, info in records.items()):
        raise ValueError("torch neither compresses nor writes such names")
    if len(records) < len(archive.infolist()) or sum(info.file_size for info in records.values()) > file.seek(0, 2):
        raise ValueError("records twice, or larger than the file")
    if archive.testzip():
        raise ValueError("a record has another checksum")
    (pickled,) = [name for name in records if name.endswith("/data.pkl") and name.count("/") == 1]
    top = pickled.removesuffix("data.pkl")

    def read_storage(key: str, size: int) -> bytes:
        record = records[f"{top}data/{key}"]
        if record.file_size != size:
            raise ValueError("a storage has another size")
        return archive.read(record)

    if f"{top}byteorder" in records and archive.read(f"{top}byteorder") != b"little":
        raise ValueError("written on a big-endian machine")
    return notes.read(io.BytesIO(archive.read(pickled))), read_storage


def unpack_old(file: BinaryIO, notes: Notes) -> tuple[object, ReadStorage]:
    """Unpack the format before torch 1.6: five pickles (the fourth is the model), then the storages one by one."""
    if [notes.read(file), notes.read(file)] != OLD_FORMAT or not notes.read(file)["little_endian"]:
        raise ValueError("not the old format")
    model, keys = notes.read(file), notes.read(file)
    contents = {}
    for key in keys:
        _, storage_type, count = notes.storages[key]
        if struct.unpack("<q", file.read(8)) != (count,):
            raise ValueError("a storage has another size")
        size = count * dtype_of(storage_type).itemsize
        contents[key] = file.read(size)
        if len(contents[key]) != size:
            raise ValueError("a storage is cut off")
    return model, lambda key, size: contents[key]


def dtype_of(storage_type: str) -> torch.dtype:
    """The dtype of a storage by the name of its class, "torch.FloatStorage" for example."""
    return DTYPES[STORAGE.fullmatch(storage_type)[1]]
