"""What torch.save(model) left: read where it is the lesson's network, refused where it asks for anything else."""

import copyreg
import functools
import importlib
import importlib.machinery
import io
import operator
import os
import pickle
import pickletools
import random
import runpy
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import types
import webbrowser
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tudui_course import cli, pickles
from tudui_course.checkpoint import convert, load_model, read_checkpoint, restore, save_checkpoint
from tudui_course.errors import DamagedError
from tudui_course.foreign import open_file
from tudui_course.model import Tudui, TuduiNorm
from tudui_course.pickles import OLD_FORMAT

pytestmark = pytest.mark.filterwarnings(
    "ignore:Couldn.t retrieve source code:UserWarning",
    "ignore:.*load_module",
)
NETWORK = """
from torch import nn
class Tudui(nn.Module):
    def __init__(self):
        super(Tudui, self).__init__()
        self.ATTRIBUTE = nn.Sequential(
            nn.Conv2d(3,32,5,1,2), nn.MaxPool2d(2), nn.Conv2d(32,32,5,1,2), nn.MaxPool2d(2),
            nn.Conv2d(32,64,5,1,2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64*4*4,64), nn.Linear(64,10))
    def forward(self, x):
        return self.ATTRIBUTE(x)
"""
# What the lesson's scripts do, for each place of the class, attribute, file format, device and content.
SCRIPT = """
import sys, types, warnings
import torch
warnings.simplefilter("ignore")
model = sys.modules["model"] = types.ModuleType("model")
cpu_tag = torch.serialization.location_tag
for place in ("__main__", "model"):
    for attribute in ("model1", "model"):
        exec(NETWORK.replace("ATTRIBUTE", attribute), vars(sys.modules[place]))
        tudui = sys.modules[place].Tudui()
        for form in ("zip", "old"):
            for device in ("cpu", "cuda:0"):
                torch.serialization.location_tag = lambda storage: device
                name = "-".join((place, attribute, form, device))
                torch.save(tudui, name + ".pth", _use_new_zipfile_serialization=form == "zip")
                torch.save(tudui.state_dict(), name + "-state.pth", _use_new_zipfile_serialization=form == "zip")
                torch.serialization.location_tag = cpu_tag
                torch.save(tudui(torch.ones(2, 3, 32, 32) / 2), name + ".logits")
"""
MADE = [
    f"{place}-{attribute}-{form}-{device}{content}"
    for place in ("__main__", "model")
    for attribute in ("model1", "model")
    for form in ("zip", "old")
    for device in ("cpu", "cuda:0")
    for content in ("", "-state")
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of files that scripts like the lesson's have made, in a process that knows nothing of this package."""
    folder = tmp_path_factory.mktemp("made")
    subprocess.run(
        [sys.executable, "-c", f"NETWORK = {NETWORK!r}\n{SCRIPT}"], cwd=folder, check=True, env={**os.environ}
    )
    return folder


@pytest.fixture
def lesson(monkeypatch):
    """The class `model.Tudui`, as if the lesson's model.py lay here."""
    module = types.ModuleType("model")
    exec(NETWORK.replace("ATTRIBUTE", "model1"), vars(module))
    monkeypatch.setitem(sys.modules, "model", module)
    return module.Tudui


@pytest.fixture
def tudui(monkeypatch, capsys):
    """Run the command line in this process; gives exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tudui", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


# ---------------------------------------------------------------- what is the lesson's is read, and gives equal logits


@pytest.mark.parametrize("name", MADE)
def test_a_file_of_the_lesson_gives_the_very_logits_it_gave_there(made, tmp_path, name):
    if "cuda" in name:
        assert b"cuda:0" in (made / f"{name}.pth").read_bytes()
    logits = torch.load(made / f"{name.removesuffix('-state')}.logits", weights_only=True)
    images = torch.ones(2, 3, 32, 32) / 2
    model, content = load_model(made / f"{name}.pth")
    assert type(model) is Tudui and not model.training and content["classes"] is None
    assert torch.equal(model(images), logits)

    assert type(convert(made / f"{name}.pth", tmp_path / "new" / "tudui.pth")[0]) is Tudui
    assert read_checkpoint(tmp_path / "new" / "tudui.pth")["network"] == "Tudui"
    model, content = load_model(tmp_path / "new" / "tudui.pth")
    assert torch.equal(model(images), logits)


def test_files_of_torch_1_8_lack_what_later_versions_added(lesson, tmp_path):
    old = {"training", "_parameters", "_buffers", "_non_persistent_buffers_set", "_backward_hooks", "_modules"}
    old |= {"_is_full_backward_hook", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks"}
    old |= {"_load_state_dict_pre_hooks"}
    model = lesson()
    logits = model(torch.ones(1, 3, 32, 32))
    for module in model.modules():
        for key in [key for key in vars(module) if key.startswith("_") and key not in old]:
            if key != "_reversed_padding_repeated_twice":
                del vars(module)[key]
    torch.save(model, tmp_path / "old.pth")
    assert torch.equal(load_model(tmp_path / "old.pth")[0](torch.ones(1, 3, 32, 32)), logits)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", ["zip", "old"])
def test_any_pickle_protocol_that_torch_writes_is_read(lesson, tmp_path, protocol, form):
    model = lesson()
    torch.save(model, tmp_path / "m.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
    weights = load_model(tmp_path / "m.pth")[0].state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("change", ["half", "bfloat16", "double", "channels_last", "shared storage", "a plain note"])
def test_variants_of_the_same_network_are_read(lesson, tmp_path, change):
    model = lesson()
    if change == "channels_last":
        model.to(memory_format=torch.channels_last)
    elif change == "shared storage":
        flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        for parameter in model.parameters():
            parameter.data, flat = flat[: parameter.numel()].view(parameter.shape), flat[parameter.numel() :]
    elif change == "a plain note":
        model.note = "my first network"
    else:
        getattr(model, change)()
    torch.save(model, tmp_path / "m.pth")
    weights = open_file(tmp_path / "m.pth").content
    assert all(torch.equal(weights[name], value.float()) for name, value in model.state_dict().items())
    assert all(value.dtype == torch.float32 for value in weights.values())


plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(min_size=1)
)
dtypes = st.sampled_from([torch.float32, torch.float16, torch.int64, torch.uint8, torch.bool, torch.complex64])
tensors = st.builds(
    lambda shape, dtype: torch.arange(24).to(dtype).as_strided(shape, [2, 1, 3][: len(shape)], 1),
    st.lists(st.integers(0, 3), max_size=3), dtypes,
)  # fmt: skip
leaves = plain | tensors | dtypes | st.just(torch.Size([2, 3])) | st.just(torch.device("cuda:1"))
contents = st.recursive(
    leaves, lambda c: st.lists(c) | st.tuples(c, c) | st.dictionaries(st.text() | st.integers(-9, 9), c), max_leaves=9
)


def same(one, other):
    """Whether two values are of the same types, tensors of the same numbers in the same order."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.stride() == other.stride() and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(st.dictionaries(st.text(), contents), st.booleans())
def test_what_is_read_is_what_torch_would_have_read(tmp_path_factory, content, form):
    path = tmp_path_factory.getbasetemp() / "any.pth"
    torch.save(content, path, _use_new_zipfile_serialization=form)
    assert same(open_file(path).content, torch.load(path, weights_only=True))


def test_reading_draws_no_random_number_and_changes_no_list_of_allowed_classes(lesson, tmp_path):
    torch.save(lesson(), tmp_path / "m.pth")
    before, allowed = torch.get_rng_state(), torch.serialization.get_safe_globals()
    open_file(tmp_path / "m.pth")
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.serialization.get_safe_globals() == allowed


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_says_what_it_converted_and_replaces_nothing_unasked(tudui, made, tmp_path):
    old, new = made / "model-model-old-cuda:0.pth", tmp_path / "a" / "b" / "new.pth"
    code, output, errors = tudui("convert", old, new)
    assert (code, errors) == (0, "")
    assert "understood  the weights of a whole model, model.Tudui, were taken; its code was not run, its" in output
    assert "145,578 parameters" in output and "optimizer" in output
    before = new.read_bytes()
    code, output, errors = tudui("convert", old, new)
    assert (code, output) == (2, "") and "exists: give another name" in errors and new.read_bytes() == before
    assert tudui("convert", old, new, "--overwrite")[0] == 0
    assert [path.name for path in new.parent.iterdir()] == ["new.pth"]


def test_what_can_not_be_converted_is_told_in_a_sentence(tudui, made, tmp_path):
    save_checkpoint(tmp_path / "ours.pth", Tudui())
    (tmp_path / "file").touch()
    old = made / "__main__-model1-zip-cpu.pth"
    for arguments, sentence in [
        ((tmp_path / "ours.pth", tmp_path / "new.pth"), "a checkpoint of this course already"),
        ((tmp_path / "nowhere.pth", tmp_path / "new.pth"), "doesn't exist"),
        ((tmp_path, tmp_path / "new.pth"), "is a folder"),
        ((old, tmp_path), "is a folder"),
        ((old, tmp_path / "file" / "new.pth"), "can't be written"),
    ]:
        code, output, errors = tudui("convert", *arguments)
        assert (code, output) == (2, "") and sentence in errors.splitlines()[-1], errors
    assert not (tmp_path / "new.pth").exists()


def test_no_run_is_resumed_from_a_converted_file(made, tmp_path):
    convert(made / "__main__-model1-zip-cpu.pth", tmp_path / "new.pth")
    model = Tudui()
    with pytest.raises(ValueError, match="weights alone"):
        restore(read_checkpoint(tmp_path / "new.pth"), model, torch.optim.SGD(model.parameters()))


# ------------------------------------------------------------------------------------------------ other networks


def other_padding(model):
    model.model1[0].padding = (0, 0)


def other_channels(model):
    model.model1[0] = nn.Conv2d(3, 64, 3)


def no_bias(model):
    model.model1[7] = nn.Linear(1024, 64, bias=False)


def fewer_layers(model):
    del model.model1[8]


def another_part(model):
    model.more = nn.Linear(2, 2)


def layers_swapped(model):
    model.model1[5], model.model1[6] = model.model1[6], model.model1[5]


def a_buffer(model):
    model.register_buffer("mean", torch.zeros(3))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_padding, r"layer 0 has 'padding' \(0, 0\), not \(2, 2\)"),
        (no_bias, r"the bias of layer 7 is missing"),
        (fewer_layers, r"layer 8 is missing, a Linear\(64, 10\)"),
        (another_part, r"after its last layer it holds a Linear\(2, 2\)"),
        (layers_swapped, r"layer 5 is a Flatten\(\), not a MaxPool2d\(2\)"),
        (other_channels, r"layer 0 is a Conv2d\(3, 64, 3\), not a Conv2d\(3, 32, 5\)"),
        (a_buffer, r"the network has the buffers \['mean'\]"),
    ],
)
@pytest.mark.parametrize("form", ["zip", "old"])
def test_another_network_is_told_by_where_it_differs(lesson, tmp_path, change, sentence, form):
    model = lesson()
    change(model)
    torch.save(model, tmp_path / "m.pth", _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match="another network than Tudui: .*" + sentence):
        load_model(tmp_path / "m.pth")


