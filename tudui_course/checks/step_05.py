"""Exercises of 05_no_grad_and_tensorboard: what requires a gradient, a test loss, steps to be mended, overfitting."""

import math

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_figure, judge_prediction
from tudui_course.checks.props import Batches, Watched
from tudui_course.checks.table import exercise

LESSON_SUM = 194.5557427406311  # what the lesson printed after epoch 10


def flags():
    """What requires a gradient, where w does and a doesn't."""
    a, w = torch.ones(3), torch.ones(3, requires_grad=True)
    with torch.no_grad():
        inside, old = w * 2, w
    made = {"a * w": a * w, "a * 2": a * 2, "w.argmax()": w.argmax(), "w.detach() * a": w.detach() * a}
    made |= {"inside no_grad: w * 2": inside, "inside no_grad: w": old}
    return {name: tensor.requires_grad for name, tensor in made.items()}


def batches(count, size, seed):
    """A loader of `count` random inputs in batches of `size`."""
    generator = torch.Generator().manual_seed(seed)
    images, targets = 4 * torch.randn(count, 6, generator=generator), torch.randint(0, 3, (count,), generator=generator)
    return Batches(images, targets, size)


def judge_test_loss(test_loss):
    """A test set of full batches, and one whose last is smaller, beside torch's own mean over all pictures."""
    recorded = []
    for count, size in ((12, 4), (16, 5)):
        torch.default_generator.manual_seed(2)
        model, loader, loss_fn = Watched(nn.Linear(6, 3)), batches(count, size, seed=size), nn.CrossEntropyLoss()
        images, targets = map(torch.cat, zip(*loader, strict=True))
        expected = loss_fn(model.layers(images), targets).item()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        answer = call(test_loss, model, loader, loss_fn)
        changed = any(not torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))
        frozen = not all(parameter.requires_grad for parameter in model.parameters())
        yield "权重变了：测试时不能训练 · the weights have changed: testing must not train", changed, False
        yield "参数的 requires_grad 成了 False · the parameters have requires_grad=False now", frozen, False
        yield f"{count} 张图，每批 {size} 张 · {count} pictures in batches of {size}", answer, expected
        recorded += model.recorded
    yield "每个批次都白白记了图 · a graph was recorded for each batch, for nothing", any(recorded), False


def judge_steps(train_and_log):
    """Three epochs of twenty batches: what was logged, and under which steps."""
    torch.default_generator.manual_seed(3)
    model, loader, points = nn.Linear(6, 3), batches(80, 4, seed=3), []
    reference = nn.Linear(6, 3)
    reference.load_state_dict(model.state_dict())
    loss_fn, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), 0.01)
    call(train_and_log, model, loader, loss_fn, optimizer, 3, lambda *point: points.append(point))
    yield "步数 · steps", [point[-1] for point in points], list(range(10, 61, 10))
    yield "标签 · tags", [point[0] for point in points], ["train_loss"] * len(points)
    expected, optimizer = [], torch.optim.SGD(reference.parameters(), 0.01)
    for images, targets in [*loader] * 3:
        loss = loss_fn(reference(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    yield "值 · values", [point[1] for point in points], expected[9::10]


q1 = exercise("05.1", judge_prediction(flags(), options=(True, False)))
q2 = exercise("05.2", judge_test_loss)
q3 = exercise("05.3", judge_figure(LESSON_SUM / math.ceil(10_000 / 64)), within=6e-4)
q4 = exercise("05.4", judge_steps)
q5 = exercise(
    "05.5",
    judge_prediction(
        {"training loss": "falls", "test loss": "falls then rises"}, options=("falls", "rises", "falls then rises")
    ),
)
