import math
import os
import pickle
import pickletools
import random
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tudui_course import run
from tudui_course.checkpoint import (
    load_model,
    random_state,
    read_checkpoint,
    restore,
    save_checkpoint,
    set_random_state,
)
from tudui_course.errors import CourseWarning, DamagedError
from tudui_course.metrics import EpochResult
from tudui_course.model import Tudui, TuduiNorm
from tudui_course.resume import EpochRecord, Progress
from tudui_course.settings import Settings


@pytest.fixture
def saved(tmp_path):
    """A checkpoint with everything in it, and what went into it."""
    torch.manual_seed(0)
    model = Tudui(3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10)
    model(torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    scheduler.step()
    result = EpochResult(1.5, 2.5, 3, 4, 5)
    progress = Progress(1, 7, 2, result, torch.Generator().get_state(), [EpochRecord(0, 5, result, result)])
    progress.points = [("train_loss", 2.25, 5), ("test_loss", 2.5, 0)]
    path = save_checkpoint(
        tmp_path / "run" / "tudui_0.pth", model, optimizer, progress,
        scheduler=scheduler, settings=asdict(Settings()), classes=["bird", "cat", "ship"],
    )  # fmt: skip
    return path, model, optimizer, scheduler, progress


def leaves(value):
    """All that a nested value is made of, keys included."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (*leaves(key), *leaves(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def test_a_checkpoint_holds_only_tensors_and_plain_values(saved):
    content = torch.load(saved[0], weights_only=True)
    kinds = {type(leaf) for leaf in leaves(content)}
    assert kinds <= {torch.Tensor, str, int, float, bool, type(None)}


def test_a_checkpoint_names_no_class_beyond_torchs_own(saved):
    with zipfile.ZipFile(saved[0]) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    named = {argument for code, argument, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}
    assert named == {
        "collections OrderedDict",
        "torch ByteStorage",
        "torch FloatStorage",
        "torch._utils _rebuild_tensor_v2",
    }


def test_everything_comes_back(saved):
    path, model, optimizer, scheduler, progress = saved
    torch.manual_seed(99)
    again = Tudui(3)
    new_optimizer = torch.optim.SGD(again.parameters(), lr=7.0, momentum=0.1)
    new_scheduler = torch.optim.lr_scheduler.OneCycleLR(new_optimizer, 7.0, total_steps=10)
    restored = restore(read_checkpoint(path), again, new_optimizer, new_scheduler)
    assert torch.equal(restored.loader_state, progress.loader_state)
    restored.loader_state = progress.loader_state = None
    assert restored == progress
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert new_scheduler.state_dict() == scheduler.state_dict()
    ours, theirs = new_optimizer.state_dict(), optimizer.state_dict()
    assert ours["param_groups"] == theirs["param_groups"]
    assert len(ours["state"]) == 10
    for index, state in theirs["state"].items():
        assert torch.equal(ours["state"][index]["momentum_buffer"], state["momentum_buffer"])


def draws():
    """Numbers from all three generators; a normal one leaves another in reserve."""
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), np.random.randn(), random.random(), random.gauss(0, 1)


def test_random_generators_go_on_where_they_were(saved, tmp_path):
    np.random.randn()
    random.gauss(0, 1)
    path = save_checkpoint(tmp_path / "random.pth", saved[1], saved[2])
    expected = draws()
    assert draws() != expected
    restore(read_checkpoint(path), saved[1], saved[2])
    assert draws() == expected


def test_random_state_is_put_back_in_place():
    state = random_state()
    expected = draws()
    set_random_state(state)
    assert draws() == expected


@pytest.mark.parametrize(
    "stored", [{"accelerator": {"kind": "mps", "states": [torch.ones(4)]}}, {"cuda": [torch.ones(4), torch.ones(4)]}]
)
def test_random_state_of_a_device_that_is_not_here_is_told(stored):
    """The second is what format version 1 holds."""
    state = {name: value for name, value in random_state().items() if name != "accelerator"}
    expected = draws()
    with pytest.warns(CourseWarning, match=r"random state of \d (mps|cuda) device\(s\) can't be put back here"):
        set_random_state({**state, **stored})
    assert draws() == expected


@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
@pytest.mark.parametrize("classes", [None, ["bird", "cat", "ship"]])
def test_load_model_builds_the_network_that_was_saved(tmp_path, network, classes):
    model = network(3 if classes else 10)
    loaded, content = load_model(save_checkpoint(tmp_path / "a.pth", model, classes=classes))
    images = torch.rand(2, 3, 32, 32)
    assert type(loaded) is network and not loaded.training
    assert torch.equal(loaded(images), model.eval()(images))
    assert content["classes"] == classes


@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
def test_load_model_takes_a_bare_state_dict(tmp_path, network):
    model = network().eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded, _ = load_model(tmp_path / "weights.pth")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(images), model(images))


def test_folders_are_made(tmp_path):
    assert save_checkpoint(tmp_path / "a" / "b" / "c.pth", Tudui()).is_file()


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_save_that_fails_leaves_what_was_there(saved, monkeypatch, step):
    path, model = saved[:2]
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match=r"tudui_0\.pth can't be written \(No space left on device\)"):
        save_checkpoint(path, model)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["tudui_0.pth"]


DISK_FULL = """
import resource
import sys
from tudui_course.checkpoint import save_checkpoint
from tudui_course.model import TuduiNorm
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    save_checkpoint(sys.argv[1], TuduiNorm())
except OSError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for the full disk")
def test_a_disk_that_is_full_half_way_leaves_what_was_there(saved):
    before = saved[0].read_bytes()
    done = subprocess.run([sys.executable, "-c", DISK_FULL, saved[0]], capture_output=True, text=True)
    assert done.stderr == f"refused: {saved[0]} can't be written (File too large); what was saved before is intact.\n"
    assert saved[0].read_bytes() == before
    assert os.listdir(saved[0].parent) == ["tudui_0.pth"]


def test_an_unwritable_folder_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"a\.pth can't be written"):
        save_checkpoint(tmp_path / "file" / "a.pth", Tudui())


