"""Exercises of 04_item: number, list, tensor or error; a mean that keeps no graph; what to log."""

import weakref

import torch
from torch import nn

from tudui_course.checks.judges import attempt, call, judge_prediction
from tudui_course.checks.table import exercise

EXPRESSIONS = ("x.sum().item()", "x.item()", "x.detach()", "x.tolist()", "x.numpy()", "x[:1].item()")
KINDS = {float: "number", list: "list", torch.Tensor: "tensor", RuntimeError: "error"}


class Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor):
        self.tensor = tensor.detach()  # with its graph it would keep itself alive


class Watch(list):
    """Batches that write down, after each one, how many tensors graphs keep: as many as after the first, or more."""

    def __iter__(self):
        self.alive, self.counts = weakref.WeakSet(), []
        for batch in super().__iter__():
            yield batch
            self.counts.append(len(self.alive))

    def save(self, tensor):
        self.alive.add(kept := Kept(tensor))
        return kept


def judge_mean_loss(mean_loss):
    """Batches of one size, and batches of which the last is smaller."""
    for count in (16, 27):
        generator = torch.Generator().manual_seed(count)
        images, targets = 3 * torch.randn(count, 6, generator=generator), torch.arange(count) % 3
        batches, model, loss_fn = (
            Watch(zip(images.split(5), targets.split(5), strict=True)),
            nn.Linear(6, 3),
            nn.CrossEntropyLoss(),
        )
        expected = sum(loss_fn(model(images), targets).item() for images, targets in batches) / len(batches)
        with torch.autograd.graph.saved_tensors_hooks(batches.save, lambda kept: kept.tensor):
            answer = call(mean_loss, model, batches, loss_fn)
        yield f"{len(batches)} 个批次的平均损失 · the mean loss of {len(batches)} batches", answer, expected
        kept = len(batches.counts) > 1 and batches.counts[-1] > batches.counts[0]
        yield "同时留着几个批次的图 · graphs of several batches were kept at once", kept, False


class CountedLoss(torch.Tensor):
    """A loss that counts how often its number is asked for."""

    asked = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("item", "tolist", "__float__", "numpy", "cpu", "__format__"):
            cls.asked += 1
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


def judge_logged(logged_points):
    """What is logged of falling losses, and how often a number was asked for."""
    for count, every in ((20, 5), (23, 10), (7, 1), (12, 4)):
        weight = torch.ones((), requires_grad=True)
        values = [round(5 - 0.125 * step, 3) for step in range(1, count + 1)]
        losses = [(weight * value).as_subclass(CountedLoss) for value in values]
        CountedLoss.asked = 0
        answer = call(logged_points, losses, every)
        points = [(step, values[step - 1]) for step in range(every, count + 1, every)]
        yield f"{count} losses, every={every}", answer, points
        yield f"{count} losses: numbers asked for too often", CountedLoss.asked > len(points), False


def kind_of(expression):
    return KINDS[type(attempt(lambda x: eval(expression), [torch.ones(3, requires_grad=True)]))]


q1 = exercise("04.1", judge_prediction({name: kind_of(name) for name in EXPRESSIONS}, tuple(KINDS.values())))
q2 = exercise("04.2", judge_mean_loss)
q3 = exercise("04.3", judge_logged)
