"""Exercises of 15_not_learning: four curves to be told apart, six parts of a training, and a pair, to be mended."""

import copy

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import normalize

from tudui_course.checks.base import Wrong
from tudui_course.checks.judges import call, judge_function, judge_prediction, required
from tudui_course.checks.props import exam
from tudui_course.checks.table import exercise

CURVES = {"F": "argmax over the wrong dim", "G": "softmax twice", "H": "no zero_grad", "J": "leaking graph"}


def judge_shuffle(shuffle):
    """Twelve pictures, each of its label's colour, so that a pair torn apart shows."""
    targets = torch.arange(12)
    images = targets[:, None, None, None].expand(12, 3, 2, 2).float()
    pair = required(call(shuffle, images.clone(), targets.clone()), tuple, "两个张量", "two tensors")
    yield "形状 · shapes", [tuple(one.shape) for one in pair], [(12, 3, 2, 2), (12,)]
    shuffled, labels = pair
    colours = shuffled[:, 0, 0, 0].long()
    yield "有的图丢了，有的重复了 · some pictures are lost, some doubled", len(set(colours.tolist())) < 12, False
    yield "图和标签配不上了 · pictures and labels don't belong together", not torch.equal(colours, labels), False
    yield "次序没有打乱 · the order isn't shuffled", torch.equal(colours, targets), False
    yield "pictures moved", not torch.equal(colours, targets)
    yield "labels moved", not torch.equal(labels, targets)


def number(folders):
    """A visible folder's number is how many others stand before it in the alphabet."""
    visible = [name for name in folders if name[0] != "."]
    return {name: sum(other < name for other in visible) for name in sorted(visible)}


FOLDERS = [["cat", "dog"], [".ipynb_checkpoints", "cat", "dog"], ["ship", "cat", "dog"], ["b", ".git", "a", ".cache"]]


def judge_make_optimizer(make_optimizer):
    """A small network takes one step: which layers move, and how far."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    before = copy.deepcopy(model)
    optimizer = required(call(make_optimizer, model, 0.1), torch.optim.Optimizer, "优化器", "an optimizer")
    nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 3).backward()
    optimizer.step()
    for index in (0, 1, 3):
        moved = not torch.equal(model[index].weight, before[index].weight)
        yield f"第 {index} 层没有动 · layer {index} hasn't moved", not moved, False
    yield "学习率 · learning rate", optimizer.param_groups[0]["lr"], 0.1
    yield "动量 · momentum", optimizer.param_groups[0].get("momentum"), 0.9
    yield "parameters in the optimizer", sum(len(group["params"]) for group in optimizer.param_groups)
    yield "gradients", [parameter.requires_grad for parameter in model.parameters()]


def judge_evaluate(evaluate):
    """Three batches, the last one smaller, through a network with BatchNorm and Dropout that comes in training mode."""
    model, loader, *right = exam(10, 4, seed=1)
    pair = required(call(evaluate, model.train(), loader), tuple, "损失和正确率", "loss and accuracy")
    yield "有的批次是在训练模式下测的 · some batches were measured in training mode", any(model.modes), False
    yield "测试时还在记录计算图 · graphs were recorded while testing", any(model.recorded), False
    loss, accuracy = pair
    yield "损失 · loss", loss.item() if isinstance(loss, Tensor) else loss, right[0]
    yield "正确率 · accuracy", accuracy, right[1]
    yield "modes", [str(mode) for mode in model.modes]
    yield "left in", str(model.training)


def normalise(train_images, test_images):
    """Both sets by the training set's mean and spread, channel by channel."""
    channels = train_images.transpose(0, 1).flatten(1)
    mean, std = channels.mean(1), torch.var(channels, 1).sqrt()
    return tuple(normalize(images, mean, std) for images in (train_images, test_images))


def pictures(seed, count, scale, shift):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 4, 4, generator=generator) * scale + torch.tensor(shift)[:, None, None]


SETS = [
    (pictures(0, 8, 0.5, [0.1, 0.2, 0.4]), pictures(1, 4, 0.4, [0.3, 0.2, 0.1])),
    (pictures(2, 6, 0.2, [0.0, 0.5, 0.7]), pictures(3, 5, 0.6, [0.1, 0.1, 0.2])),
]


def judge_new_head(make_optimizer):
    """A small network takes one step: whether its last layer is new, and moves like the others."""
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))
    old = model[-1].weight.detach().clone()
    optimizer = call(make_optimizer, model, 0.1)
    required(optimizer, torch.optim.Optimizer, "优化器", "an optimizer")
    yield "最后一层不是新的 · the last layer isn't new", torch.equal(model[-1].weight, old), False
    before = copy.deepcopy(model)
    nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 3).backward()
    optimizer.step()
    for index in (0, 1, 3):
        still = torch.equal(model[index].weight, before[index].weight)
        yield f"第 {index} 层没有动 · layer {index} hasn't moved", still, False
    yield "parameters in the optimizer", sum(len(group["params"]) for group in optimizer.param_groups)
    yield "the last bias moved", not torch.equal(model[-1].bias, before[-1].bias)
    yield "学习率 · learning rate", optimizer.param_groups[0]["lr"], 0.1
    yield "动量 · momentum", optimizer.param_groups[0].get("momentum"), 0.9
    decay = {id(p): group.get("weight_decay") for group in optimizer.param_groups for p in group["params"]}
    yield "第 0 层的权重衰减 · weight decay of layer 0", decay.get(id(model[0].weight)), 5e-4
    yield "BatchNorm 的权重衰减 · weight decay of BatchNorm", decay.get(id(model[1].weight)), 0.0


def judge_pair(answer):
    """Two functions: pictures as `normalise` leaves them, then single steps on a small network, with old gradients."""
    pair = required(answer if isinstance(answer, tuple) else call(answer), tuple, "两个函数", "two functions")
    if len(pair) != 2:
        raise Wrong("这里要两个函数：normalise 和 train_step。", "This needs two functions, normalise and train_step.")
    normalised = call(pair[0], *(images.clone() for images in SETS[0]))
    yield "normalise(...)", required(normalised, tuple, "两组图", "two sets"), normalise(*SETS[0])
    for count in (8, 4):
        model, images, targets = nn.Linear(6, 3).eval(), torch.randn(count, 6), torch.arange(count) % 3
        weight, right = model.weight, nn.functional.cross_entropy(model(images), targets)
        start, gradient = weight.detach().clone(), torch.autograd.grad(right, weight)[0]
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        loss = call(pair[1], model, images, targets, torch.optim.SGD(model.parameters(), lr=0.1))
        yield f"{count} 张没有在训练模式下算 · {count} pictures not in training mode", not model.training, False
        length = ((start - weight).norm() / gradient.norm() / 0.1).item()
        yield f"一批 {count} 张，步长是该有的几倍 · step on {count} pictures, over the right length", length, 1.0
        yield f"一批 {count} 张，返回的损失 · loss returned for {count} pictures", loss, right.item()


q1 = exercise("15.1", judge_prediction(CURVES, options=tuple(sorted(CURVES.values()))))
q2 = exercise("15.2", judge_shuffle)
q3 = exercise("15.3", judge_function(number, [(folders,) for folders in FOLDERS]))
q4 = exercise("15.4", judge_make_optimizer)
q5 = exercise("15.5", judge_evaluate, within=1e-5)
q6 = exercise("15.6", judge_function(normalise, SETS), within=1e-4)
q7 = exercise("15.7", judge_new_head)
q8 = exercise("15.8", judge_pair, within=1e-4)
