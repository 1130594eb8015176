"""Exercises of 03_training_loop: how long training is, a step, learning rates foretold, a loop to be mended."""

import math

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from tudui_course.checks.judges import call, judge_figure, judge_function, judge_prediction
from tudui_course.checks.table import exercise

STEPS = 10 * math.ceil(50_000 / 64)


def tensors(seed, *shapes):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in shapes]


WEIGHTS, GRADIENTS = tensors(0, (2, 3), (4,), (2,)), [*tensors(1, (2, 3), (4,)), None]


def sgd_step(weights, gradients, lr):
    """The optimizer's own step on copies; a weight without a gradient takes no part in it."""
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    torch.optim.SGD(parameters, lr).step()
    return [parameter.detach() for parameter in parameters]


class Recorder(torch.optim.SGD):
    """An SGD that notes what it is asked for, and whether there were gradients then."""

    def __init__(self, model, lr):
        super().__init__(model.parameters(), lr)
        self.calls = []

    def zero_grad(self, set_to_none=True):
        self.note("zero_grad")
        super().zero_grad(set_to_none)

    def step(self, closure=None):
        self.note("step")
        super().step(closure)

    def note(self, name):
        graded = any(p.grad is not None and p.grad.any() for p in self.param_groups[0]["params"])
        self.calls.append(f"{name} {graded=}")


def judge_train_step(train_step):
    """Three steps, the last on a smaller batch, beside a loop of our own."""
    generator = torch.Generator().manual_seed(4)
    model, reference = nn.Linear(6, 3), nn.Linear(6, 3)
    reference.load_state_dict(model.state_dict())
    loss_fn, optimizer = nn.CrossEntropyLoss(), Recorder(model, 0.2)
    for number, size in enumerate((8, 8, 5), start=1):
        images = torch.randn(size, 6, generator=generator)
        targets = torch.randint(0, 3, (size,), generator=generator)
        loss = loss_fn(reference(images), targets)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter -= 0.2 * gradient
        answer = call(train_step, model, images, targets, loss_fn, optimizer)
        yield f"第 {number} 步的损失 · loss of step {number}", answer, loss.item()
        weights, right = (parameters_to_vector(one.parameters()).detach() for one in (model, reference))
        yield f"第 {number} 步之后的权重 · weights after step {number}", weights, right
        yield f"calls up to step {number}", " ".join(optimizer.calls)
        yield f"optimizer.step() in step {number}", "step" in " ".join(optimizer.calls)


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
    """Five steps on one batch, beside a loop of our own."""
    images, targets = tensors(6, (8, 6))[0], torch.arange(8) % 3
    torch.default_generator.manual_seed(5)
    model, reference = nn.Linear(6, 3), nn.Linear(6, 3)
    reference.load_state_dict(model.state_dict())
    right = []
    for _ in range(5):
        loss = nn.functional.nll_loss(reference(images).log_softmax(1), targets)
        right.append(loss.item())
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter -= 0.01 * gradient
    yield "五步的损失 · the losses of five steps", call(overfit, model, images, targets, 5), right


q1 = exercise("03.1", judge_figure({"步数 · steps": STEPS, "行数 · lines": len(range(100, STEPS + 1, 100))}))
q2 = exercise("03.2", judge_function(sgd_step, [(WEIGHTS, GRADIENTS, 0.1), (WEIGHTS, GRADIENTS, 0.5)]))
q3 = exercise("03.3", judge_train_step)
q4 = exercise("03.4", judge_prediction(ways_down((0.1, 0.9, 1.1)), options=("slides", "zigzags", "diverges")))
q5 = exercise("03.5", judge_overfit)
