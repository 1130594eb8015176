"""Exercises of 03_training_loop: how long training is, a step, learning rates foretold, a loop to be mended."""

import functools
import math

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_figure, judge_function, judge_prediction
from tudui_course.checks.props import Batches, pictures, tensors, trained, weights_of
from tudui_course.checks.table import exercise

STEPS = 10 * math.ceil(50_000 / 64)


WEIGHTS, GRADIENTS = tensors(0, (2, 3), (4,), (2,)), [*tensors(1, (2, 3), (4,)), None]


def sgd_step(weights, gradients, lr):
    """The optimizer's own step on copies; a weight without a gradient takes no part in it."""
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    torch.optim.SGD(parameters, lr).step()
    return [parameter.detach() for parameter in parameters]


def watch(optimizer, calls):
    """Note what the optimizer is asked for, and whether there were gradients then."""

    def noted(name, method, *arguments, **options):
        graded = any(p.grad is not None and p.grad.any() for p in optimizer.param_groups[0]["params"])
        calls.append(f"{name} {graded=}")
        return method(*arguments, **options)

    for name in ("zero_grad", "step"):
        setattr(optimizer, name, functools.partial(noted, name, getattr(optimizer, name)))


def judge_train_step(train_step):
    """Three steps, the last on a smaller batch, beside the package's own loop."""
    model, calls = nn.Linear(6, 3), []
    reference, loss_fn, optimizer = model, nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.2)
    watch(optimizer, calls)
    for number, batch in enumerate(Batches(*pictures(21, seed=4), 8), start=1):
        reference, [loss] = trained(reference, [batch], 0.2)
        yield f"第 {number} 步的损失 · loss of step {number}", call(train_step, model, *batch, loss_fn, optimizer), loss
        yield f"第 {number} 步之后的权重 · weights after step {number}", weights_of(model), weights_of(reference)
        yield f"calls up to step {number}", " ".join(calls)
        yield f"optimizer.step() in step {number}", "step" in " ".join(calls)


def ways_down(rates):
    """How gradient descent on w * w, from w = 1, behaves with each learning rate."""
    ways = {}
    for lr in rates:
        w = [1.0]
        for _ in range(20):
            w.append(w[-1] - lr * 2 * w[-1])
        ways[f"lr {lr}"] = "diverges" if abs(w[-1]) > 1 else "zigzags" if w[1] < 0 else "slides"
    return ways


def judge_overfit(overfit):
    """Five steps on one batch, beside the package's own loop."""
    model, batch = nn.Linear(6, 3), pictures(8, seed=6)
    _, losses = trained(model, [batch] * 5, 0.01)
    yield "五步的损失 · the losses of five steps", call(overfit, model, *batch, 5), losses


q1 = exercise("03.1", judge_figure({"步数 · steps": STEPS, "行数 · lines": len(range(100, STEPS + 1, 100))}))
q2 = exercise("03.2", judge_function(sgd_step, [(WEIGHTS, GRADIENTS, 0.1), (WEIGHTS, GRADIENTS, 0.5)]))
q3 = exercise("03.3", judge_train_step)
q4 = exercise("03.4", judge_prediction(ways_down((0.1, 0.9, 1.1)), options=("slides", "zigzags", "diverges")))
q5 = exercise("03.5", judge_overfit)
