"""Exercises of 16_blank_page: two pieces of the routine, a restart foretold, a resume to be mended, the whole."""

import copy
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.utils.data import DataLoader

from tudui_course.checks.compare import same
from tudui_course.checks.judges import call, judge_prediction, state
from tudui_course.checks.props import Batches, Watched
from tudui_course.checks.routine import CHECKPOINT, judge_routine
from tudui_course.checks.table import exercise

# ---- two pieces ----


def pictures(count, seed):
    """Random inputs of six numbers, and random targets of three classes."""
    generator = torch.Generator().manual_seed(seed)
    return 2 + 3 * torch.randn(count, 6, generator=generator), torch.randint(0, 3, (count,), generator=generator)


def watched(seed):
    """A network with BatchNorm, in evaluation mode, whose running mean is off."""
    torch.default_generator.manual_seed(seed)
    model = Watched(nn.BatchNorm1d(6), nn.Linear(6, 3)).eval()
    model.layers[0].running_mean += 1.5
    return model


def in_batches(count, size, what):
    chinese, english = what.split(" · ")
    return f"{count} 张图，每批 {size} 张，{chinese} · {count} pictures in batches of {size}, {english}"


def judge_epoch(train_one_epoch):
    """An epoch whose last batch is smaller, and one of full batches, beside a loop of our own."""
    for count, size in ((20, 8), (12, 4)):
        images, targets = pictures(count, seed=count)
        model, loader = watched(seed=size), Batches(images, targets, size)
        reference, losses = copy.deepcopy(model.layers).train(), []
        for inputs, wanted in loader:
            loss = nn.functional.nll_loss(reference(inputs).log_softmax(1), wanted)
            losses.append(loss.item() * len(wanted))
            gradients = torch.autograd.grad(loss, list(reference.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                    parameter -= 0.1 * gradient
        start = parameters_to_vector(model.parameters()).detach().clone()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        answer = call(train_one_epoch, model, loader, nn.CrossEntropyLoss(), optimizer)
        weights, right = (parameters_to_vector(one.parameters()).detach() for one in (model.layers, reference))
        yield "没有用到网络 · the network was never called", not model.modes, False
        yield "网络不在训练模式 · the network wasn't in training mode", not all(model.modes), False
        yield "权重没有变 · the weights haven't changed", torch.equal(weights, start), False
        yield in_batches(count, size, "权重 · the weights"), weights, right
        yield in_batches(count, size, "每张图的平均损失 · the mean loss of a picture"), answer, sum(losses) / count


def judge_evaluate(evaluate):
    """A test set whose last batch is smaller, and one of full batches; the network comes in training mode."""
    for count, size in ((20, 8), (12, 4)):
        images, targets = pictures(count, seed=2 * count)
        model = watched(seed=size).train()
        with torch.no_grad():
            answers = copy.deepcopy(model.layers).eval()(images).argmax(1)
        targets = torch.where(torch.arange(count) % 7 < 4, answers, targets)  # right on more than half of them
        before = state(model.layers.state_dict())
        answer = call(evaluate, model, Batches(images, targets, size))
        yield "没有用到网络 · the network was never called", not model.modes, False
        yield "网络不在评估模式 · the network wasn't in evaluation mode", any(model.modes), False
        yield "记录了计算图 · the graph was recorded", any(model.recorded), False
        yield "网络变了 · the network has changed", not same(state(model.layers.state_dict()), before, within=0), False
        right = (answers == targets).double().mean().item()
        yield in_batches(count, size, "正确率 · the accuracy"), answer, right


# ---- a restart foretold ----


def order_of_the_third_epoch():
    """Try it: after two epochs and a restart, the order that each way of beginning again leads to."""

    def epochs(count):
        loader = DataLoader(range(100), shuffle=True)
        return [[int(index) for index in loader] for _ in range(count)]

    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(0)
        whole = epochs(2)
        random = torch.get_rng_state()
        whole += epochs(1)
        torch.default_generator.manual_seed(0)
        orders = {"manual_seed(0) again": epochs(1)[0]}
        torch.default_generator.manual_seed(12345)  # as good as any seed that a new process may get
        orders["no seed"] = epochs(1)[0]
        torch.set_rng_state(random)
        orders["set_rng_state(saved)"] = epochs(1)[0]
    known = {"as epoch 1": whole[0], "as epoch 3": whole[2]}
    return {way: next((name for name in known if known[name] == got), "a new one") for way, got in orders.items()}


# ---- a resume to be mended ----


def start(seed):
    """A tiny network with Dropout, and an SGD with momentum."""
    torch.default_generator.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def train_a_step(model, optimizer):
    optimizer.zero_grad()
    model.eval()(torch.linspace(-1, 1, 12).reshape(3, 4)).square().sum().backward()  # eval: no random numbers
    optimizer.step()


def first_numbers(seed):
    return torch.rand(5, generator=torch.Generator().manual_seed(seed))


def judge_load(load):
    """Two files, each beside a run that was never stopped."""
    with tempfile.TemporaryDirectory() as root:
        for epoch, seed in ((2, 3), (5, 4)):
            path, reference = Path(root, CHECKPOINT), start(seed)
            train_a_step(*reference)
            model, optimizer = (part.state_dict() for part in reference)
            random = torch.get_rng_state()
            torch.save({"epoch": epoch, "model": model, "optimizer": optimizer, "random": random}, path)
            right = torch.rand(5)
            ours = start(seed=9)
            answer = call(load, path, *ours)
            drawn = torch.rand(5)
            seeds = [one for one in (0, epoch) if torch.equal(drawn, first_numbers(one))]
            weights = [one[0].state_dict() for one in (ours, reference)]
            of = f"练完 {epoch} 轮的文件，%s · a file of {epoch} epochs, %s"
            yield of % ("网络没有恢复", "the network isn't back"), not same(*weights, within=0), False
            yield of % ("随机数不对", "other random numbers"), not torch.equal(drawn, right), False
            yield f"seeds of {epoch}", seeds
            train_a_step(*ours)
            train_a_step(*reference)
            weights = [one[0].state_dict() for one in (ours, reference)]
            yield of % ("下一步不同", "the next step differs"), not same(*weights, within=0), False
            yield of % ("返回的轮数", "the number returned"), answer, epoch


q1 = exercise("16.1", judge_epoch)
q2 = exercise("16.2", judge_evaluate)
q3 = exercise("16.3", judge_prediction(order_of_the_third_epoch(), options=("as epoch 1", "as epoch 3", "a new one")))
q4 = exercise("16.4", judge_load)
q5 = exercise("16.5", judge_routine)
