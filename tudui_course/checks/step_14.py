"""Exercises of 14_regularisation: decay for weights only, augmentation foretold, flips, early stopping to be mended."""

import torch
from torch import nn

from tudui_course.checks.judges import call, judge_prediction, required
from tudui_course.checks.props import Loaded, tensors
from tudui_course.checks.table import exercise

# With augmented training pictures, beside the same training without; the notebook tries it.
AUGMENTED = {"training loss": "higher", "test loss": "lower"}


def judge_groups(decay_groups):
    """Groups for SGD: by what share each parameter of a small network shrinks in a step without gradients."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    groups = required(call(decay_groups, model, 0.5), list, "一个列表，里面是两个字典", "a list of two dictionaries")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
            parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(groups, lr=0.1)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    optimizer.step()
    for name, parameter in model.named_parameters():
        yield f"{name} 哪一组都不在 · {name} is in no group", id(parameter) not in held, False
        left = 0.95 if parameter.dim() > 1 else 1.0
        yield f"{name} 一步之后剩下 · of {name} a step leaves", parameter.mean().item(), left


def judge_flips(flip):
    """Batches of 64 different pictures: which come back as they were, which mirrored, and whether all alike."""
    [images] = tensors(2, (64, 3, 32, 32))
    given, mirrored, counts, as_expected = images.clone(), images.flip(3), [], True
    upside_down = False
    for seed in range(4):
        torch.default_generator.manual_seed(seed)
        answer = required(call(flip, images), torch.Tensor, "一批图片", "a batch of pictures")
        yield "形状 · the shape", list(answer.shape), list(images.shape)
        flipped = (answer == mirrored).flatten(1).all(1)
        as_expected &= bool((flipped | (answer == given).flatten(1).all(1)).all())
        counts.append(int(flipped.sum()))
        upside_down |= bool((answer == given.flip(2)).flatten(1).all(1).any())
    yield "你的函数改动了 images · your function changed images", not torch.equal(images, given), False
    yield "有的图既不是原样，也不是镜像 · some pictures are neither as they were nor mirrored", not as_expected, False
    yield "整批一起翻，或一起不翻 · all of a batch are mirrored, or none", set(counts) <= {0, 64}, False
    yield "翻的远不是一半 · far from half of them are mirrored", not 96 <= sum(counts) <= 160, False
    yield "counts", f"{counts} {upside_down=}"


def judge_stopping(train_until_it_stops):
    """A network whose one weight counts its epochs, with losses given beforehand; the last of them is never seen."""
    for losses, patience in (([2.0, 1.5, 1.7, 1.6, 1.2, 1.3, 1.25, 1.4, 0.1], 3), ([1.0, 1.1, 1.2, 0.5], 2)):
        model, seen = Loaded(), []

        def validate(network, losses=losses, seen=seen):
            seen.append(losses[len(seen)])
            return seen[-1]

        answer, label = call(train_until_it_stops, model, Loaded.count, validate, patience), f"patience={patience}"
        best = min(losses[:-1])
        epoch = round(model.weight.item())
        yield f"{label}，练了几轮 · {label}, epochs trained", len(seen), len(losses) - 1
        yield f"{label}，权重是第几轮的 · {label}, the epoch of the weights", epoch, losses.index(best) + 1
        yield f"{label}，返回的损失 · {label}, the loss returned", answer, best
        yield f"{label} loaded", " ".join(model.notes)


q1 = exercise("14.1", judge_groups)
q2 = exercise("14.2", judge_prediction(AUGMENTED, options=("lower", "the same", "higher")))
q3 = exercise("14.3", judge_flips)
q4 = exercise("14.4", judge_stopping)
