"""Settings and fixtures of all tests."""

import os

# Two processes of two threads each on two cores are slower than two of one; it must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest
import torch

from tudui_course.data.loaders import InMemory

torch.set_num_threads(1)


@pytest.fixture
def tiny() -> tuple[InMemory, InMemory]:
    """Train and test set of 70 and 37 random pictures: with batches of 16 both end on a ragged one."""
    generator = torch.Generator().manual_seed(0)
    classes = [f"class {index}" for index in range(10)]

    def pictures(count: int) -> InMemory:
        images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return InMemory(images, torch.randint(0, 10, (count,), generator=generator), classes)

    return pictures(70), pictures(37)
