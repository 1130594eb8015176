"""The exercises of 01_dataloader: right, blank, and each typical mistake with its own message."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from tudui_course.checks import step_01 as exercises
from tudui_course.checks.base import solved


def says(exercise, answer, message, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and message in out
    assert solved() == []


COUNTS = [
    (lambda count, size, drop_last: count // size, "round up"),
    (lambda count, size, drop_last: math.ceil(count / size), "round down"),
    (lambda count, size, drop_last: count // size + (not drop_last), "no extra batch"),
    (lambda count, size, drop_last: count / size, "not rounded"),
    (lambda count, size, drop_last: float(math.ceil(count / size)), "not a float"),
    (lambda count, size, drop_last: 781 if drop_last else 782, "(10000, 64, drop_last=False): you returned 782"),
    (lambda count, size, drop_last: torch.tensor(3), "yours returned Tensor"),
    (lambda count, size, drop_last: "many", "str: 'many'"),
    (lambda count, size: 3, "TypeError"),
    (782, "needs a function, but you gave an int"),
]


@pytest.mark.parametrize("answer, message", COUNTS)
def test_count_says_what_is_wrong(answer, message, capsys):
    says(exercises.q1, answer, message, capsys)


PICTURES = [
    (lambda image: image.reshape(32, 32, 3), "scrambled"),
    (lambda image: image.reshape(*image.shape[1:], 3), "scrambled"),
    (lambda image: image.T, "diagonal"),
    (lambda image: image.transpose(0, 2), "diagonal"),
    (lambda image: image, "channels still come first"),
    (lambda image: image.permute(1, 2, 0).unsqueeze(0), "should be (32, 32, 3)"),
    (lambda image: image.permute(1, 2, 0) * 255, "values or dtype"),
    (lambda image: image.permute(1, 2, 0).double(), "torch.float64"),
    (lambda image: image.permute(1, 2, 0).flip(0), "values or dtype"),
    (lambda image: "picture", "yours returned str"),
    (lambda image: image.permute(2, 1), "RuntimeError"),
    (torch.ones(3), "needs a function, but you gave a Tensor"),
]


@pytest.mark.parametrize("answer, message", PICTURES)
@pytest.mark.filterwarnings("ignore:The use of `x.T`")
def test_picture_says_what_is_wrong(answer, message, capsys):
    says(exercises.q2, answer, message, capsys)


@pytest.mark.parametrize(
    "answer",
    [lambda image: image.permute(1, 2, 0).numpy(), lambda image: image.movedim(0, 2)],
    ids=["numpy", "movedim"],
)
def test_picture_may_be_made_in_other_ways(answer, capsys):
    exercises.q2.check(answer)
    assert capsys.readouterr().out.startswith("✓")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def seeding_all(dataset, size, seed):
    torch.manual_seed(seed)
    return DataLoader(dataset, size, shuffle=True, generator=seeded(seed))


def with_replacement(dataset, size, seed):
    return DataLoader(dataset, size, sampler=RandomSampler(dataset, replacement=True, generator=seeded(seed)))


def frozen_order(dataset, size, seed):
    order = torch.randperm(len(dataset), generator=seeded(seed)).tolist()
    return DataLoader(dataset, size, sampler=order)


LOADERS = [
    (lambda dataset, size, seed: DataLoader(dataset, size, generator=seeded(seed)), "isn't shuffled"),
    (lambda dataset, size, seed: DataLoader(dataset, size, shuffle=True), "two different orders"),
    (lambda dataset, size, seed: DataLoader(dataset, size, shuffle=True, generator=seeded(0)), "doesn't use seed"),
    (lambda dataset, size, seed: DataLoader(dataset, 64, shuffle=True, generator=seeded(seed)), "yours have 64"),
    (
        lambda dataset, size, seed: DataLoader(dataset, size, shuffle=True, generator=seeded(seed), drop_last=True),
        "Of 70 samples 64 came",
    ),
    (with_replacement, "drawing with replacement"),
    (lambda dataset, size, seed: DataLoader(dataset, size, shuffle=True, generator=seed), "yours is of type int"),
    (frozen_order, "anew each epoch"),
    (seeding_all, "seeds torch's global generator"),
    (lambda dataset, size, seed: list(dataset), "yours returned list"),
    (lambda dataset, size, seed: "loader", "yours returned str"),
    (lambda dataset: dataset, "TypeError"),
    (7, "needs a function, but you gave an int"),
]


@pytest.mark.parametrize("answer, message", LOADERS)
def test_loader_says_what_is_wrong(answer, message, capsys):
    says(exercises.q3, answer, message, capsys)


def test_judging_a_loader_leaves_the_random_state_alone(capsys):
    before = torch.get_rng_state()
    exercises.q3.check(seeding_all)
    assert torch.equal(torch.get_rng_state(), before)
