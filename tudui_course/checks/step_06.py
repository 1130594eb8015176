"""Exercises of 06_checkpoints: a folder that exists, weights kept in memory, going on after a stop."""

import contextlib
import os
import pickle
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from tudui_course.checks.compare import Words, same
from tudui_course.checks.judges import call, required, state
from tudui_course.checks.table import exercise


def start(seed):
    """A tiny network with BatchNorm, and an SGD with momentum."""
    torch.default_generator.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train_a_step(model, optimizer):
    optimizer.zero_grad()
    model(torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum().backward()
    optimizer.step()


def differ(one, other):
    """Whether two state_dicts hold other numbers."""
    return not same(state(dict(one)), state(dict(other)), within=0)


def judge_path(checkpoint_path):
    """A folder that is there, one that is missing, and one whose parent is missing too."""
    with tempfile.TemporaryDirectory() as root:
        Path(root, "there").mkdir()
        for name, i in (("there", 0), ("missing", 3), ("also/missing", 11)):
            folder, what = Path(root, name), f"folder {name}, i={i}"
            path = Path(required(call(checkpoint_path, folder, i), Path | str, "一个路径", "a path"))
            yield f"{what}：文件名 · {what}: the file's name", Words(path.name), Words(f"tudui_{i}.pth")
            yield f"{what}：不在文件夹里 · {what}: it isn't in the folder", path.parent != folder, False
            yield f"{what}：文件名成了文件夹 · {what}: the file is a folder", path.is_dir(), False
            yield f"{what}：文件夹还不存在 · {what}: the folder doesn't exist yet", not folder.is_dir(), False


def judge_keep(keep):
    """Call it, train one step further, and see whether what was kept has changed. Two networks: no constant passes."""
    for seed in (1, 2):
        model, optimizer = start(seed)
        train_a_step(model, optimizer)
        before, what = state(model.state_dict()), f"keep(model {seed})"
        kept = call(keep, model)
        yield f"{what}：网络被改动了 · {what}: the network was changed", differ(model.state_dict(), before), False
        tensors = isinstance(kept, dict) and all(isinstance(value, torch.Tensor) for value in kept.values())
        names = ", ".join(sorted(map(str, kept))) if tensors else type(kept).__name__
        yield what, Words(names), Words(", ".join(sorted(before)))
        yield f"{what} 里的 · {what}", state(dict(kept)), before
        train_a_step(model, optimizer)
        yield f"{what}：后来跟着变了 · {what}: it changed later", differ(kept, before), False


class Witness(str):
    """Rebuilt from a file, it makes a folder of this name: code from the file has run. Harmless."""

    def __reduce__(self):
        return os.mkdir, (str(self),)


def save(path, epoch, **more):
    """Write such a file, and return the model and optimizer that it holds."""
    model, optimizer = start(seed=3)
    train_a_step(model, optimizer)
    torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict(), **more}, path)
    return model, optimizer


def judge_resume(resume):
    """Two epochs, each beside a run without a break; a file from a GPU, and one with somebody's code in it."""
    with tempfile.TemporaryDirectory() as root:
        path, woken = Path(root, "tudui_4.pth"), Path(root, "woken")
        for epoch in (4, 0):
            reference, ours, what = save(path, epoch), start(seed=4), f"epoch {epoch}"
            answer = call(resume, path, *ours)
            both = [model.state_dict() for model, _ in (ours, reference)]
            yield f"{what}：网络没有恢复 · {what}: the network isn't back", differ(*both), False
            train_a_step(*reference)
            train_a_step(*ours)
            yield f"{what}：下一步不同 · {what}: the next step differs", differ(*both), False
            yield f"文件里 epoch 是 {epoch}，返回的 · returned for a file of epoch {epoch}", answer, epoch + 1
        with mock.patch("torch.serialization.location_tag", return_value="cuda:99"):
            save(path, epoch=2)
        call(resume, path, *start(seed=4))
        save(path, epoch=2, gift=Witness(woken))
        with contextlib.suppress(pickle.UnpicklingError, OSError, ValueError):  # refused, as it should be
            call(resume, path, *start(seed=4))
        yield "文件里的代码运行了 · code from the file ran", woken.exists(), False


q1 = exercise("06.1", judge_path)
q2 = exercise("06.2", judge_keep)
q3 = exercise("06.3", judge_resume)
