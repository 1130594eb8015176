"""The exercises of 04_item: right, blank, and each typical mistake with its own message."""

import itertools

import pytest
import torch

from tudui_course.checks import step_04 as exercises
from tudui_course.checks.solved import solved

ALL = [exercises.q1, exercises.q2, exercises.q3]
KINDS = {name: exercises.kind_of(name) for name in exercises.EXPRESSIONS}


def verdict(exercise, answer, capsys) -> str:
    exercise.check(answer)
    return capsys.readouterr().out


BLANKS = [
    (exercises.q1, dict.fromkeys(KINDS, ...)),
    (exercises.q1, {**KINDS, "x.item()": ...}),
    (exercises.q2, lambda model, batches, loss_fn: ...),
    (exercises.q3, lambda losses, every: ...),
]


@pytest.mark.parametrize("exercise, blank", BLANKS)
def test_blank_is_not_attempted(exercise, blank, capsys):
    assert "Not attempted" in verdict(exercise, blank, capsys)
    assert solved() == []


WRONG_KINDS = [
    ({"x.sum().item()": "tensor"}, "After the sum one element is left"),
    ({"x.item()": "number"}, "x has three elements"),
    ({"x.item()": "list"}, "x has three elements"),
    ({"x.detach()": "list"}, "only shakes off the graph"),
    ({"x.tolist()": "error"}, "gives a Python list"),
    ({"x.numpy()": "tensor"}, "needs detach() first"),
    ({"x[:1].item()": "error"}, "exactly one element"),
    ({"x.item()": 5}, "you wrote 5"),
    ({"x.item()": "array"}, "you wrote 'array'"),
]


@pytest.mark.parametrize("change, message", WRONG_KINDS)
def test_kinds_say_what_is_wrong(change, message, capsys):
    out = verdict(exercises.q1, KINDS | change, capsys)
    assert out.startswith("✗ 04.1") and message in out


@pytest.mark.parametrize("answer", ["number", torch.ones(2), ["number"] * 6, 5])
def test_kinds_want_the_dictionary(answer, capsys):
    assert "the dictionary as it stood there" in verdict(exercises.q1, answer, capsys)


def test_kinds_name_a_missing_entry(capsys):
    assert "lacks x.numpy()" in verdict(exercises.q1, {k: v for k, v in KINDS.items() if k != "x.numpy()"}, capsys)


def values(model, batches, loss_fn):
    return [loss_fn(model(images), targets).item() for images, targets in batches]


def tensors(model, batches, loss_fn):
    return [loss_fn(model(images), targets) for images, targets in batches]


def with_total_reset(model, batches, loss_fn):
    for images, targets in batches:
        total = 0
        total += loss_fn(model(images), targets).item()
    return total / len(batches)


def per_picture(model, batches, loss_fn):
    total, count = 0.0, 0
    for images, targets in batches:
        total += loss_fn(model(images), targets).item() * len(targets)
        count += len(targets)
    return total / count


MEANS = [
    (lambda m, b, f: sum(values(m, b, f)), "divide by the number of batches"),
    (lambda m, b, f: values(m, b, f)[-1], "last batch's loss"),
    (lambda m, b, f: values(m, b, f)[0], "does the return stand inside the loop"),
    (lambda m, b, f: values(m, b, f)[0] / len(b), "Only the first batch was added"),
    (with_total_reset, "Only the last batch was added"),
    (per_picture, "the mean per picture"),
    (lambda m, b, f: sum(values(m, b, f)) / 64, "should be"),
    (lambda m, b, f: 1.0, "should be"),
    (lambda m, b, f: sum(tensors(m, b, f)) / len(b), "a tensor, with its graph behind it"),
    (lambda m, b, f: torch.tensor(values(m, b, f)).mean(), "You returned a tensor: "),
    (lambda m, b, f: (sum(tensors(m, b, f)) / len(b)).item(), "were kept at once"),
    (lambda m, b, f: torch.stack(tensors(m, b, f)).mean().item(), "were kept at once"),
    (lambda m, b, f: str(values(m, b, f)), "Return a number; yours returned str"),
    (lambda m, b, f: [], "Return a number; yours returned list"),
    (lambda m, b, f: f(b, m), "raised an error"),
    (lambda m: 1, "raised an error: TypeError"),
    (3.5, "needs a function, but you gave a float"),
]


@pytest.mark.parametrize("answer, message", MEANS)
def test_mean_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q2, answer, capsys)
    assert out.startswith("✗ 04.2") and message in out


def test_mean_may_name_its_loss_and_use_no_grad(capsys):
    def named(model, batches, loss_fn):
        losses = []
        for images, targets in batches:
            loss = loss_fn(model(images), targets)
            losses.append(loss.item())
        return sum(losses) / len(losses)

    assert verdict(exercises.q2, named, capsys).startswith("✓")
    assert verdict(exercises.q2, torch.no_grad()(named), capsys).startswith("✓")


def points(losses, every, start=1, number=lambda loss: loss.item()):
    return [(step, number(loss)) for step, loss in enumerate(losses, start=start) if step % every == 0]


LOGS = [
    (lambda losses, every: points(losses, every, start=0), "count from 1"),
    (lambda losses, every: points(losses, every, number=lambda loss: loss), "tensors in the list"),
    (lambda losses, every: points(losses, every, number=lambda loss: loss.detach()), "tensors in the list"),
    (lambda losses, every: [(i, x.item()) for i, x in enumerate(losses) if (i + 1) % every == 0], "one too small"),
    (lambda losses, every: points(losses, 1), "each step"),
    (lambda losses, every: [(i, losses[i % len(losses)].item()) for i, _ in points(losses, every)], "numbers aren't"),
    (lambda losses, every: list(enumerate([x for _, x in points(losses, every)], start=1)), "number of the point"),
    (lambda losses, every: points(losses, every)[:-1], "The steps should be"),
    (lambda losses, every: points([x.item() for x in losses], every, number=float), "would do"),
    (lambda losses, every: [x for _, x in points(losses, every)], "return a list of (step, number)"),
    (lambda losses, every: dict(points(losses, every)), "return a list of (step, number)"),
    (lambda losses, every: "none", "return a list of (step, number)"),
    (lambda losses, every: torch.ones(2), "return a list of (step, number)"),
    (lambda losses, every: [], "The steps should be [5, 10, 15, 20], yours are []"),
    (lambda losses, every: losses.item(), "raised an error: AttributeError"),
    (torch.ones(3), "needs a function, but you gave a Tensor"),
]


@pytest.mark.parametrize("answer, message", LOGS)
def test_logging_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q3, answer, capsys)
    assert out.startswith("✗ 04.3") and message in out


def test_logging_takes_other_right_ways(capsys):
    def slices(losses, every):
        return list(zip(itertools.count(every, every), [x.item() for x in losses[every - 1 :: every]], strict=False))

    assert verdict(exercises.q3, slices, capsys).startswith("✓")