def test_a_whole_model_with_other_layers_is_told_by_their_names(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "m.pth")
    with pytest.raises(ValueError, match=r"another network than Tudui: layer 0 is a Linear\(2, 2\)"):
        load_model(tmp_path / "m.pth")
    torch.save(TuduiNorm(), tmp_path / "m.pth")
    with pytest.raises(ValueError, match=r"not opened: it asks for torch.nn.modules.batchnorm.BatchNorm2d, .*ReLU"):
        load_model(tmp_path / "m.pth")


# ------------------------------------------------------------------------------------------------ malicious files


class Reduce:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduction = function, arguments

    def __reduce__(self):
        return self.reduction

    def __call__(self):
        """Only so that pickle takes it for a function."""


def touch(canary):
    return f"touch '{canary}'"


def code(canary):
    return f"open({str(canary)!r}, 'w').close()"


def script(canary):
    """A Python file beside the canary that leaves it when it is run."""
    path = canary.with_name("hubconf.py")
    path.write_text(f"{code(canary)}\ndef tudui(): pass\n")
    return os.fspath(path)


def evil_file(canary):
    path = canary.with_name("nested.pth")
    torch.save(Reduce(os.system, touch(canary)), path)
    return os.fspath(path)


def text(string):
    return b"X" + struct.pack("<I", len(string.encode())) + string.encode()


