"""The exercises of 05_no_grad_and_tensorboard: right, blank, and each typical mistake with its own message."""

import math

import pytest
import torch

from tudui_course.checks import step_05 as exercises
from tudui_course.checks.solved import solved

ALL = [exercises.q1, exercises.q2, exercises.q3]
FLAGS = {
    name: make(torch.ones(3), torch.ones(3, requires_grad=True)).requires_grad
    for name, (make, _) in exercises.TENSORS.items()
}
LESSON = exercises.LESSON_SUM


def verdict(exercise, answer, capsys) -> str:
    exercise.check(answer)
    return capsys.readouterr().out


BLANKS = [
    (exercises.q1, dict.fromkeys(FLAGS, ...)),
    (exercises.q2, lambda model, loader, loss_fn: ...),
    (exercises.q3, ...),
]


@pytest.mark.parametrize("exercise, blank", BLANKS)
def test_blank_is_not_attempted(exercise, blank, capsys):
    assert "Not attempted" in verdict(exercise, blank, capsys)
    assert solved() == []


WRONG_FLAGS = {
    "a * w": "One input that requires a gradient is enough",
    "a * 2": "No input requires a gradient",
    "w.argmax()": "integers have no derivative",
    "w.detach() * a": "cuts the thread to w",
    "inside no_grad: w * 2": "computed inside no_grad has False",
    "inside no_grad: w": "no_grad doesn't change it",
}


@pytest.mark.parametrize("name", FLAGS)
def test_each_wrong_flag_has_its_reason(name, capsys):
    out = verdict(exercises.q1, {**FLAGS, name: not FLAGS[name]}, capsys)
    assert out.startswith("✗ 05.1") and f"{name} isn't {not FLAGS[name]}. " in out and WRONG_FLAGS[name] in out


OTHER_FLAGS = [
    ({**FLAGS, "a * 2": "False"}, "you wrote 'False'"),
    ({**FLAGS, "a * 2": torch.ones(2)}, "you wrote tensor"),
    ({name: flag for name, flag in FLAGS.items() if name != "a * 2"}, "lacks a * 2"),
    (True, "the dictionary as it stood there"),
    ("True", "the dictionary as it stood there"),
]


@pytest.mark.parametrize("answer, message", OTHER_FLAGS)
def test_flags_of_another_kind(answer, message, capsys):
    out = verdict(exercises.q1, answer, capsys)
    assert out.startswith("✗ 05.1") and message in out


@torch.no_grad()
def parts(model, loader, loss_fn):
    """Losses and sizes of the batches."""
    losses = [loss_fn(model(images), targets).item() for images, targets in loader]
    return losses, [len(targets) for _, targets in loader]


def weighted(model, loader, loss_fn):
    losses, sizes = parts(model, loader, loss_fn)
    return sum(loss * size for loss, size in zip(losses, sizes, strict=True)), sum(sizes)


def with_graph(model, loader, loss_fn):
    total = sum(loss_fn(model(images), targets).item() * len(targets) for images, targets in loader)
    return total / sum(len(targets) for _, targets in loader)


@torch.no_grad()
def with_training(model, loader, loss_fn):
    for parameter in model.parameters():
        parameter -= 0.1
    return 1.0


def with_frozen_model(model, loader, loss_fn):
    model.requires_grad_(False)
    total, count = weighted(model, loader, loss_fn)
    return total / count


TEST_LOSSES = [
    (lambda m, b, f: sum(parts(m, b, f)[0]), "That is the sum over batches"),
    (lambda m, b, f: sum(parts(m, b, f)[0]) / len(b), "mean of batch means"),
    (lambda m, b, f: sum(parts(m, b, f)[0]) / weighted(m, b, f)[1], "a mean already"),
    (lambda m, b, f: weighted(m, b, f)[0], "now divide by their total"),
    (lambda m, b, f: weighted(m, b, f)[0] / len(b), "not of batches"),
    (lambda m, b, f: parts(m, b, f)[0][-1], "last batch's loss"),
    (lambda m, b, f: parts(m, b, f)[0][0], "inside the loop"),
    (lambda m, b, f: weighted(m, b, f)[0] / (len(b) * len(b[0][1])), "the last batch is smaller"),
    (with_graph, "a graph was recorded"),
    (with_training, "weights have changed"),
    (with_frozen_model, "requires_grad=False now"),
    (lambda m, b, f: torch.tensor(1.5), "You returned a tensor"),
    (lambda m, b, f: torch.ones(2, 3), "You returned a tensor"),
    (lambda m, b, f: "1.5", "Return a number; yours returned str"),
    (lambda m, b, f: 1.5, "the mean loss should be"),
    (lambda m, b, f: m(b), "raised an error"),
    (1.5, "needs a function, but you gave a float"),
]


@pytest.mark.parametrize("answer, message", TEST_LOSSES)
def test_test_loss_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q2, answer, capsys)
    assert out.startswith("✗ 05.2") and message in out


def test_test_loss_may_ask_the_loader_for_its_data_set(capsys):
    answer = lambda model, loader, loss_fn: weighted(model, loader, loss_fn)[0] / len(loader.dataset)  # noqa: E731
    assert verdict(exercises.q2, answer, capsys).startswith("✓")


def test_test_loss_may_use_inference_mode(capsys):
    assert verdict(exercises.q2, torch.inference_mode()(with_graph), capsys).startswith("✓")


@pytest.mark.parametrize("answer", [1.239, 1.2392, LESSON / 157, "1.239", torch.tensor(1.2392)])
def test_mean_takes_any_number(answer, capsys):
    assert verdict(exercises.q3, answer, capsys).startswith("✓")


MEANS = [
    (LESSON / 10_000, "divided by the pictures"),
    (LESSON / 64, "divided by the batch size"),
    (LESSON / 156.25, "156.25"),
    (LESSON / 156, "divided by 156;"),
    (LESSON / 10, "divided by the epochs"),
    (LESSON / 782, "number of training batches"),
    (LESSON, "the sum itself"),
    (157, "now divide the sum by it"),
    (1.24, "give three decimals"),
    (1.2, "give three decimals"),
    (7, "Your answer is 7, which"),
    (math.nan, "Your answer is nan"),
    ("about one", "str: 'about one'"),
    (torch.ones(3), "needs a number, but you gave Tensor"),
]


@pytest.mark.parametrize("answer, message", MEANS)
def test_mean_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q3, answer, capsys)
    assert out.startswith("✗ 05.3") and message in out
