"""Exercises of 13_optimisation: best rates foretold, steps of momentum, clipping, a schedule to be mended."""

import copy

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_function, judge_prediction
from tudui_course.checks.props import Batches, pictures, tensors, weights_of
from tudui_course.checks.table import exercise
from tudui_course.loop import train_one_epoch

# What becomes of the best learning rate; the notebook tries all four.
BEST_RATE = {
    "SGD, pictures 4 times as large": "smaller",
    "SGD, momentum 0.9 added": "smaller",
    "SGD, loss divided by 10": "larger",
    "AdamW, loss divided by 10": "the same",
}


def moves(gradients, lr, mu):
    """How far torch's own SGD moves a weight at each step."""
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer, found = torch.optim.SGD([weight], lr, momentum=mu, nesterov=True), []
    for gradient in gradients:
        before, weight.grad = weight.item(), torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        found.append(weight.item() - before)
    return found


MOVES = [
    ([1.0, 1.0, 1.0, 1.0], 0.1, 0.9),  # all one way
    ([1.0, -1.0, 1.0, -1.0], 0.1, 0.9),  # to and fro
    ([2.0, 0.5, -1.0], 0.01, 0.5),
]


def clip(gradients, limit):
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    nn.utils.clip_grad_norm_(parameters, limit)
    return [parameter.grad for parameter in parameters]


LONG, LONE = tensors(0, (2, 3), (4,), ()), tensors(1, (5,))
CLIPS = [(LONG, 1.0), (LONE, 0.5), ([3 * LONE[0], 0.1 * LONE[0]], 2.0), (LONG, 50.0)]  # the last are short enough


def judge_schedule(train_with_schedule):
    """Three epochs of four batches with a rate that rises and falls: the rates used, and the weights at the end."""
    model, loader, loss_fn = nn.Linear(6, 3), Batches(*pictures(16, seed=3), 4), nn.CrossEntropyLoss()
    reference = copy.deepcopy(model)

    def parts(network):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.4)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=13)

    answer = call(train_with_schedule, model, loader, loss_fn, *parts(model), 3)
    optimizer, scheduler = parts(reference)
    rates = scheduler.get_last_lr()
    train_one_epoch(
        reference, loader * 3, loss_fn, optimizer, scheduler=scheduler,
        log=lambda *_: rates.append(*scheduler.get_last_lr()), log_every=1,
    )  # fmt: skip
    yield "12 步的学习率 · the rates of 12 steps", answer, rates[:-1]
    yield "最后的权重 · the weights at the end", weights_of(model), weights_of(reference)


q1 = exercise("13.1", judge_prediction(BEST_RATE, options=("smaller", "the same", "larger")))
q2 = exercise("13.2", judge_function(moves, MOVES))
q3 = exercise("13.3", judge_function(clip, CLIPS))
q4 = exercise("13.4", judge_schedule)