def system_module():
    return Reduce(importlib.import_module, "os")


def stack_global_by_memo(canary):
    """Protocol 4, the two parts of the name taken from the memo, which scanners that look for texts miss."""
    name = text("system") + b"\x94" + text("posix") + b"\x94" + b"h\x01h\x00\x93"
    return b"\x80\x04" + name + text(touch(canary)) + b"\x85R."


def object_array(canary):
    array = np.empty(1, dtype=object)
    array[0] = Reduce(os.system, touch(canary))
    return array


def setstate_in_the_instance(canary):
    """A first state puts `__setstate__` into the object, and a second state has it called."""
    first = b"}" + text("__setstate__") + b"cposix\nsystem\nsb"
    return b"\x80\x02cmodel\nTudui\n)\x81" + first + text(touch(canary)) + b"b."


# Name: (what is pickled, what the refusal names). All of these leave the canary when they are unpickled.
RUNNING = {
    "os.system": (lambda c: Reduce(os.system, touch(c)), "posix.system"),
    "posix.system in protocol 0": (lambda c: f"cposix\nsystem\n(S{touch(c)!r}\ntR.".encode(), "posix.system"),
    "posix.system by INST": (lambda c: f"(S{touch(c)!r}\niposix\nsystem\n.".encode(), "posix.system"),
    "posix.system by OBJ": (lambda c: f"(cposix\nsystem\nS{touch(c)!r}\no.".encode(), "posix.system"),
    "posix.system by STACK_GLOBAL": (stack_global_by_memo, "posix.system"),
    "copyreg extension": (lambda c: b"\x80\x02\x82\xf0" + text(touch(c)) + b"\x85R.", "copyreg.extension 240"),
    "subprocess.Popen": (lambda c: Reduce(subprocess.Popen, ["touch", os.fspath(c)]), "subprocess.Popen"),
    "subprocess.run": (lambda c: Reduce(subprocess.run, ["touch", os.fspath(c)]), "subprocess.run"),
    "eval": (lambda c: Reduce(eval, code(c)), "asks for eval,"),
    "exec": (lambda c: Reduce(exec, code(c)), "asks for exec,"),
    "builtins.__import__": (
        lambda c: Reduce(Reduce(getattr, Reduce(__import__, "os"), "system"), touch(c)),
        "__import__",
    ),
    "getattr chain": (
        lambda c: Reduce(
            Reduce(getattr, Reduce(getattr, Reduce(getattr, system_module(), "path"), "os"), "system"), touch(c)
        ),
        "getattr",
    ),
    "nested reduce": (lambda c: Reduce(list, Reduce(map, exec, [code(c)])), "list, map, exec"),
    "OrderedDict of a call": (lambda c: Reduce(OrderedDict, Reduce(zip, Reduce(map, exec, [code(c)]), "x")), "zip"),
    "torch.load inside": (
        lambda c: Reduce(functools.partial(torch.load, weights_only=False), evil_file(c)),
        "torch.serialization.load",
    ),
    "torch.hub": (
        lambda c: Reduce(torch.hub._load_local, os.path.dirname(script(c)), "tudui"),
        "torch.hub._load_local",
    ),
    "numpy array of objects": (object_array, "_reconstruct"),
    "pickle.loads inside": (
        lambda c: Reduce(pickle.loads, pickle.dumps(Reduce(os.system, touch(c)), 0)),
        "pickle.loads",
    ),
    "webbrowser": (
        lambda c: Reduce(operator.methodcaller("open", os.fspath(c)), Reduce(webbrowser.get, "touch %s")),
        "webbrowser.get",
    ),
    "importlib": (
        lambda c: Reduce(
            operator.methodcaller("load_module"), Reduce(importlib.machinery.SourceFileLoader, "evil", script(c))
        ),
        "SourceFileLoader",
    ),
    "runpy": (lambda c: Reduce(runpy.run_path, script(c)), "runpy.run_path"),
    "operator.attrgetter": (
        lambda c: Reduce(Reduce(operator.attrgetter("system"), system_module()), touch(c)),
        "operator.attrgetter",
    ),
    "functools.partial": (lambda c: Reduce(functools.partial(os.system, touch(c))), "functools.partial"),
    "copyreg._reconstructor": (
        lambda c: Reduce(copyreg._reconstructor, Reduce(eval, f"[object, {code(c)}][0]"), object, None),
        "copyreg._reconstructor",
    ),
    "overwritten __setstate__": (setstate_in_the_instance, "posix.system"),
}


def pickled(payload):
    return payload if isinstance(payload, bytes) else pickle.dumps(payload, 2)


def write(path, payload, container):
    """Put a pickle into a file as torch would; in the zip archive with a storage of one float."""
    if container == "raw":
        path.write_bytes(payload)
    elif container == "old":
        head = [*OLD_FORMAT, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + payload + pickle.dumps([], 2))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in (
                ("data.pkl", payload),
                ("byteorder", b"little"),
                ("version", b"3\n"),
                ("data/0", bytes(4)),
            ):
                archive.writestr(f"archive/{name}", content)


def convert_to_new(path):
    return convert(path, path.with_name("new.pth"))


