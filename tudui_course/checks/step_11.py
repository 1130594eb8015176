"""Exercises of 11_better_recipe: what may be reported, a one-cycle learning rate, a step of Nesterov momentum."""

from functools import cache
from numbers import Real

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_function
from tudui_course.checks.table import exercise

# Validation and test accuracies of several models; which one is best differs between the two.
MODELS = (
    ([0.61, 0.70, 0.58, 0.66, 0.63], [0.66, 0.65, 0.60, 0.69, 0.62]),
    ([0.52, 0.43, 0.47], [0.44, 0.48, 0.46]),
    ([0.31, 0.33, 0.36, 0.39, 0.35], [0.38, 0.32, 0.41, 0.37, 0.29]),
    ([0.75], [0.71]),
)
RUNS = ((100, 0.03), (42, 0.2), (40, 1.0))  # steps and peak; one has a corner between two steps


def reportable(val, test):
    return max(zip(val, test, strict=True))[1]


@cache
def torch_rates(steps, peak):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps, pct_start=0.25, anneal_strategy="linear",
        cycle_momentum=False, div_factor=10, final_div_factor=1000,
    )  # fmt: skip
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def one_cycle(step, steps, peak):
    return torch_rates(steps, peak)[step]


def judge_cycle(answer):
    """First what catches the eye, then each step of three runs."""
    steps, peak = RUNS[0]
    rates = [call(answer, step, steps, peak) for step in range(steps)]
    if all(isinstance(rate, Real) for rate in rates):
        yield "每一步的学习率都一样 · the rate is the same at each step", len(set(rates)) == 1, False
        yield "有几步的学习率是负的 · the rate is negative at some steps", min(rates) < 0, False
    cases = [(step, steps, peak) for steps, peak in RUNS for step in range(steps)]
    yield from judge_function(one_cycle, cases)(answer)


def nesterov_step(weights, gradients, velocities, lr, mu, decay):
    parameters = [nn.Parameter(weight) for weight in weights]
    optimizer = torch.optim.SGD(parameters, lr, momentum=mu, weight_decay=decay, nesterov=True)
    for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True):
        parameter.grad = gradient
        optimizer.state[parameter]["momentum_buffer"] = velocity
    optimizer.step()


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((3, 2), (4,), (1,))]


STEPS = [
    (tensors(0), tensors(1), velocities, *numbers)
    for numbers in ((0.1, 0.9, 0.0), (0.1, 0.9, 0.2), (0.05, 0.5, 0.1))  # lr, mu, decay
    for velocities in ([tensor * 0 for tensor in tensors(2)], tensors(2))
]

q1 = exercise("11.1", judge_function(reportable, MODELS))
q2 = exercise("11.2", judge_cycle, within=1e-9)
q3 = exercise("11.3", judge_function(nesterov_step, STEPS))
