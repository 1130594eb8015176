"""Exercises of 05_no_grad_and_tensorboard: what requires a gradient, a test loss, steps to be mended, overfitting."""

import math

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_figure, judge_prediction
from tudui_course.checks.props import Batches, exam, pictures, trained, weights_of
from tudui_course.checks.table import exercise

LESSON_SUM = 194.5557427406311  # what the lesson printed after epoch 10
OVERFITTING = {"training loss": "falls", "test loss": "falls then rises"}


def flags():
    """What requires a gradient, where w does and a doesn't."""
    names = {"a": torch.ones(3), "w": torch.ones(3, requires_grad=True)}
    made = {text: eval(text, names) for text in ("a * w", "a * 2", "w.argmax()", "w.detach() * a")}
    with torch.no_grad():
        made |= {f"inside no_grad: {text}": eval(text, names) for text in ("w * 2", "w")}
    return {text: tensor.requires_grad for text, tensor in made.items()}


def judge_test_loss(test_loss):
    """A test set of full batches, and one whose last is smaller."""
    recorded = []
    for count, size in ((12, 4), (16, 5)):
        model, loader, expected, _ = exam(count, size, seed=size)
        before = weights_of(model)
        answer = call(test_loss, model, loader, nn.CrossEntropyLoss())
        changed = not torch.equal(weights_of(model), before)
        frozen = not all(parameter.requires_grad for parameter in model.parameters())
        yield "权重变了：测试时不能训练 · the weights have changed: testing must not train", changed, False
        yield "参数的 requires_grad 成了 False · the parameters have requires_grad=False now", frozen, False
        yield f"{count} 张图，每批 {size} 张 · {count} pictures in batches of {size}", answer, expected
        recorded += model.recorded
    yield "每个批次都白白记了图 · a graph was recorded for each batch, for nothing", any(recorded), False


def judge_steps(train_and_log):
    """Three epochs of twenty batches, beside the package's own loop: what was logged, and under which steps."""
    model, loader, points = nn.Linear(6, 3), Batches(*pictures(80, seed=3), 4), []
    _, losses = trained(model, loader * 3, 0.01)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    call(train_and_log, model, loader, nn.CrossEntropyLoss(), optimizer, 3, lambda *point: points.append(point))
    yield "步数 · steps", [point[-1] for point in points], list(range(10, 61, 10))
    yield "标签 · tags", [point[0] for point in points], ["train_loss"] * len(points)
    yield "值 · values", [point[1] for point in points], losses[9::10]


q1 = exercise("05.1", judge_prediction(flags(), options=(True, False)))
q2 = exercise("05.2", judge_test_loss)
q3 = exercise("05.3", judge_figure(LESSON_SUM / math.ceil(10_000 / 64)), within=6e-4)
q4 = exercise("05.4", judge_steps)
q5 = exercise("05.5", judge_prediction(OVERFITTING, options=("falls", "rises", "falls then rises")))
