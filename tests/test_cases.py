"""The ten cases of 15_not_learning: each differs from the healthy training in one part, and mending it cures it."""

import pytest
import torch

from tudui_course.checks.cases import CASES, HEALTHY, open_case
from tudui_course.data import InMemory


@pytest.fixture(scope="module")
def pictures():
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(120) % 10
    noise = torch.randint(0, 60, (120, 3, 32, 32), generator=generator)
    images = (noise + 19 * targets[:, None, None, None]).to(torch.uint8)
    return InMemory(images, targets, [f"class{number}" for number in range(10)])


@pytest.mark.parametrize("letter", CASES)
def test_a_case_mended_in_its_one_part_is_the_healthy_training(letter, pictures):
    (part,) = CASES[letter]
    healthy, sick = (open_case(name, pictures, pictures).run(epochs=2) for name in ("healthy", letter))
    mended = open_case(letter, pictures, pictures, **{part: HEALTHY[part]}).run(epochs=2)
    assert (mended.losses, mended.tests) == (healthy.losses, healthy.tests)
    if letter == "J":  # its fault is in memory alone
        assert sick.evaluate(sick.model, sick.test_batches)[0].requires_grad
    else:
        assert (sick.losses, sick.tests) != (healthy.losses, healthy.tests)
