import hashlib
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
from torchvision.datasets import CIFAR10
from torchvision.transforms import ToTensor

from tudui_course.data import pictograms
from tudui_course.data.pictograms import CLASSES, MD5, Pictograms, draw

# SHA-256 of what the drawing must come out as on every machine, Python and numpy; a change here changes the
# course's recorded figures, so it is never just updated along the way.
SHA256 = {
    "train": "64882d69f8bb8cceeaed6e32e363ce93a9f52a6730a228cecdd30d3cf98e4ba3",
    "test": "7d6ed85c73b1a2494fb1d1b2f0f243f278aa87f56b1d785bafbfb3e750dcf2b1",
    "draw(7, 2)": "92f7341e40cf9fb9dc7fe239ad559967f8f23e9b43c2abe9fbe6e6e373ef29c1",
}


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A folder in which the files were drawn once for all tests; no test changes anything in it."""
    folder = tmp_path_factory.mktemp("pictograms")
    Pictograms(folder, download=True)
    return folder


@pytest.fixture
def drawn(root):
    """What `draw_files` gives, without drawing again."""
    return {name: (root / Pictograms.base_folder / name).read_bytes() for name in MD5}


def sha256(images, targets):
    return hashlib.sha256(images.tobytes() + np.asarray(targets, dtype="<i8").tobytes()).hexdigest()


def times(root):
    return {name: (root / Pictograms.base_folder / name).stat().st_mtime_ns for name in MD5}


def test_same_bytes_on_every_machine(root):
    assert sha256(*draw(7, 2)) == SHA256["draw(7, 2)"]
    for name, train in (("train", True), ("test", False)):
        dataset = Pictograms(root, train=train)
        assert sha256(dataset.data, dataset.targets) == SHA256[name]


def test_sine_table_rounds_far_from_ties():
    # What makes round() safe in SIN: no value is so near a half that another machine's sin() tips it over.
    exact = [1024 * math.sin(2 * math.pi * k / 256) for k in range(256)]
    assert min(abs(abs(value) % 1 - 0.5) for value in exact) > 1e-3


@pytest.mark.parametrize(("train", "per_class"), [(True, 1000), (False, 200)])
def test_counts_types_and_balance(root, train, per_class):
    dataset = Pictograms(root, train=train)
    assert len(dataset) == 10 * per_class
    assert dataset.data.shape == (10 * per_class, 32, 32, 3)
    assert dataset.data.dtype == np.uint8
    assert np.bincount(dataset.targets).tolist() == [per_class] * 10
    assert type(dataset.targets) is list and type(dataset.targets[0]) is int
    assert dataset.classes == CLASSES
    assert dataset.class_to_idx["truck"] == 9
    assert len(set(dataset.targets[:100])) == 10  # shuffled


def test_no_picture_is_in_both_sets(root):
    train, test = ({image.tobytes() for image in Pictograms(root, train=t).data} for t in (True, False))
    assert len(train) == 10_000 and len(test) == 2_000 and not train & test


def test_draw_is_balanced_and_depends_on_the_seed():
    images, targets = draw(1, 3)
    assert images.shape == (30, 32, 32, 3) and images.dtype == np.uint8 and targets.dtype == np.int64
    assert np.bincount(targets).tolist() == [3] * 10
    assert not np.array_equal(images, draw(2, 3)[0])


def test_torchvision_reads_the_files(root):
    """CIFAR10's own constructor, pointed at our folder, gives the same pictures."""
    names = {name: getattr(Pictograms, name) for name in ("base_folder", "train_list", "test_list", "meta")}
    theirs = type("Theirs", (CIFAR10,), names)(root, train=False, transform=ToTensor())
    ours = Pictograms(root, train=False, transform=ToTensor())
    image, target = ours[0]
    assert image.shape == (3, 32, 32) and image.min() >= 0 and image.max() <= 1
    assert image.equal(theirs[0][0]) and target == theirs[0][1] == ours.targets[0]
    assert np.array_equal((image.permute(1, 2, 0) * 255).round().byte().numpy(), ours.data[0])


def test_second_time_draws_nothing(root, capsys, monkeypatch):
    monkeypatch.setattr(pictograms, "draw_files", lambda: pytest.fail("drew again"))
    before = times(root)
    Pictograms(root, download=True)
    assert times(root) == before
    assert capsys.readouterr().out == ""


def test_missing_says_what_to_do(tmp_path):
    with pytest.raises(RuntimeError, match=r"missing or damaged in .*: use download=True to draw them\.$"):
        Pictograms(tmp_path)


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_damaged_file_is_refused_then_redrawn(root, tmp_path, capsys, monkeypatch, drawn, name):
    monkeypatch.setattr(pictograms, "draw_files", lambda: drawn)
    shutil.copytree(root / Pictograms.base_folder, tmp_path / Pictograms.base_folder)
    file = tmp_path / Pictograms.base_folder / name
    file.write_bytes(drawn[name][:-1] + b"!")
    before = times(tmp_path)
    with pytest.raises(RuntimeError, match="use download=True"):
        Pictograms(tmp_path)
    Pictograms(tmp_path, download=True)
    assert capsys.readouterr().out == ""  # a notebook that draws must print what it prints when all is there
    assert file.read_bytes() == drawn[name]
    after = times(tmp_path)
    assert [other for other in MD5 if after[other] != before[other]] == [name]
    assert [path.name for path in tmp_path.iterdir()] == [Pictograms.base_folder]  # nothing left lying about


def test_a_drawing_that_comes_out_differently_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(pictograms, "draw_files", lambda: {"test_batch": b"something else"})
    with pytest.raises(RuntimeError, match="came out differently"):
        Pictograms(tmp_path, download=True)
    assert not (tmp_path / Pictograms.base_folder).exists()


SECOND_PROCESS = """
import sys
from pathlib import Path
from tudui_course.data import pictograms
root, target = map(Path, sys.argv[1:])
drawn = {name: (root / pictograms.Pictograms.base_folder / name).read_bytes() for name in pictograms.MD5}
pictograms.draw_files = lambda: drawn
print("ready", flush=True)
pictograms.Pictograms(target, download=True)
"""


def test_two_processes_write_into_one_folder(root, tmp_path, monkeypatch, drawn):
    # Both get the drawing ready-made: it happens in memory, and so the two writings meet more closely.
    monkeypatch.setattr(pictograms, "draw_files", lambda: drawn)
    command = [sys.executable, "-c", SECOND_PROCESS, str(root), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        assert len(Pictograms(tmp_path, download=True)) == 10_000
        other.communicate(timeout=60)
        assert other.returncode == 0
    assert len(Pictograms(tmp_path, train=False)) == 2_000
    assert [path.name for path in tmp_path.iterdir()] == [Pictograms.base_folder]


def test_another_process_finishes_while_this_one_draws(root, tmp_path, monkeypatch, drawn):
    def draw_slowly():
        shutil.copytree(root / Pictograms.base_folder, tmp_path / Pictograms.base_folder)
        return drawn

    monkeypatch.setattr(pictograms, "draw_files", draw_slowly)
    Pictograms(tmp_path, download=True)
    assert [path.name for path in tmp_path.iterdir()] == [Pictograms.base_folder]
