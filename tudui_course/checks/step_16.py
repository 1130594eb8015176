"""Exercises of 16_blank_page: two pieces of the routine, a restart foretold, a resume to be mended, the whole."""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from tudui_course.checks.judges import call, differ, judge_prediction, state
from tudui_course.checks.props import Batches, Watched, exam, pictures, save, start, train_a_step, trained, weights_of
from tudui_course.checks.routine import CHECKPOINT, judge_routine
from tudui_course.checks.table import exercise


def judge_epoch(train_one_epoch):
    """An epoch whose last batch is smaller, and one of full batches, beside the package's own."""
    for count, size in ((20, 8), (12, 4)):
        torch.default_generator.manual_seed(size)
        model, loader = Watched(nn.BatchNorm1d(6), nn.Linear(6, 3)).eval(), Batches(*pictures(count, seed=count), size)
        of = f"{count} 张图，每批 {size} 张，%s · {count} pictures in batches of {size}, %s"
        before, (reference, losses) = weights_of(model), trained(model, loader, 0.1)
        right = sum(loss * len(targets) for loss, (_, targets) in zip(losses, loader, strict=True)) / count
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        answer = call(train_one_epoch, model, loader, nn.CrossEntropyLoss(), optimizer)
        yield "没有用到网络 · the network was never called", not model.modes, False
        yield "网络不在训练模式 · the network wasn't in training mode", not all(model.modes), False
        yield "权重没有变 · the weights haven't changed", torch.equal(weights_of(model), before), False
        yield of % ("权重", "the weights"), weights_of(model), weights_of(reference)
        yield of % ("每张图的平均损失", "the mean loss of a picture"), answer, right


def judge_evaluate(evaluate):
    """A test set whose last batch is smaller, and one of full batches; the network comes in training mode."""
    for count, size in ((20, 8), (12, 4)):
        of = f"{count} 张图，每批 {size} 张，%s · {count} pictures in batches of {size}, %s"
        model, loader, _, right = exam(count, size, seed=count)
        before = state(model.layers.state_dict())
        answer = call(evaluate, model.train(), loader)
        yield "没有用到网络 · the network was never called", not model.modes, False
        yield "网络不在评估模式 · the network wasn't in evaluation mode", any(model.modes), False
        yield "记录了计算图 · the graph was recorded", any(model.recorded), False
        yield "网络变了 · the network has changed", differ(model.layers.state_dict(), before), False
        yield of % ("正确率", "the accuracy"), answer, right


def order_of_the_third_epoch():
    """Try it: after two epochs and a restart, the order that each way of beginning again leads to."""
    loader, orders = DataLoader(range(100), shuffle=True), {}

    def epoch():
        return str([int(index) for index in loader])

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        first, _, random, third = epoch(), epoch(), torch.get_rng_state(), epoch()
        torch.default_generator.manual_seed(0)
        orders["manual_seed(0) again"] = epoch()
        torch.default_generator.manual_seed(12345)  # as good as any seed that a new process may get
        orders["no seed"] = epoch()
        torch.set_rng_state(random)
        orders["set_rng_state(saved)"] = epoch()
    known = {first: "as epoch 1", third: "as epoch 3"}
    return {way: known.get(order, "a new one") for way, order in orders.items()}


def judge_load(load):
    """Two files, each beside the run that it holds."""
    with tempfile.TemporaryDirectory() as root:
        for epoch, seed in ((2, 3), (5, 4)):
            random = {one: torch.Generator().manual_seed(one).get_state() for one in (0, epoch, seed)}
            path, ours = Path(root, CHECKPOINT), start(seed=9)
            reference, answer = save(path, epoch, random=random[seed]), call(load, path, *ours)
            weights = [model.state_dict() for model, _ in (ours, reference)]
            seeds = [one for one, drawn_from in random.items() if torch.equal(torch.get_rng_state(), drawn_from)]
            of = f"练完 {epoch} 轮的文件，%s · a file of {epoch} epochs, %s"
            yield of % ("网络没有恢复", "the network isn't back"), differ(*weights), False
            yield of % ("随机数不对", "other random numbers"), seed not in seeds, False
            yield f"seeds of {epoch}", seeds
            train_a_step(*ours)
            train_a_step(*reference)
            yield of % ("下一步不同", "the next step differs"), differ(*weights), False
            yield of % ("返回的轮数", "the number returned"), answer, epoch


q1 = exercise("16.1", judge_epoch)
q2 = exercise("16.2", judge_evaluate)
q3 = exercise("16.3", judge_prediction(order_of_the_third_epoch(), options=("as epoch 1", "as epoch 3", "a new one")))
q4 = exercise("16.4", judge_load)
q5 = exercise("16.5", judge_routine, to_first_wrong=True)