def assert_refused(path, read, named=""):
    """One sentence, a ValueError, no new file."""
    with pytest.raises(ValueError, match=path.name) as raised:
        read(path)
    sentence = str(raised.value)
    assert named in sentence and sentence.isprintable() and len(sentence) < 700
    assert raised.value.__cause__ is None and not path.with_name("new.pth").exists()


@pytest.fixture
def canary(tmp_path, lesson):
    (tmp_path / "place").mkdir()
    return tmp_path / "place" / "canary"


@pytest.mark.parametrize("name", RUNNING)
def test_this_would_run_if_it_were_unpickled(name, canary):
    payload = pickled(RUNNING[name][0](canary))
    copyreg.add_extension("posix", "system", 240)
    try:
        pickle.loads(payload)
    except Exception as error:  # some stumble once they have run
        print(error)
    finally:
        copyreg.remove_extension("posix", "system", 240)
    end = time.monotonic() + 5
    while not canary.exists() and time.monotonic() < end:  # Popen doesn't wait
        time.sleep(0.01)
    assert canary.exists()


@pytest.mark.parametrize(
    ("container", "read"),
    [
        ("zip", load_model), ("zip", convert_to_new), ("old", load_model), ("old", convert_to_new), ("raw", load_model)
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", RUNNING)
def test_refused_by_name_and_not_run(name, container, read, canary):
    make, named = RUNNING[name]
    path = canary.with_name("evil.pth")
    write(path, pickled(make(canary)), container)
    assert_refused(path, read, named)
    assert not canary.exists()


@pytest.mark.parametrize("name", RUNNING)
def test_the_command_line_says_so_in_one_line(name, canary, tudui):
    path = canary.with_name("evil.pth")
    write(path, pickled(RUNNING[name][0](canary)), "zip")
    status, output, errors = tudui("convert", path, path.with_name("new.pth"))
    assert (status, output) == (2, "") and errors.count("\n") == 1 and RUNNING[name][1] in errors, errors
    assert not canary.exists()


# A whole Tudui with all its weights, and something in it that would run once the model is used.
def hooked(model, canary):
    model._forward_hooks[0] = functools.partial(os.system, touch(canary))


def hooked_layer(model, canary):
    model.model1[3]._forward_pre_hooks[0] = functools.partial(os.system, touch(canary))


def other_forward(model, canary):
    model.forward = functools.partial(os.system, touch(canary))


def other_class(model, canary):
    model.__dict__["__class__"] = functools.partial(os.system, touch(canary))


def evil_weight(model, canary):
    model.model1[0].__dict__["_parameters"]["weight"] = Reduce(os.system, touch(canary))


def known_hook(model, canary):
    model._forward_hooks[0] = OrderedDict


def known_forward(model, canary):
    model.forward = nn.Linear


def known_class(model, canary):
    model.__dict__["__class__"] = nn.Linear


def known_setstate(model, canary):
    model.model1[0].__dict__["__setstate__"] = nn.Conv2d


def known_call_in_a_weight(model, canary):
    model.model1[0].__dict__["_parameters"]["weight"] = Reduce(nn.Conv2d, 10**9, 10**9, 10**9)


INSIDE = {
    hooked: "functools.partial",
    hooked_layer: "functools.partial",
    other_forward: "functools.partial",
    other_class: "functools.partial",
    evil_weight: "posix.system",
    known_hook: "the network has '_forward_hooks'",
    known_forward: "the network has 'forward'",
    known_class: "the network has '__class__'",
    known_setstate: "layer 0 has '__setstate__'",
    known_call_in_a_weight: "damaged",
}


@pytest.mark.parametrize("read", [load_model, convert_to_new])
@pytest.mark.parametrize("form", ["zip", "old"])
@pytest.mark.parametrize("change", INSIDE, ids=lambda change: change.__name__)
def test_a_whole_model_with_more_in_it_is_refused(change, form, read, lesson, canary):
    model, path = lesson(), canary.with_name("evil.pth")
    change(model, canary)
    torch.save(model, path, _use_new_zipfile_serialization=form == "zip")
    assert_refused(path, read, INSIDE[change])
    assert not canary.exists()


# Pickles that name nothing but what the lesson's files name, with arguments that theirs never have.
def tensor(*arguments):
    return Reduce(torch._utils._rebuild_tensor_v2, *arguments)


CROOKED = {
    "Conv2d of a billion channels": lambda: Reduce(nn.Conv2d, 10**9, 10**9, 5),
    "Linear of a billion features": lambda: [Reduce(nn.Linear, 10**9, 10**9)],
    "a tensor of texts": lambda: tensor("storage", "0", ("a",), ("b",), False, OrderedDict()),
    "a tensor without arguments": lambda: tensor(),
    "Sequential of itself": lambda: Reduce(nn.Sequential, nn.Sequential, nn.Sequential),
    "a state for a class": lambda: b"\x80\x02cmodel\nTudui\nN}" + text("forward") + b"cmodel\nTudui\ns\x86b.",
    "a state of slots": lambda: (
        b"\x80\x02cmodel\nTudui\n)\x81N}" + text("__class__") + b"ctorch.nn.modules.linear\nLinear\ns\x86b."
    ),
    "an empty Tudui": lambda: b"\x80\x02cmodel\nTudui\n)\x81.",
    "the class alone": lambda: b"\x80\x02cmodel\nTudui\n.",
    "parts that contain themselves": lambda: (
        b"\x80\x02cmodel\nTudui\n)\x81q\x00}" + text("_modules") + b"}" + text("model1") + b"h\x00ssb."
    ),
    "a text called": lambda: b"\x80\x02" + text("os.system") + text("true") + b"\x85R.",
    "a number called": lambda: b"\x80\x02K\x01)R.",
    "memo of four billion": lambda: b"\x80\x02]r\xff\xff\xff\xff.",
    "memo that was never put": lambda: b"\x80\x02h\x07.",
    "memo number of a thousand digits": lambda: b"]p" + b"9" * 1000 + b"\n.",
    "20,000 nested lists": lambda: b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "20,000 nested tuples": lambda: b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "an empty stack": lambda: b"\x80\x02.",
    "a text that is too long": lambda: b"\x80\x02X\xff\xff\xff\x7fabc.",
    "bytes of an exabyte": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "an unknown opcode": lambda: b"\x80\x02\xff.",
    "no end": lambda: b"\x80\x02]",
    "nothing": lambda: b"",
    "a storage out of band": lambda: b"\x80\x05\x97.",
    "a persistent text": lambda: b"P../../../etc/passwd\n.",
    "a storage elsewhere": lambda: (
        b"\x80\x02("
        + text("storage")
        + b"ctorch\nFloatStorage\n"
        + text("../../etc/passwd")
        + text("cpu")
        + b"K\x05tQ."
    ),
    "a storage of nowhere": lambda: b"\x80\x02(" + text("storage") + b"ctorch\nFloatStorage\nNNNtQ.",
    "bytearray of a terabyte": lambda: Reduce(bytearray, 2**40),
}


@pytest.mark.parametrize("read", [load_model, convert_to_new])
@pytest.mark.parametrize("container", ["zip", "old"])
@pytest.mark.parametrize("name", CROOKED)
def test_known_names_with_other_arguments_are_refused(name, container, read, lesson, tmp_path):
    path, forward = tmp_path / "crooked.pth", lesson.forward
    write(path, pickled(CROOKED[name]()), container)
    assert_refused(path, read)
    assert lesson.forward is forward


# ------------------------------------------------------------------------------------------ whatever it was called

LAYERS = """
        self.conv1 = nn.Conv2d(3, 32, 5, 1, 2)
        self.maxpool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 32, 5, padding=2)
        self.maxpool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 64, 5, padding=2)
        self.maxpool3 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(1024, 64)
        self.linear2 = nn.Linear(64, 10)
    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x
"""
ONE_BY_ONE = (
    "from torch import nn\nclass CLASS(nn.Module):\n    def __init__(self):\n        super().__init__()" + LAYERS
)


def made_by(monkeypatch, folder, source, module, name):
    """An object of a class of that name in a module of that name, as learners have them."""
    for old in ("CLASS", "Tudui"):
        source = source.replace(old, name)
    for part in (module.split(".")[0], module):
        monkeypatch.delitem(sys.modules, part, raising=False)
    if module == "__main__":
        monkeypatch.setitem(sys.modules, module, place := types.ModuleType(module))
        exec(source, vars(place))
    else:
        path = folder / "source" / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(parents=True)
        path.write_text(source, encoding="utf-8")
        monkeypatch.syspath_prepend(folder / "source")
        place = importlib.import_module(module)
    return getattr(place, name)()


@pytest.mark.parametrize(
    ("module", "name", "attribute"),
    [
        ("__main__", "Net", "model"), ("model", "MyModel", "module1"), ("model.model", "Tudui", "seq"),
        ("train", "Tudui", "one by one"), ("__main__", "Wang", "one by one"),
    ],
)  # fmt: skip
def test_the_structure_decides_not_the_names(monkeypatch, tmp_path, module, name, attribute):
    source = ONE_BY_ONE if attribute == "one by one" else NETWORK.replace("ATTRIBUTE", attribute)
    model = made_by(monkeypatch, tmp_path, source, module, name)
    images = torch.rand(2, 3, 32, 32)
    for form in (True, False):
        torch.save(model, tmp_path / "m.pth", _use_new_zipfile_serialization=form)
        loaded, content = load_model(tmp_path / "m.pth")
        told = f"a whole model, {module}.{name}, were taken; its code was not run, its forward() not looked at"
        assert content["said"][0].endswith(told)
        assert torch.equal(loaded(images), model(images))
    torch.save(model.state_dict(), tmp_path / "s.pth")
    loaded, _ = load_model(tmp_path / "s.pth")
    assert torch.equal(loaded(images), model(images))


def prefixed(state_dict, *prefixes):
    return {"".join(prefixes) + name: value for name, value in state_dict.items()}


WRAPPED = {
    "torch.compile": (lambda w: prefixed(w, "_orig_mod."), "the prefix '_orig_mod.' was taken off"),
    "DataParallel": (lambda w: prefixed(w, "module."), "the prefix 'module.' was taken off"),
    "both": (lambda w: prefixed(w, "module.", "_orig_mod."), "the prefix 'module.'"),
    "net, acc, epoch": (lambda w: {"net": w, "acc": 91.5, "epoch": 7}, "found under 'net', beside acc, epoch"),
    "model_state_dict": (
        lambda w: {"epoch": 1, "model_state_dict": w, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        "found under 'model_state_dict', beside epoch, optimizer_state_dict",
    ),
    "state_dict": (lambda w: {"state_dict": prefixed(w, "module.")}, "found under 'state_dict'"),
}


@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_wrapped_is_unwrapped_and_said(tmp_path, network, name):
    wrap, said = WRAPPED[name]
    model = network(5).eval()
    torch.save(wrap(model.state_dict()), tmp_path / "w.pth")
    loaded, content = load_model(tmp_path / "w.pth")
    assert any(said in sentence for sentence in content["said"])
    images = torch.rand(2, 3, 32, 32)
    assert type(loaded) is network and torch.equal(loaded(images), model(images))


def with_numbers(numbers, *prefixes):
    """Tudui's weights, layer by layer under these numbers and prefixes."""
    old = [name.rpartition(".") for name in Tudui().state_dict()]
    layers = list(dict.fromkeys(layer for layer, _, _ in old))
    new = dict(
        zip(layers, [f"{prefix}{number}" for prefix, number in zip(prefixes, numbers, strict=True)], strict=True)
    )
    return {
        f"{new[layer]}.{kind}": value
        for (layer, _, kind), value in zip(old, Tudui().state_dict().values(), strict=True)
    }


def test_numbers_that_leave_room_for_a_relu_are_no_tudui(tmp_path):
    for numbers, prefixes, told in [
        ((0, 3, 6, 10, 12), [""] * 5, "from 0.bias to 3.weight it is 3 layers, not 2"),
        ((0, 2, 4, 1, 3), ["f."] * 3 + ["c."] * 2, "from c.1.bias to c.3.weight it is 2 layers, not 1"),
    ]:
        torch.save(with_numbers(numbers, *prefixes), tmp_path / "w.pth")
        with pytest.raises(ValueError, match=f"another network than Tudui: {told}"):
            load_model(tmp_path / "w.pth")
    for numbers, prefixes in [((3, 5, 7, 1, 2), ["f."] * 3 + ["c."] * 2), ((1, 2, 3, 1, 2), ["conv"] * 3 + ["fc"] * 2)]:
        torch.save(with_numbers(numbers, *prefixes), tmp_path / "w.pth")
        (said,) = load_model(tmp_path / "w.pth")[1]["said"]
        assert "the same order and shapes; layers without any, a ReLU for example, can't be seen" in said


def test_the_order_of_names_that_are_the_courses_means_nothing(tmp_path):
    model = Tudui(5)
    torch.save(dict(sorted(model.state_dict().items())), tmp_path / "w.pth")
    assert same(dict(load_model(tmp_path / "w.pth")[0].state_dict()), dict(model.state_dict()))


def test_tensors_of_other_shapes_are_not_taken_for_the_lessons(tmp_path):
    weights = list(Tudui().state_dict().items())
    weights[2], weights[4] = weights[4], weights[2]
    torch.save({f"layer{index}": value for index, (_, value) in enumerate(weights)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="another network than Tudui"):
        load_model(tmp_path / "w.pth")


@pytest.mark.parametrize("classes", [None, ["bird", "cat", "ship"]])
def test_the_last_layer_says_how_many_classes_there_are(tmp_path, classes):
    for model in (Tudui(3), TuduiNorm(3)):
        loaded, _ = load_model(save_checkpoint(tmp_path / "c.pth", model, classes=classes))
        assert loaded(torch.rand(1, 3, 32, 32)).shape == (1, 3)


def test_names_that_do_not_fit_the_last_layer_are_counted(tmp_path):
    save_checkpoint(tmp_path / "c.pth", Tudui(3), classes=[str(number) for number in range(100_000)])
    with pytest.raises(ValueError, match="names 100,000 classes for a network of 3"):
        load_model(tmp_path / "c.pth")
    torch.save({**Tudui().state_dict(), "model1.8.bias": torch.zeros(1_000_000)}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match="a network of 1,000,000 classes; this course's have 1 to 10,000"):
        load_model(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
            "is a Git LFS pointer.*lfs pull",
        ),
        (b"\n\n<!DOCTYPE html>\n<html lang='en'>", "is a web page.*download the file itself"),
        (b"<html>", "is a web page"),
        (b"", r"is empty \(0 bytes\); use another one"),
    ],
)
def test_what_is_no_such_file_at_all_is_told_as_what_it_is(tmp_path, content, told):
    (tmp_path / "m.pth").write_bytes(content)
    for read in (load_model, read_checkpoint):
        with pytest.raises(ValueError, match=rf"m\.pth {told}"):
            read(tmp_path / "m.pth")


# ------------------------------------------------------------------------------- what takes for ever, or all memory


def opcodes(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


def doubled(times):
    return b")" + b"2\x86" * times  # DUP, TUPLE2


LONG = b"\x8b" + struct.pack("<i", 8_000_000) + b"\x7f" * 8_000_000  # two of them are multiplied for minutes


def floats(size, stride):
    """A tensor of a storage of one float."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01tQ"
    shape = b"(" + b"".join(size) + b"t(" + b"".join(stride) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + shape + b"\x89ccollections\nOrderedDict\n)RtR"


def sequential(number, parts=b"}"):
    """A Sequential that holds the one before it twice; kept in the memo under its number."""
    parameters = parts
    parts = b"".join(text(name) + b"j" + struct.pack("<I", number - 1) for name in "ab") if number else b""
    state = (
        b"}(" + text("_parameters") + parameters + text("_buffers") + b"}" + text("_modules") + b"}(" + parts + b"uu"
    )
    return b"ctorch.nn.modules.container\nSequential\n)\x81" + state + b"br" + struct.pack("<I", number) + b"0"


BOMBS = {
    "a tuple doubled as a key": opcodes(b"}", doubled(64), b"Ns"),
    "an OrderedDict of such a key": opcodes(b"ccollections\nOrderedDict\n]", doubled(64), b"N\x86a\x85R"),
    "a set of such": opcodes(b"cbuiltins\nset\n]", doubled(64), b"a\x85R"),
    "a storage of such a key": opcodes(
        b"(", text("storage"), b"ctorch\nFloatStorage\n", doubled(64), text("cpu"), b"K\x05tQ"
    ),
    "a name of such": b"\x80\x04" + doubled(64) + b"\x8c\x01x\x93.",
    "bytearray of 8 GB": pickle.dumps(Reduce(bytearray, 8 << 30), 2),
    "a Counter": opcodes(b"ccollections\nCounter\n]", doubled(64), b"a\x85R"),
    "a long of 100,000 digits": opcodes(b"\x8b", struct.pack("<i", 50_000), b"\x7f" * 50_000),
    "half a million nested tuples": opcodes(b")", b"\x85" * 500_000),
    "a doubled tuple as a value": opcodes(b"}", text("settings"), doubled(64), b"s"),
    "keys of one hash": opcodes(
        b"}(", *[b"\x8a\x0a" + ((2**61 - 1) * k).to_bytes(10, "little") + b"N" for k in range(1, 60_000)], b"u"
    ),
    "a long name again and again": b"\x80\x04" + text("a" * 1_000_000) + b"\x94" + b"h\x00h\x00\x930" * 20_000 + b"N.",
    "bytes again and again": opcodes(
        text("a" * 1_000_000), b"q\x000](", *[b"c_codecs\nencode\nh\x00", text("latin1"), b"\x86R"] * 20_000, b"e"
    ),
    "a shape of long numbers": opcodes(b"}", text("a"), floats((LONG,), (LONG,)), b"s"),
    "a stride of texts": opcodes(b"}", text("a"), floats((b"M\xff\1",), (text("a" * 1_000_000),)), b"s"),
    "parts that are a list of such keys": opcodes(sequential(0, parts=b"]" + doubled(64) + b"a"), b"j\0\0\0\0"),
    "a Sequential doubled": opcodes(*[sequential(number) for number in range(64)], b"K\x3f0j\x3f\0\0\0"),
}


@pytest.mark.parametrize("container", ["zip", "old"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(tmp_path, name, container):
    path = tmp_path / "bomb.pth"
    write(path, BOMBS[name], container)
    started = time.monotonic()
    assert_refused(path, load_model)
    assert time.monotonic() - started < 20  # the doubled tuples would take centuries


@pytest.mark.parametrize("name", ["a stride of texts", "a long name again and again", "bytes again and again"])
def test_a_bomb_takes_no_memory(tmp_path, name):
    write(tmp_path / "bomb.pth", BOMBS[name], "zip")
    tracemalloc.start()
    assert_refused(tmp_path / "bomb.pth", load_model)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_a_bomb_behind_the_model_is_refused_at_once(tmp_path):
    """In the old format, as the list of the storages' names."""
    torch.save({"a": 1}, tmp_path / "bomb.pth", _use_new_zipfile_serialization=False)
    raw = (tmp_path / "bomb.pth").read_bytes().removesuffix(pickle.dumps([], 2))
    (tmp_path / "bomb.pth").write_bytes(raw + opcodes(b"]", doubled(64), b"a"))
    assert_refused(tmp_path / "bomb.pth", load_model, "damaged")


def test_a_file_takes_only_so_many_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_STEPS", 100_000)
    write(tmp_path / "bomb.pth", opcodes(b"}", b"N0" * 40_000), "zip")
    assert open_file(tmp_path / "bomb.pth").content == {}
    write(tmp_path / "bomb.pth", opcodes(b"}", b"N0" * 60_000), "zip")
    assert_refused(tmp_path / "bomb.pth", load_model, "damaged")
    torch.save({"a": [list(range(50_000))] * 3}, tmp_path / "bomb.pth")  # in the file once
    assert_refused(tmp_path / "bomb.pth", load_model, "damaged")


def test_an_archive_has_only_so_many_records(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MOST_RECORDS", 20)
    torch.save(Tudui().state_dict(), tmp_path / "m.pth")
    load_model(tmp_path / "m.pth")
    rezip(tmp_path / "m.pth", lambda records: records.update({f"archive/{number}": b"" for number in range(20)}))
    assert_refused(tmp_path / "m.pth", load_model, "damaged")


def without_its_numbers(path):
    """The old format: torch would hand out whatever lies in the memory as the weights."""
    torch.save(Tudui().state_dict(), path, _use_new_zipfile_serialization=False)
    file = io.BytesIO(path.read_bytes())
    for _ in range(4):
        list(pickletools.genops(file))
    path.write_bytes(file.getvalue()[: file.tell()] + pickle.dumps([], 2))


def beyond_its_numbers(path):
    """A shape that takes more numbers than there are."""
    torch.save(Tudui().state_dict(), path, _use_new_zipfile_serialization=False)
    raw = path.read_bytes()
    size = raw.index(b"K\x0aK\x40\x86")  # (10, 64), the shape of the last weight
    path.write_bytes(raw[: size + 1] + b"\x63" + raw[size + 2 :])


def test_no_weights_come_from_outside_of_the_file(tmp_path):
    beyond_its_numbers(tmp_path / "m.pth")
    assert_refused(tmp_path / "m.pth", load_model, "damaged")
    without_its_numbers(tmp_path / "m.pth")
    assert torch.load(tmp_path / "m.pth", weights_only=True)["model1.8.weight"].shape == (10, 64)  # torch does
    assert_refused(tmp_path / "m.pth", load_model, "damaged")


def test_a_sign_beside_the_numbers_is_not_overlooked(tmp_path):
    torch.save({**Tudui().state_dict(), "model1.8.bias": torch._neg_view(torch.ones(10))}, tmp_path / "m.pth")
    assert torch.load(tmp_path / "m.pth", weights_only=True)["model1.8.bias"][0] == -1
    assert_refused(tmp_path / "m.pth", load_model, "damaged")


def claim_terabytes(path):
    raw = bytearray(path.read_bytes())
    start = raw.rindex(b"PK\x01\x02")  # of the last record in the directory
    raw[start + 20 : start + 28] = b"\xfe\xff\xff\xff" * 2
    path.write_bytes(raw)


def record_twice(path):
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(next(name for name in archive.namelist() if name.endswith("data/0")), bytes(9600))


@pytest.mark.parametrize("change", [claim_terabytes, record_twice], ids=lambda change: change.__name__)
def test_a_zip_directory_that_lies_is_refused(tmp_path, change):
    torch.save(Tudui().state_dict(), tmp_path / "m.pth")
    change(tmp_path / "m.pth")
    assert_refused(tmp_path / "m.pth", load_model, "damaged")


# ---------------------------------------------------------------------------------------------- damaged bytes


def flipped(raw, position, bit):
    changed = bytearray(raw)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("version", [1, 2])
def test_no_flipped_bit_changes_a_value_unnoticed(tmp_path, version):
    """torch.load alone takes nearly all of them for other weights: its zip reader checks no checksum."""
    model = Tudui(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = save_checkpoint(tmp_path / "c.pth", model, optimizer)
    if version == 1:
        torch.save({**torch.load(path, weights_only=True), "version": 1}, path)
    raw, expected = path.read_bytes(), pickle.dumps(read_checkpoint(path))
    rng, silent = random.Random(version), 0
    for _ in range(60):
        path.write_bytes(flipped(raw, rng.randrange(len(raw)), rng.randrange(8)))
        try:
            assert pickle.dumps(read_checkpoint(path)) == expected
        except ValueError as error:
            assert "damaged" in str(error)
            try:
                torch.load(path, weights_only=True)
                silent += 1
            except Exception:
                pass
    assert silent > 30  # so there was something to notice


def test_a_damaged_checkpoint_is_told_with_the_sound_ones_beside_it(tmp_path):
    for epoch in range(7):
        save_checkpoint(tmp_path / f"tudui_{epoch}.pth", Tudui())
    for epoch in (4, 6):
        raw = (tmp_path / f"tudui_{epoch}.pth").read_bytes()
        (tmp_path / f"tudui_{epoch}.pth").write_bytes(flipped(raw, len(raw) // 2, 3))
    with pytest.raises(
        DamagedError, match=r"tudui_6.pth is damaged .*\. Sound .* it: tudui_5.pth, tudui_3.pth, tudui_2.pth\.$"
    ):
        load_model(tmp_path / "tudui_6.pth")


# Whole models of the lesson whose zip archive or storages have been tampered with.
def rezip(path, change, **options):
    with zipfile.ZipFile(path) as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    change(records)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in records.items():
            archive.writestr(name, content)


def data_of(records, name):
    (found,) = [full for full in records if full.endswith(name)]
    return found


TAMPERED = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    "first half": lambda path: path.write_bytes(path.read_bytes()[:300_000]),
    "one bit": lambda path: path.write_bytes(path.read_bytes()[:200_000] + b"\0" * 8 + path.read_bytes()[200_008:]),
    "record outside": lambda path: rezip(path, lambda records: records.update({"../../evil.py": b"x"})),
    "absolute record": lambda path: rezip(path, lambda records: records.update({"/tmp/evil.py": b"x"})),
    "compressed": lambda path: rezip(path, lambda records: None, compression=zipfile.ZIP_DEFLATED),
    "two pickles": lambda path: rezip(path, lambda records: records.update({"b/data.pkl": b"\x80\x02N."})),
    "no pickle": lambda path: rezip(path, lambda records: records.pop(data_of(records, "data.pkl"))),
    "storage gone": lambda path: rezip(path, lambda records: records.pop(data_of(records, "data/3"))),
    "storage long": lambda path: rezip(
        path, lambda records: records.update({data_of(records, "data/3"): bytes(10**6)})
    ),
    "storage short": lambda path: rezip(path, lambda records: records.update({data_of(records, "data/3"): b"abcd"})),
    "big-endian": lambda path: rezip(path, lambda records: records.update({data_of(records, "byteorder"): b"big"})),
    "TorchScript": lambda path: rezip(
        path, lambda records: records.update({data_of(records, "data.pkl"): b"", "constants.pkl": b""})
    ),
}


@pytest.mark.parametrize("content", ["whole", "weights"])
@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_archive_is_refused(name, content, lesson, tmp_path):
    path = tmp_path / "m.pth"
    torch.save(lesson() if content == "whole" else lesson().state_dict(), path)
    TAMPERED[name](path)
    assert_refused(path, convert_to_new)
    assert {entry.name for entry in tmp_path.iterdir()} == {"m.pth"} and not os.path.exists("/tmp/evil.py")


@pytest.mark.parametrize("read", [load_model, convert_to_new])
@pytest.mark.parametrize("size", [300, 1_000, 3_000, 300_000])
def test_the_older_format_cut_off_is_refused(size, read, lesson, tmp_path):
    torch.save(lesson(), tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "m.pth").write_bytes((tmp_path / "m.pth").read_bytes()[:size])
    assert_refused(tmp_path / "m.pth", read)


@pytest.mark.parametrize("read", [load_model, convert_to_new])
def test_the_oldest_format_a_tar_is_refused(read, canary):
    path = canary.with_name("evil.pth")
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            canary.with_name(name).write_bytes(pickled(Reduce(os.system, touch(canary))))
            archive.add(canary.with_name(name), name)
    assert_refused(path, read)
    assert not canary.exists()


@pytest.mark.parametrize("read", [load_model, convert_to_new])
def test_a_name_can_not_write_to_the_terminal(read, tmp_path):
    write(tmp_path / "evil.pth", b"\x80\x02cos\x1b[2J\nsystem\x07" + b"x" * 500 + b"\n)R.", "zip")
    assert_refused(tmp_path / "evil.pth", read, "os?[2J.system?xxx")
    torch.save({**Tudui().state_dict(), "\x1b[2J" + "x" * 5000: torch.ones(1)}, tmp_path / "evil.pth")
    assert_refused(tmp_path / "evil.pth", read, 'Unexpected key(s) in state_dict: "?[2Jxxx')


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"limit": "many"}}, {"progress": None}, {"progress": {}},
        {"version": "2"}, {"version": None}, {"network": ["Tudui"]}, {"model": None}, {"model": {"model1.0.weight": 5}},
        {"model": {}}, {"settings": None}, {"classes": 10}, {"classes": [1, 2]},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_with_other_things_in_its_places_is_refused(change, tmp_path):
    save_checkpoint(tmp_path / "c.pth", Tudui())
    torch.save({**torch.load(tmp_path / "c.pth", weights_only=True), **change}, tmp_path / "c.pth")
    assert_refused(tmp_path / "c.pth", load_model)


@pytest.mark.parametrize("key", ["network", "settings", "classes", "progress", "optimizer", "random", "model"])
def test_a_checkpoint_that_lacks_something_is_refused(key, tmp_path):
    save_checkpoint(tmp_path / "c.pth", Tudui())
    content = torch.load(tmp_path / "c.pth", weights_only=True)
    torch.save({name: value for name, value in content.items() if name != key}, tmp_path / "c.pth")
    assert_refused(tmp_path / "c.pth", load_model, "damaged")
