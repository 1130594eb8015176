"""Exercises of 06_checkpoints: a folder that exists, the best epoch kept, what a resumed run needs, going on."""

import contextlib
import copy
import os
import pickle
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from tudui_course.checks.compare import Words
from tudui_course.checks.judges import call, differ, judge_prediction, required
from tudui_course.checks.props import Loaded, save, start, train_a_step
from tudui_course.checks.table import exercise

QUESTIONS = (
    "all four parts",
    "without the optimizer",
    "without the optimizer, SGD has no momentum",
    "without the random state",
    "without the random state, nothing is shuffled",
)


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


def judge_best(train_and_keep_best):
    """Trainings whose accuracies are written down beforehand, the best in the middle, first, last, or twice."""
    for scores in ((0.3, 0.8, 0.1), (0.7, 0.2), (0.1, 0.5, 0.9), (0.2, 0.6, 0.6, 0.4), (0.0, 0.0)):
        model, epochs, accuracies = Loaded(), [], iter(scores)

        def train(model, epoch, epochs=epochs):
            epochs.append(epoch)
            model.count()

        answer = call(train_and_keep_best, model, len(scores), train, lambda _, left=accuracies: next(left))
        what, best = f"正确率 {scores}%s · accuracies {scores}%s", scores.index(max(scores))
        yield what % ("：练的轮", ": epochs trained"), epochs, list(range(len(scores)))
        yield what % ("：装回去的是第几轮", ": the epoch put back"), round(model.weight.item()), best + 1
        yield what % ("：返回的", ": returned"), answer, max(scores)
        yield f"{scores}: put back", " ".join(model.notes)  # tells dict(...) from what was given


def resumed_runs():
    """What becomes of a run whose second half starts from a checkpoint, by what is missing from it; found by trying."""
    answers = {}
    for name in QUESTIONS:
        shuffle, momentum = "nothing is" not in name, 0.0 if "no momentum" in name else 0.9
        model, order = nn.Linear(4, 2), torch.Generator().manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=momentum)
        train_steps(model, optimizer, order, shuffle)
        (resumed, its_optimizer), its_order = copy.deepcopy((model, optimizer)), torch.Generator().manual_seed(1)
        if "without the optimizer" in name:
            its_optimizer.state.clear()
        if "without the random" not in name:
            its_order.set_state(order.get_state())
        train_steps(model, optimizer, order, shuffle)
        train_steps(resumed, its_optimizer, its_order, shuffle)
        answers[name] = "different" if differ(model, resumed) else "same"
    return answers


def train_steps(model, optimizer, order, shuffle):
    """One epoch of eight steps."""
    images = torch.linspace(-1, 1, 32).reshape(8, 4)
    for place in torch.randperm(8, generator=order) if shuffle else range(8):
        optimizer.zero_grad()
        (model(images[place]) - place).square().sum().backward()
        optimizer.step()


class Witness(str):
    """Rebuilt from a file, it makes a folder of this name: code from the file has run. Harmless."""

    def __reduce__(self):
        return os.mkdir, (str(self),)


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
q2 = exercise("06.2", judge_best)
q3 = exercise("06.3", judge_prediction(resumed_runs(), options=("same", "different")))
q4 = exercise("06.4", judge_resume)
