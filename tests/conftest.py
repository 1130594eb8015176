"""Settings and fixtures of all tests."""

import os

# Two processes of two threads each on two cores are slower than two of one; it must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tudui_course.data.loaders import InMemory
from tudui_course.data.pictograms import Pictograms
from tudui_course.runtime import data_dir

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """The folder of data sets and runs during the tests; pictograms that were drawn before are copied into it."""
    drawn = data_dir() / Pictograms.base_folder
    folder = tmp_path_factory.mktemp("home")
    if drawn.is_dir():
        shutil.copytree(drawn, folder / "dataset" / Pictograms.base_folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUDUI_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def progress_file(tmp_path, monkeypatch):
    """Where solved exercises are remembered during one test."""
    monkeypatch.setenv("TUDUI_PROGRESS", str(tmp_path / "progress.json"))


@pytest.fixture
def tiny() -> tuple[InMemory, InMemory]:
    """Train and test set of 70 and 37 random pictures: with batches of 16 both end on a ragged one."""
    generator = torch.Generator().manual_seed(0)
    classes = [f"class {index}" for index in range(10)]

    def pictures(count: int) -> InMemory:
        images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return InMemory(images, torch.randint(0, 10, (count,), generator=generator), classes)

    return pictures(70), pictures(37)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 51 and 15 random 32x32 PNGs in three classes: with batches of 2 an epoch has 26 steps."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for part, count in (("train", 17), ("test", 5)):
        for name in ("bird", "cat", "ship"):
            (folder / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{index:02d}.png")
    return folder
