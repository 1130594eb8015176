"""The cases of 15_not_learning: each differs from the healthy training in a part or two, and mending them cures it."""

import pytest
import torch

from tudui_course.checks import step_15
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
def test_a_case_mended_is_the_healthy_training(letter, pictures):
    healthy, sick = (open_case(name, pictures, pictures).run(epochs=2) for name in ("healthy", letter))
    mended = open_case(letter, pictures, pictures, **{part: HEALTHY[part] for part in CASES[letter]}).run(epochs=2)
    assert (mended.losses, mended.tests) == (healthy.losses, healthy.tests)
    if letter == "J":  # its fault is in memory alone
        assert sick.evaluate(sick.model, sick.test_batches)[0].requires_grad
    else:
        assert (sick.losses, sick.tests) != (healthy.losses, healthy.tests)


@pytest.mark.parametrize("part", CASES["L"])
def test_the_case_with_two_bugs_is_still_ill_with_one_of_them_mended(part, pictures):
    healthy = open_case("healthy", pictures, pictures).run(epochs=1)
    half = open_case("L", pictures, pictures, **{part: HEALTHY[part]}).run(epochs=1)
    assert (half.losses, half.tests) != (healthy.losses, healthy.tests)


@pytest.mark.parametrize(("letter", "exercise"), [("K", step_15.q7), ("L", step_15.q8)])
def test_the_code_to_be_mended_is_the_code_of_the_case(letter, exercise, pictures):
    given = exercise.table.run(exercise.table.source(exercise.table.given))
    parts = given if isinstance(given, tuple) else [given]
    case = open_case(letter, pictures, pictures).run(epochs=1)
    theirs = open_case("healthy", pictures, pictures, **{part.__name__: part for part in parts}).run(epochs=1)
    assert (theirs.losses, theirs.tests) == (case.losses, case.tests)


def test_a_case_that_is_not_there_is_told(pictures):
    with pytest.raises(ValueError, match=r"no case .now.: name one"):
        open_case("now", pictures, pictures)
