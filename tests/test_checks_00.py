"""The exercises of 00_start_here: right, blank, and each typical mistake with its own message."""

import math

import pytest
import torch

from tudui_course.checks import step_00 as exercises
from tudui_course.checks.base import solved


@pytest.mark.parametrize("exercise, blank", [(exercises.q1, ...), (exercises.q2, lambda losses: ...)])
def test_blank_is_not_attempted(exercise, blank, capsys):
    exercise.check(blank)
    assert "Not attempted" in capsys.readouterr().out
    assert solved() == []


def documented(losses):
    """Nothing here yet."""


def printing(losses):
    print(sum(losses[:10]) / 10 - sum(losses[-10:]) / 10)


def test_a_docstring_alone_is_not_attempted(capsys):
    exercises.q2.check(documented)
    assert "Not attempted" in capsys.readouterr().out


def test_print_in_place_of_return_is_named(capsys):
    exercises.q2.check(printing)
    out = capsys.readouterr().out
    assert "✗ 00.2" in out and "returned nothing" in out


@pytest.mark.parametrize("answer", [2.303, 2.3026, math.log(10), torch.tensor(10.0).log(), "2.303"])
def test_guessing_takes_any_number(answer, capsys):
    exercises.q1.check(answer)
    assert capsys.readouterr().out.startswith("✓")


GUESSES = [
    (1, "base 10"),
    (math.log2(10), "base 2"),
    (math.log(0.1), "sign"),
    (0.1, "is p"),
    (10, "number of classes"),
    (0.9, "chance of being wrong"),
    (-math.log(0.9), "You used 0.9"),
    (5, "Your answer is 5, which"),
    (math.nan, "Your answer is nan"),
    ("about two", "str: 'about two'"),
    (torch.ones(3), "needs a number, but you gave Tensor"),
    ([2.303], "needs a number, but you gave list"),
]


@pytest.mark.parametrize("answer, message", GUESSES)
def test_guessing_says_what_is_wrong(answer, message, capsys):
    exercises.q1.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 00.1") and message in out


def mean(values):
    return sum(values) / len(values)


FALLS = [
    (lambda losses: mean(losses[-10:]) - mean(losses[:10]), "sign is the wrong way round"),
    (lambda losses: losses[0] - losses[-1], "two points only"),
    (lambda losses: sum(losses[:10]) - sum(losses[-10:]), "sums, not means"),
    (lambda losses: mean(losses[:10]) - mean(losses), "not the mean of all"),
    (lambda losses: mean(losses[:10]) - mean(losses[10:]), "everything after the tenth"),
    (lambda losses: mean(losses[:10]), "subtract the mean of the last ten"),
    (lambda losses: mean(losses[-10:]), "subtract it from"),
    (lambda losses: 1.0, "you returned 1, expected"),
    (lambda losses: "much", "str: 'much'"),
    (lambda losses: torch.ones(2), "yours returned Tensor"),
    (lambda losses: losses[1000], "IndexError"),
    (lambda: 1.0, "TypeError"),
    (0.5, "needs a function, but you gave a float"),
]


@pytest.mark.parametrize("answer, message", FALLS)
def test_fall_says_what_is_wrong(answer, message, capsys):
    exercises.q2.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 00.2") and message in out


def test_fall_is_not_fooled_by_the_value_for_one_curve(capsys):
    first = exercises.CURVES[0]
    value = mean(first[:10]) - mean(first[-10:])
    exercises.q2.check(lambda losses: value)
    assert capsys.readouterr().out.startswith("✗")
