"""The pickles in torch's files, read without running them.

A pickle is a program for a small stack machine that may call any function it can name, build keys that take for ever to
hash and ask for any amount of memory; torch.load(weights_only=True) stops only the first. Here no call is ever made: a
name stays a name, a call becomes a note of what would have been called. Tensors are made from such notes
and the bytes beside them: torch never opens the file itself, which it might understand in another way than we do.
"""

import functools
import io
import pickletools
import re
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from typing import BinaryIO

import torch
from torch import Tensor

DTYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Byte": torch.uint8, "Char": torch.int8, "Short": torch.int16, "Int": torch.int32, "Long": torch.int64,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
DTYPE_NAMES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
PLAIN_CALLS = {"torch.Size": torch.Size, "torch.device": torch.device}
STORAGE = re.compile(r"torch\.(?:cuda\.)?(\w+)Storage")
OLD_FORMAT = [0x1950A86A20F9469CFC6C, 1001]  # how files begin that are no zip archives: magic number and version
MOST_STEPS = 5_000_000  # steps in a pickle, about ten seconds; a checkpoint of ten epochs takes about 4,000
MOST_NAMES = 10_000
LONGEST_NAME = 1_000
LONGEST_NUMBER = 128  # bits
MOST_RECORDS = 10_000
ReadStorage = Callable[[str, str, int], Tensor]  # the numbers of a storage by its key, its class's name and their count


class Name(str):
    """A function or class named in a pickle, for example "torch.nn.modules.conv.Conv2d". It is never looked up."""


class Call:
    """A call that a pickle asks for; it is never made. `state` is what the object would then have been given.

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
    """Reads pickles without calling anything, and notes all names and storages they ask for."""

    def __init__(self) -> None:
        self.names, self.storages, self.steps = {}, {}, Budget(MOST_STEPS)

    def read(self, file: BinaryIO) -> object:
        """Read one pickle; leaves the file at its end."""
        self.stack, self.marks, self.memo = [], [], {}
        for opcode, value, _ in pickletools.genops(file):
            self.steps.spend()
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
            case "BINPUT" | "LONG_BINPUT":
                self.memo[value] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[value])
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                stack.append({"EMPTY_TUPLE": (), "EMPTY_LIST": [], "EMPTY_DICT": {}}.get(opcode, frozenset()))
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
                if value is None or opcode in ("PERSID", "PUT", "GET"):  # all others push a value written in the pickle
                    raise ValueError(f"{opcode} is not used by torch")
                if type(value) is int and value.bit_length() > LONGEST_NUMBER:  # a product of two could take for ever
                    raise ValueError("a number is too long")
                stack.append(value)

    def last(self, count: int) -> list:
        """Pop the last `count` items off the stack."""
        if len(self.stack) < count:
            raise ValueError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def marked(self) -> list:
        """Pop all items above the last mark off the stack."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def name(self, opcode: str, value: object) -> None:
        """Note a name, and push it as a name."""
        if opcode.startswith("EXT"):
            module, name = "copyreg", f"extension {value}"
        elif opcode == "STACK_GLOBAL":
            module, name = self.last(2)
            if not type(module) is type(name) is str:  # the text of nested tuples can take for ever
                raise ValueError("a name is no text")
        else:  # GLOBAL and INST, where pickletools puts a space between the two
            module, name = value.split(" ", 1)
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))  # from python 2's
        if len(module) + len(name) > LONGEST_NAME or len(self.names) > MOST_NAMES:
            raise ValueError("a name is too long, or there are too many")
        value = f"{module}.{name}".removeprefix("builtins.")
        self.stack.append(self.names.setdefault(value, Name(value)))
        if opcode == "INST":
            self.call(self.stack.pop(), tuple(self.marked()))

    def call(self, name: object, args: object, is_object: bool = False) -> None:
        """Push a note of a call; but for an OrderedDict a dict to fill, and for bytes the bytes."""
        call = Call(name, args, is_object)
        if name == "collections.OrderedDict" and args == ():
            call = {}
        elif name == "_codecs.encode" and args[1:] == ("latin1",):  # how protocol 2 writes bytes
            self.steps.spend(len(args[0]))
            call = args[0].encode("latin1")
        self.stack.append(call)

    def persistent(self, saved: tuple) -> None:
        """Push what torch keeps outside the pickle: a storage, or, in the old format, a class with its source."""
        if saved[0] == "module":
            self.stack.append(saved[1])
            return
        kind, storage_type, key, _location, count = saved[:5]
        if kind != "storage" or saved[5:] not in ((), (None,)) or (type(key), type(count)) != (str, int):
            raise ValueError("torch puts only storages outside of a pickle")
        storage = (storage_type, count)
        if not isinstance(storage_type, Name) or self.storages.setdefault(key, storage) != storage:
            raise ValueError("a storage of no kind, or of two")
        self.stack.append(Call(Name("storage"), (key, *storage)))