class Lesson(nn.Module):
    """Stands for the class of a whole model, pickled as the lesson does it."""

    loaded = 0

    def __init__(self):
        super().__init__()
        self.model1 = nn.Linear(2, 2)

    def __setstate__(self, state):
        Lesson.loaded += 1
        super().__setstate__(state)


class Command:
    """Runs a shell command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_another_whole_model_is_refused_and_not_opened(tmp_path):
    torch.save(Lesson(), tmp_path / "whole.pth")
    for read in (load_model, read_checkpoint):
        with pytest.raises(ValueError, match=r"another network than Tudui: layer 0 is a Linear\(2, 2\)") as raised:
            read(tmp_path / "whole.pth")
        assert "\n" not in str(raised.value)
    assert Lesson.loaded == 0
    torch.load(tmp_path / "whole.pth", weights_only=False)
    assert Lesson.loaded == 1  # so the count would have told


@pytest.mark.parametrize("form", ["zip", "legacy", "raw", "in a checkpoint"])
def test_no_command_of_a_file_is_run(saved, tmp_path, form):
    ran, path = tmp_path / "ran", tmp_path / "evil.pth"
    command = Command(f"touch {ran}")
    if form == "raw":
        path.write_bytes(pickle.dumps(command, protocol=2))
    elif form == "in a checkpoint":
        torch.save({**torch.load(saved[0], weights_only=True), "settings": command}, path)
    else:
        torch.save(command, path, _use_new_zipfile_serialization=form == "zip")
    for read in (load_model, read_checkpoint):
        with pytest.raises(ValueError, match=r"evil\.pth") as raised:
            read(path)
        assert "system" in str(raised.value) or form in ("raw", "legacy")
        assert "\n" not in str(raised.value)
    assert not ran.exists()
    torch.load(path, weights_only=False) if form != "raw" else pickle.loads(path.read_bytes())
    assert ran.exists()  # so it would have run


@pytest.mark.parametrize("share", [*range(0, 100, 5), 99, 99.99])
def test_a_truncated_file_is_told_in_a_sentence(saved, share):
    raw = saved[0].read_bytes()
    saved[0].write_bytes(raw[: math.floor(len(raw) * share / 100)])
    for read in (load_model, read_checkpoint):
        with pytest.raises(ValueError, match=r"tudui_0\.pth is (damaged or no checkpoint at all|empty)") as raised:
            read(saved[0])
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("write", "kind", "message"),
    [
        (lambda path: path.write_text("epoch,loss\n0,2.3\n"), ValueError, "damaged or no checkpoint at all"),
        (lambda path: path.write_bytes(b"\x80\x02}q\x00."), ValueError, "damaged or no checkpoint at all"),
        (
            lambda path: zipfile.ZipFile(path, "w").writestr("notes", "epoch 0"),
            ValueError,
            "damaged or no checkpoint at all",
        ),
        (lambda path: path.mkdir(), ValueError, "is a folder; give a checkpoint in it"),
        (lambda path: None, FileNotFoundError, "doesn't exist"),
        (lambda path: torch.save(torch.ones(3), path), ValueError, "holds a Tensor, not a checkpoint"),
        (lambda path: torch.save([1, 2], path), ValueError, "holds a list, not a checkpoint"),
        (lambda path: torch.save({"epoch": 3, "lr": 0.1}, path), ValueError, "a dict with the keys epoch, lr"),
        (lambda path: torch.save({1: torch.ones(3)}, path), ValueError, "holds"),
        (lambda path: torch.save({}, path), ValueError, "holds"),
        (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), ValueError, "another network than Tudui"),
        (lambda path: torch.save(nn.BatchNorm2d(3).state_dict(), path), ValueError, "another network than TuduiNorm"),
        (lambda path: save_checkpoint(path, nn.Linear(2, 2)), ValueError, "belongs to the network 'Linear'"),
    ],
)
def test_what_is_no_model_of_the_course_is_told_in_a_sentence(tmp_path, write, kind, message):
    path = tmp_path / "other.pth"
    write(path)
    with pytest.raises(kind, match=message) as raised:
        load_model(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_bare_state_dict_is_no_checkpoint_to_resume(tmp_path):
    torch.save(Tudui().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="a bare state_dict of 10 tensors"):
        read_checkpoint(tmp_path / "weights.pth")


def test_a_checkpoint_is_not_restored_into_another_network(saved):
    other = TuduiNorm(3)
    with pytest.raises(ValueError, match="another network than TuduiNorm"):
        restore(read_checkpoint(saved[0]), other, torch.optim.SGD(other.parameters(), lr=0.1))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (
            "random",
            {"numpy": {"keys": [0] * 624, "position": 10**9, "has_gauss": 0, "gauss": 0.0}},
        ),  # numpy would crash
        ("random", {"numpy": {"keys": [-1] * 624, "position": 0, "has_gauss": 0, "gauss": 0.0}}),
        ("random", {"torch": torch.zeros(3)}),
        ("random", {"python": 5}),
        ("optimizer", {"param_groups": []}),
        ("progress", {"history": [5]}),
    ],
)
def test_a_state_that_can_not_be_put_back_is_told_in_a_sentence(saved, part, change):
    content = read_checkpoint(saved[0])
    with pytest.raises(
        DamagedError, match=r"tudui_0\.pth holds a state that can't be put back \(.+\); use another one"
    ):
        restore({**content, part: {**content[part], **change}}, *saved[1:4], path=saved[0])


def test_a_newer_version_is_refused(saved):
    content = torch.load(saved[0], weights_only=True)
    torch.save({**content, "version": content["version"] + 1}, saved[0])
    for read in (load_model, read_checkpoint):
        with pytest.raises(ValueError, match=r"format version 3, but this package reads up to 2: update it"):
            read(saved[0])


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_the_last_epochs_and_the_best_are_kept(pictures, tmp_path, keep):
    history = run.train(Settings(str(pictures), epochs=5, batch_size=2, lr=0.05), tmp_path, keep=keep)
    accuracies = [record.test.accuracy for record in history]
    best = accuracies.index(max(accuracies))
    kept = range(5 - keep, 5) if keep else range(5)
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {f"tudui_{epoch}.pth" for epoch in kept} | {"tudui_best.pth"}
    assert read_checkpoint(tmp_path / "tudui_best.pth")["progress"]["epoch"] == best + 1
    assert read_checkpoint(tmp_path / "tudui_4.pth")["progress"]["epoch"] == 5


def test_a_resumed_run_goes_on_keeping_the_best(pictures, tmp_path):
    settings = Settings(str(pictures), epochs=5, batch_size=2, lr=0.05)
    run.train(settings, tmp_path / "whole", keep=1)
    for epochs in range(1, 6):
        run.train(replace(settings, epochs=epochs), tmp_path / "parts", resume=epochs > 1, keep=1)
    whole, parts = (read_checkpoint(tmp_path / name / "tudui_best.pth") for name in ("whole", "parts"))
    assert whole["progress"]["history"] == parts["progress"]["history"]
    assert [path.name for path in Path(tmp_path / "parts").glob("tudui_?.pth")] == ["tudui_4.pth"]
