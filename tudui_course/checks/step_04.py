"""Exercises of 04_item: what keeps memory; a mean that leaks graphs, to be mended; number, list, tensor or error."""

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_prediction
from tudui_course.checks.props import pictures
from tudui_course.checks.table import exercise
from tudui_course.memory import SavedTensors

WAYS = {
    "loss": lambda loss: loss,
    "loss.item()": lambda loss: loss.item(),
    "loss.detach()": lambda loss: loss.detach(),
    "loss, after backward()": lambda loss: (loss.backward(), loss)[1],
}


def megabytes_kept():
    """What is still there of the graphs of five losses, 20 MB each, by what of them went into a list."""
    kept = {}
    for way, keep in WAYS.items():
        model, losses = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), []
        with SavedTensors(model) as saved:
            for _ in range(5):
                losses.append(keep(model(torch.ones(3, 4)).sum()))
        kept[way] = round(20 * saved.megabytes() / (3 * (4 + 8) * 4 / 2**20))
    return kept


def kind_of(expression):
    """What an expression gives for three numbers that require a gradient."""
    try:
        value = eval(expression, {"x": torch.ones(3, requires_grad=True)})
    except RuntimeError:
        return "error"
    return {float: "number", list: "list", torch.Tensor: "tensor"}[type(value)]


EXPRESSIONS = ("x.sum().item()", "x.item()", "x.detach()", "x.tolist()", "x.numpy()", "x[:1].item()")
KINDS = {expression: kind_of(expression) for expression in EXPRESSIONS}


def judge_mean_loss(mean_loss):
    """The mean of five batches, and what is kept on the way; the last loss may still have its name."""
    model, loss_fn = nn.Linear(6, 3), nn.CrossEntropyLoss()
    batches = [pictures(size, seed) for seed, size in enumerate((5, 5, 5, 5, 2))]
    values = [loss_fn(model(images), targets).item() for images, targets in batches]
    with SavedTensors(model) as saved:
        loss = loss_fn(model(batches[0][0]), batches[0][1])
        one = saved.megabytes()
        del loss
        answer = call(mean_loss, model, saved.watch(batches), loss_fn)
    yield "5 个批次的平均损失 · mean loss of 5 batches", answer, sum(values) / len(values)
    leaks = max(saved.history, default=0) > 1.5 * one
    yield "走过的批次的图还留着 · graphs of earlier batches are still kept", leaks, False


q1 = exercise("04.1", judge_prediction(megabytes_kept(), options=(0, 20, 100)))
q2 = exercise("04.2", judge_mean_loss)
q3 = exercise("04.3", judge_prediction(KINDS, options=("number", "list", "tensor", "error")))
