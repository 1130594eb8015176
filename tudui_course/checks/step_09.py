"""Exercises of 09_device_and_precision: a step on any device, timing, sums in bfloat16, a training to be mended."""

import itertools
import statistics

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tudui_course.checks.compare import Words
from tudui_course.checks.judges import attempt, call, judge_prediction, required
from tudui_course.checks.props import pictures, trained, weights_of
from tudui_course.checks.table import exercise
from tudui_course.model import Tudui

LAUNCH, FIRST = 0.001, 3.0  # seconds that the CPU takes to queue a piece of work, and of the first piece


def judge_step(first_step):
    """On meta, where everything must have been moved; then on the CPU, where the numbers can be checked.

    The network comes with old gradients, as it does in any step but the first.
    """
    for device, count in (("meta", 4), ("cpu", 4), ("cpu", 3)):
        model, images, targets = Tudui(), torch.rand(count, 3, 32, 32), torch.arange(count)
        (reference, [expected]), stepped, seen = trained(model, [(images, targets)], 0.01), [], []
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        model.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].device.type))
        with register_optimizer_step_post_hook(lambda optimizer, *_, stepped=stepped: stepped.append(optimizer)):
            loss = attempt(first_step, [model, images, targets, torch.device(device)])
        what = f'device="{device}"'
        yield f"{what}: network and images on", f"{next(model.parameters()).device} {seen}"
        if isinstance(loss, Exception):
            yield what, loss, None
            return
        loss = required(loss, Tensor, " loss 这个张量", "the tensor loss")
        yield f"{what}，损失的设备 · {what}, the loss's device", str(loss.device), device
        yield f"{what}，step() 的次数 · {what}, calls of step()", len(stepped), 1
        held = {id(parameter) for group in stepped[0].param_groups for parameter in group["params"]}
        other = not held >= {id(parameter) for parameter in model.parameters()}
        yield f"{what}：优化器管的不是这个网络 · {what}: the optimizer holds another network's weights", other, False
        if device == "cpu":
            yield f"{what}，损失 · {what}, the loss", loss.detach(), torch.tensor(expected)
            yield f"{what}，权重 · {what}, the weights", weights_of(model), weights_of(reference)


class RunsAhead:
    """A made-up device: `work` only queues, `synchronize` waits, and the first piece of work takes long.

    Its times repeat with the period of `durations`, so any so many in a row have the same median.
    """

    def __init__(self, durations):
        self.durations = itertools.chain([FIRST], itertools.cycle(durations))
        self.now, self.busy_until, self.works, self.asked = 100.0, 0.0, 0, 0

    def work(self):
        self.works += 1
        self.now += LAUNCH
        self.busy_until = max(self.now, self.busy_until) + next(self.durations)

    def synchronize(self):
        self.now = max(self.now, self.busy_until)

    def clock(self):
        self.asked += 1
        return self.now


def judge_timing(median_seconds):
    """Seven repetitions, then three: whoever wrote the number into the function is found out."""
    works = []
    for durations in ([0.3, 0.1, 0.4, 1.2, 1.6, 0.8, 0.2], [0.5, 0.9, 0.2]):
        device, count = RunsAhead(durations), len(durations)
        answer = call(median_seconds, device.work, device.synchronize, device.clock, count)
        what = f"repetitions={count}"
        yield f"{what}：没有调用 work() · {what}: work() was never called", not device.works, False
        yield f"{what}：没有用 clock() · {what}: clock() wasn't used", not device.asked, False
        works.append(device.works)
        fixed = len(works) == 2 and works[0] == works[1]
        yield "work() 的次数不随 repetitions 变 · work() is called as often whatever repetitions is", fixed, False
        yield what, answer, statistics.median(durations) + LAUNCH
        yield f"calls of work(), {what}", device.works


def sums_in_bfloat16():
    """Which sums of bfloat16 numbers differ from the first number."""
    sums = {"1 + 0.01": (1, 0.01), "1 + 0.001": (1, 0.001), "128 + 1": (128, 1), "256 + 1": (256, 1)}
    totals = {text: torch.tensor(number, dtype=torch.bfloat16) + small for text, (number, small) in sums.items()}
    return {text: "grows" if totals[text] > number else "stays" for text, (number, _) in sums.items()}


def judge_low(train_low):
    """Four steps, beside the package's own loop: which types occurred, and the losses."""
    model, batch = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), pictures(8, seed=3)
    (_, expected), kinds, autocasts = trained(model, [batch] * 4, 0.01, precision="bfloat16"), [], []
    model.register_forward_hook(lambda *arguments: kinds.append(str(arguments[2].dtype)))
    model.register_forward_hook(lambda *_: autocasts.append(torch.is_autocast_enabled("cpu")))
    losses = attempt(train_low, [model, *batch, 4])
    if isinstance(losses, Exception):
        yield "train_low(...)", losses, None
        return
    weights = {str(parameter.dtype) for parameter in model.parameters()}
    yield "权重 · the weights", Words(*weights), Words("torch.float32")
    yield "网络的输出 · the network's output", Words(*kinds[-1:]), Words("torch.bfloat16")
    yield "四步的损失 · the losses of four steps", losses, expected
    yield "autocast in each step", Words(autocasts)


q1 = exercise("09.1", judge_step)
q2 = exercise("09.2", judge_timing)
q3 = exercise("09.3", judge_prediction(sums_in_bfloat16(), options=("grows", "stays")))
q4 = exercise("09.4", judge_low)