class Budget:
    """How much of its time and memory allowance a file has used."""

    def __init__(self, most: int) -> None:
        self.most, self.spent = most, 0

    def spend(self, cost: int = 1) -> None:
        """Raise ValueError once the allowance is used up."""
        self.spent += cost
        if self.spent > self.most:
            raise ValueError("it takes too many steps")


def pairs(items: list) -> dict:
    """A dict from alternating keys and values; keys that could take for ever to hash or find are refused.

    Tuples can be nested endlessly, and large numbers chosen so that all hash alike.
    """
    keys = items[::2]
    if not all(type(key) is str or (type(key) is int and abs(key) < 2**31) for key in keys):
        raise ValueError("a key is neither a text nor a small number")
    return dict(zip(keys, items[1::2], strict=True))


def unpack_zip(file: BinaryIO, notes: Notes) -> tuple[object, ReadStorage]:
    """Unpack torch's format: a zip archive with NAME/data.pkl and NAME/data/KEY for each storage; extracts nothing.

    The archive's directory may not claim more than the file holds, and each record must match its checksum: torch
    checks neither, and would load altered bytes as different weights.
    """
    if file.read().count(b"PK\x01\x02") > MOST_RECORDS:  # each one in the directory begins with these
        raise ValueError("too many records")
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

    @functools.cache
    def read_storage(key: str, storage_type: str, count: int) -> Tensor:
        return numbers_of(archive.read(records[f"{top}data/{key}"]), storage_type, count)

    if f"{top}byteorder" in records and archive.read(f"{top}byteorder") != b"little":
        raise ValueError("written on a big-endian machine")
    return notes.read(io.BytesIO(archive.read(pickled))), read_storage


def unpack_old(file: BinaryIO, notes: Notes) -> tuple[object, ReadStorage]:
    """Unpack the format before torch 1.6: five pickles (the fourth is the model), then the storages one by one."""
    if [notes.read(file), notes.read(file)] != OLD_FORMAT or not notes.read(file)["little_endian"]:
        raise ValueError("not the old format")
    model, keys = notes.read(file), notes.read(file)
    storages = {}
    if not all(type(key) is str for key in keys):  # looking up anything else could take for ever
        raise ValueError("a storage without a name")
    for key in keys:
        storage_type, count = notes.storages[key]
        if struct.unpack("<q", file.read(8)) != (count,):
            raise ValueError("a storage has another size")
        storages[key] = numbers_of(file.read(count * dtype_of(storage_type).itemsize), storage_type, count)
    return model, lambda key, storage_type, count: storages[key]


def numbers_of(content: bytes, storage_type: str, count: int) -> Tensor:
    """The numbers in a storage, (count,); raises ValueError unless these are all of its bytes."""
    dtype = dtype_of(storage_type)
    if len(content) != count * dtype.itemsize:
        raise ValueError("a storage has another size")
    return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)


def dtype_of(storage_type: str) -> torch.dtype:
    """The dtype of a storage by the name of its class, "torch.FloatStorage" for example."""
    return DTYPES[STORAGE.fullmatch(storage_type)[1]]


def tensor_of(noted: Call, read_storage: ReadStorage) -> Tensor:
    """The tensor that torch would have made, on the CPU; it shares its storage's memory.

    Raises:
        ValueError: it isn't a tensor, or reaches beyond its storage, which torch would make larger with whatever lies
            in the memory.
    """
    if noted.name == "torch._utils._rebuild_parameter":
        noted = noted.args[0]
    storage, offset, size, stride, _requires_grad, _hooks = noted.args  # a seventh would change what the numbers mean
    if noted.name != "torch._utils._rebuild_tensor_v2" or storage.name != "storage":
        raise ValueError("not a tensor")
    if not all(type(number) is int for number in (offset, *size, *stride)):  # number * string is a longer string
        raise ValueError("a shape of anything but numbers")
    numbers = read_storage(*storage.args)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= len(numbers)):
        raise ValueError("a tensor reaches beyond its storage")
    return numbers.as_strided(size, stride, offset)


def content_of(noted: object, read_storage: ReadStorage, spent: int) -> object:
    """Turn the notes into what torch.load would have returned: plain values, and tensors on the CPU.

    What the pickle uses in several places is built afresh for each, and each is counted: doubled again and again, it
    would take for ever to print or compare.

    Reading the pickle took `spent` steps; building its content may take ten times as many.

    Raises:
        ValueError: it holds anything else, or too much.
    """
    steps = Budget(min(1_000 + 10 * spent, MOST_STEPS))

    def make(value: object) -> object:
        steps.spend()
        if type(value) is dict:
            return {key: make(item) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(map(make, value))
        if type(value) in (type(None), bool, int, float, str, bytes):
            return value
        if isinstance(value, Name):
            return DTYPE_NAMES[value]
        if not isinstance(value, Call) or value.is_object or value.built:
            raise ValueError("neither a plain value nor a tensor")
        if value.name in PLAIN_CALLS:
            return PLAIN_CALLS[value.name](*map(make, value.args))
        steps.spend(100)
        return tensor_of(value, read_storage)

    return make(noted)
