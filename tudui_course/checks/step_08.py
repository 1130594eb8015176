"""Exercises of 08_train_eval: running statistics, what a forward pass changes, a test, a loop to be mended."""

import copy
import itertools

import torch
from torch import nn

from tudui_course.checks.compare import Words
from tudui_course.checks.judges import call, judge_function, judge_prediction, state
from tudui_course.checks.props import Batches, Watched, exam, pictures
from tudui_course.checks.table import exercise
from tudui_course.loop import evaluate, train_one_epoch
from tudui_course.model import TuduiNorm

FIRST, SECOND, THIRD = (torch.tensor(batch) for batch in ([1.0, 2.0, 3.0, 6.0], [4.0, 8.0], [-1.0, 0.0, 7.0]))


def running_after(batches, momentum):
    """Running mean and variance as torch itself notes them."""
    bn = nn.BatchNorm1d(1, momentum=momentum)
    for batch in batches:
        bn(batch[:, None])
    return bn.running_mean.item(), bn.running_var.item()


def observe():
    """Try it: what has changed after a batch in training mode under no_grad."""
    model = TuduiNorm().train()
    before = state(model.state_dict())
    with torch.no_grad():
        model(torch.rand(4, 3, 32, 32))
    changed = {name for name, now in model.state_dict().items() if not torch.equal(now, before[name])}
    parameters = dict(model.named_parameters())
    kinds = {kind: any(name.endswith(kind) for name in changed) for kind in ("running_mean", "num_batches_tracked")}
    gradients = any(parameter.grad is not None for parameter in parameters.values())
    return {"weights": bool(changed & parameters.keys()), "gradients": gradients, **kinds}


def judge_test(test_accuracy):
    """A network in training mode and one in evaluation mode."""
    for training in (True, False):
        model, loader, _, right = exam(40, 16, seed=8)
        answer = call(test_accuracy, model.train(training), loader)
        came, left = (("训练模式", "training mode"), ("评估模式", "evaluation mode"))[:: 1 if training else -1]
        case = f"来时是{came[0]}，%s · it came in {came[1]}, %s"
        yield case % ("没有用到网络", "the network was never called"), not model.modes, False
        yield case % ("是在训练模式下测试的", "the network was tested in training mode"), any(model.modes), False
        yield case % ("记录了梯度", "the computation was recorded for gradients"), any(model.recorded), False
        yield case % ("正确率", "the accuracy"), answer, right
        yield case % (f"走时是{left[0]}", f"and was left in {left[1]}"), model.training != training, False


def judge_loop(train_and_test):
    """Three epochs on a network that comes in evaluation mode, beside the package's own loop."""
    train_loader, test_loader = Batches(*pictures(24, seed=9), 8), Batches(*pictures(16, seed=10), 6)
    model, loss_fn = Watched(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3)).eval(), nn.CrossEntropyLoss()
    reference = copy.deepcopy(model)
    optimizer, other = (torch.optim.SGD(one.parameters(), 0.1) for one in (model, reference))
    torch.default_generator.manual_seed(10)
    answer = call(train_and_test, model, train_loader, test_loader, loss_fn, optimizer, 3)

    torch.default_generator.manual_seed(10)
    expected = []
    for _ in range(3):
        train_one_epoch(reference, train_loader, loss_fn, other)
        expected.append(evaluate(reference, test_loader, loss_fn).accuracy)

    both = (model, reference)
    yield "网络每次被调用时的模式 · the mode at each call of the network", *(in_runs(one.modes) for one in both)
    graphs = (in_runs(one.recorded, "recorded", "none") for one in both)
    yield "网络每次被调用时的计算图 · the graph at each call of the network", *graphs
    yield "各轮的正确率 · the accuracy of each epoch", answer, expected
    yield "train() and eval() called", in_runs(model.switched[1:])


def in_runs(flags, yes="train", no="eval"):
    """Flags in few words: "3 train, 3 eval"."""
    runs = [(flag, len(list(run))) for flag, run in itertools.groupby(flags)]
    return Words(", ".join(f"{length} {yes if flag else no}" for flag, length in runs))


CASES = [([FIRST], 0.1), ([FIRST, SECOND, THIRD], 0.1), ([THIRD, FIRST], 0.3)]
q1 = exercise("08.1", judge_function(running_after, CASES))
q2 = exercise("08.2", judge_prediction(observe(), (True, False)))
q3 = exercise("08.3", judge_test)
q4 = exercise("08.4", judge_loop)
