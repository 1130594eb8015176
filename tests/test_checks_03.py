"""The exercises of 03_training_loop: right, blank, and each typical mistake with its own message."""

import pytest
import torch

from tudui_course.checks import step_03 as exercises
from tudui_course.checks.base import solved

ALL = [exercises.q1, exercises.q2, exercises.q3]


def verdict(exercise, answer, capsys) -> str:
    exercise.check(answer)
    return capsys.readouterr().out


BLANKS = [
    (exercises.q1, (..., ...)),
    (exercises.q1, (7820, ...)),
    (exercises.q2, lambda weights, gradients, lr: ...),
    (exercises.q3, lambda model, images, targets, loss_fn, optimizer: ...),
    (exercises.q3, lambda model, images, targets, loss_fn, optimizer: None),
]


@pytest.mark.parametrize("exercise, blank", BLANKS)
def test_blank_is_not_attempted(exercise, blank, capsys):
    assert "Not attempted" in verdict(exercise, blank, capsys)
    assert solved() == []


STEPS = [
    ((7810, 78), "left over in each epoch"),
    ((7813, 78), "doesn't reach into the next"),
    ((7812, 78), "doesn't reach into the next"),
    ((782, 7), "there are 10"),
    ((500_000, 5000), "how many pictures are seen"),
    ((1, 78), "You gave 1 steps"),
    ((7820, 70), "isn't reset"),
    ((7820, 79), "round down"),
    ((7820, 7), "lines of the first epoch"),
    ((7820, 0), "You gave 0 lines"),
    ((7812.5, 78), "a float: 7812.5"),
    (("7820", "78"), "a str: '7820'"),
    ("7820", "two numbers"),
    (7820, "two numbers"),
    (torch.ones(3), "two numbers"),
]


@pytest.mark.parametrize("answer, message", STEPS)
def test_steps_say_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q1, answer, capsys)
    assert out.startswith("✗ 03.1") and message in out


def pairs(rule):
    """A wrong step: `rule(w, g, lr)` where there is a gradient, the weight as it is elsewhere."""
    return lambda weights, gradients, lr: [
        w if g is None else rule(w, g, lr) for w, g in zip(weights, gradients, strict=True)
    ]


def in_place(weights, gradients, lr):
    for w, g in zip(weights, gradients, strict=True):
        if g is not None:
            w -= lr * g
    return weights


UPDATES = [
    (pairs(lambda w, g, lr: w + lr * g), "wrong way round"),
    (pairs(lambda w, g, lr: w - g), "lr is missing"),
    (pairs(lambda w, g, lr: w - g / lr), "don't divide"),
    (pairs(lambda w, g, lr: lr * g), "the step itself"),
    (pairs(lambda w, g, lr: g), "That is the gradient"),
    (pairs(lambda w, g, lr: w), "hasn't changed"),
    (pairs(lambda w, g, lr: w - 0.01 * g), "0.01 for the learning rate"),
    (pairs(lambda w, g, lr: w - 0.1 * g), "0.1 for the learning rate"),
    (pairs(lambda w, g, lr: w - 2 * lr * g), "the first number should be"),
    (pairs(lambda w, g, lr: (w - lr * g).sum()), "expected a tensor of shape (2, 3), yours is ()"),
    (pairs(lambda w, g, lr: 0.5), "yours is float"),
    (in_place, "in place"),
    (lambda weights, gradients, lr: [w - lr * g for w, g in zip(weights, gradients, strict=True)], "is None"),
    (
        lambda weights, gradients, lr: [w - lr * g for w, g in zip(weights, gradients, strict=True) if g is not None],
        "2 came out",
    ),
    (
        lambda weights, gradients, lr: [
            w * 0 if g is None else w - lr * g for w, g in zip(weights, gradients, strict=True)
        ],
        "stays",
    ),
    (lambda weights, gradients, lr: weights[0] - lr * gradients[0], "Return a list"),
    (lambda weights, gradients, lr: 1 / 0, "raised an error: ZeroDivisionError"),
    (lambda weights: weights, "raised an error: TypeError"),
    ("w - lr * g", "needs a function, but you gave a str"),
]


@pytest.mark.parametrize("answer, message", UPDATES)
def test_sgd_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q2, answer, capsys)
    assert out.startswith("✗ 03.2") and message in out


def train_step(*calls, softmax=False, result="number"):
    """A training step that makes these calls in this order."""

    def step(model, images, targets, loss_fn, optimizer):
        logits = model(images)
        loss = loss_fn(logits.softmax(1) if softmax else logits, targets)
        actions = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
        for name in calls:
            actions[name]()
        return {"number": loss.item, "tensor": lambda: loss, "nothing": lambda: None, "text": lambda: "2.3"}[result]()

    return step


RIGHT = [train_step("zero", "backward", "step"), train_step("backward", "step", "zero")]


@pytest.mark.parametrize("answer", RIGHT)
def test_zero_grad_may_come_at_either_end(answer, capsys):
    assert verdict(exercises.q3, answer, capsys).startswith("✓")


MISTAKES = [
    (train_step("backward", "step"), "without optimizer.zero_grad()"),
    (train_step("zero", "backward"), "optimizer.step() was not called"),
    (train_step("zero", "step"), "loss.backward() is"),
    (train_step("step"), "loss.backward() was not called"),
    (train_step(), "optimizer.step() was not called"),
    (train_step("backward", "zero", "step"), "cleared the gradients just computed"),
    (train_step("step", "zero", "backward"), "too early"),
    (train_step("zero", "step", "backward"), "too early"),
    (train_step("zero", "backward", "step", "step"), "once each"),
    (train_step("zero", "backward", "step", softmax=True), "without a softmax"),
    (train_step("zero", "backward", "step", result="tensor"), "you returned a tensor"),
    (train_step("zero", "backward", "step", result="nothing"), "no loss came back"),
    (train_step("zero", "backward", "step", result="text"), "yours returned str: '2.3'"),
    (lambda model, images, targets, loss_fn, optimizer: loss_fn(targets, model(images)), "have changed places"),
    (lambda model, images, targets, loss_fn, optimizer: 2.3, "the loss should be"),
    (lambda model, images, targets, loss_fn, optimizer: torch.ones(2, 3), "you returned a tensor"),
    (lambda model, images, targets, loss_fn, optimizer: model(targets), "raised an error: RuntimeError"),
    (torch.ones(3), "needs a function, but you gave a Tensor"),
    (None, "Not attempted"),
]


@pytest.mark.parametrize("answer, message", MISTAKES)
def test_training_step_says_what_is_wrong(answer, message, capsys):
    out = verdict(exercises.q3, answer, capsys)
    assert "✓" not in out and message in out


def test_judging_leaves_the_random_state_alone():
    before = torch.get_rng_state()
    exercises.q3.check(RIGHT[0])
    assert torch.equal(before, torch.get_rng_state())
