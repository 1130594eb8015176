"""Exercises of 08_train_eval: running statistics, what a forward pass changes, a test in the right mode."""

import copy
import math

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Blank, Exercise, Wrong, as_number, call, refuse_known
from tudui_course.model import TuduiNorm

# ---- 08.1: running statistics by hand ----


def judge_running(function: object) -> None:
    """One batch, several, another momentum, batches of unequal sizes."""
    first, second, third = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([4.0, 8.0]), torch.tensor([-1.0, 0.0, 7.0])
    check_running(function, [first], 0.1)
    check_running(function, [first, second, third], 0.1)
    check_running(function, [third, first], 0.3)


def running(batches: list[Tensor], momentum: float, start=(0.0, 1.0), unbiased: bool = True) -> tuple[float, float]:
    """Running mean and variance after the batches."""
    mean, variance = start
    for batch in batches:
        mean = (1 - momentum) * mean + momentum * batch.mean().item()
        variance = (1 - momentum) * variance + momentum * batch.var(unbiased=unbiased).item()
    return mean, variance


def check_running(function: object, batches: list[Tensor], momentum: float) -> None:
    """Judge both numbers for one list of batches; the expected ones come from torch itself."""
    bn = nn.BatchNorm1d(1, momentum=momentum)
    for batch in batches:
        bn(batch[:, None])
    answer = call(function, [batch.clone() for batch in batches], momentum)
    what = f"batches: {len(batches)}, momentum: {momentum}"
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        size = f"{type(answer).__name__}" + (f" ({len(answer)})" if isinstance(answer, tuple | list) else "")
        raise Wrong(
            f"要返回两个数 (running_mean, running_var)，你返回的是 {size}。",
            f"Return two numbers, (running_mean, running_var); yours returned {size}.",
        )
    numbers = [
        part.item() if isinstance(part, Tensor) and part.numel() == 1 else as_number(part, name)
        for part, name in zip(answer, ("running_mean", "running_var"), strict=True)
    ]
    for index, name, expected in (
        (0, "running_mean", bn.running_mean.item()),
        (1, "running_var", bn.running_var.item()),
    ):
        if not math.isclose(numbers[index], expected, rel_tol=1e-4, abs_tol=1e-6):
            refuse_known(numbers[index], running_mistakes(batches, momentum, index), f"{name} ({what})")
            raise Wrong(
                f"{name}（{what}）应为 {expected:.4f}，你得到 {numbers[index]:.4f}。",
                f"{name} ({what}) should be {expected:.4f}, but you got {numbers[index]:.4f}.",
            )


def running_mistakes(batches: list[Tensor], momentum: float, index: int) -> tuple:
    """Known wrong figures for the running mean (index 0) or variance (1), with what to say of them."""
    last = (batches[-1].mean().item(), batches[-1].var().item())[index]
    pooled = torch.cat(batches)
    whole = (pooled.mean().item(), pooled.var().item())[index]
    return (
        (
            running(batches, 1 - momentum)[index],
            "momentum 用反了：新的一批占 momentum，旧的估计占 1 - momentum。",
            "The momentum is the wrong way round: the new batch gets momentum, the old estimate 1 - momentum.",
        ),
        (
            running(batches, momentum, unbiased=False)[index] if index else None,
            "记下的方差要除以 n - 1：batch.var()，不是 var(unbiased=False)。",
            "The variance noted is divided by n - 1: batch.var(), not var(unbiased=False).",
        ),
        (
            None if index else running(batches, momentum, start=(1.0, 0.0))[index],
            "running_mean 从 0 开始，不是 1。",
            "running_mean begins at 0, not at 1.",
        ),
        (
            running(batches, momentum, start=(0.0, 0.0))[index] if index else None,
            "running_var 从 1 开始，不是 0。",
            "running_var begins at 1, not at 0.",
        ),
        (
            running(batches[:1], momentum)[index] if len(batches) > 1 else None,
            "这是第一批之后的值：return 是不是写进循环里了？",
            "That is the value after the first batch: does return stand inside the loop?",
        ),
        (
            running(batches[-1:], momentum)[index] if len(batches) > 1 else None,
            "你只用了最后一批：估计要一批一批地接着更新。",
            "Only the last batch counted: carry the estimate on from batch to batch.",
        ),
        (
            running(batches, 0.1)[index] if momentum != 0.1 else None,
            "momentum 你写死成了 0.1：用参数 momentum。",
            "You wrote 0.1 for the momentum; use the argument momentum.",
        ),
        (last, "这是最后一批自己的值，不是滚动估计。", "That is the last batch's own value, not the running estimate."),
        (
            whole,
            "这是全部样本放在一起的值；BatchNorm 记的是滚动估计。",
            "That is the value of all samples together; BatchNorm notes a running estimate.",
        ),
    )


q1 = Exercise(
    name="08.1",
    judge=judge_running,
    praise=(
        "和 nn.BatchNorm1d 的笔记一致。",
        "The same as the notes of nn.BatchNorm1d.",
    ),
    hints=(
        (
            "从 mean, var = 0, 1 开始，每一批都用同一个式子更新。",
            "Begin with mean, var = 0, 1 and update with the same formula for each batch.",
        ),
        (
            "mean = (1 - momentum) * mean + momentum * batch.mean()；方差同样，用 batch.var()。",
            "mean = (1 - momentum) * mean + momentum * batch.mean(); the variance likewise, with batch.var().",
        ),
    ),
    answer="""
def running_after(batches, momentum):
    mean, var = 0.0, 1.0
    for batch in batches:
        mean = (1 - momentum) * mean + momentum * batch.mean().item()
        var = (1 - momentum) * var + momentum * batch.var().item()
    return mean, var


exercises.q1.check(running_after)
""",
)


# ---- 08.2: what a forward pass in train mode changes ----

QUESTIONS = ("weights", "gradients", "running_mean", "num_batches_tracked")
WHY = {
    "weights": (
        "权值只由 optimizer.step() 改变；这里没有优化器。（教程第 10 节说会变，说错了。）",
        "Weights change in optimizer.step() only, and there is no optimizer here. (Section 10 of the lesson errs.)",
    ),
    "gradients": (
        "梯度要 loss.backward() 才有；在 no_grad() 里连计算过程都没有记。",
        "Gradients come from loss.backward(); under no_grad() the computation isn't even recorded.",
    ),
    "running_mean": (
        "训练模式下，BatchNorm 每看一批就更新 running_mean；no_grad() 管不着它。",
        "In train mode BatchNorm updates running_mean with each batch; no_grad() doesn't stop that.",
    ),
    "num_batches_tracked": (
        "它数的是训练模式下看过的批数，看一批加一；no_grad() 管不着它。",
        "It counts the batches seen in train mode, one more for each; no_grad() doesn't stop that.",
    ),
}


def observe() -> dict[str, bool]:
    """Try it: what has changed after a batch in train mode under no_grad."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TuduiNorm().train()
        before = copy.deepcopy(model.state_dict())
        with torch.no_grad():
            model(torch.rand(4, 3, 32, 32))
    now = model.state_dict()
    parameters = dict(model.named_parameters())
    return {
        "weights": any(not torch.equal(now[name], before[name]) for name in parameters),
        "gradients": any(parameter.grad is not None for parameter in parameters.values()),
        **{
            kind: any(not torch.equal(now[name], before[name]) for name in now if name.endswith(kind))
            for kind in QUESTIONS[2:]
        },
    }


def judge_changed(answer: object) -> None:
    """Compare with what really happens."""
    if not isinstance(answer, dict):
        raise Wrong(
            f"要一个字典，像题目里那样；你给的是 {type(answer).__name__}。",
            f"This needs a dictionary as in the task, but you gave a {type(answer).__name__}.",
        )
    if set(answer) != set(QUESTIONS):
        raise Wrong(
            f"字典里应有这四项：{', '.join(QUESTIONS)}。",
            f"The dictionary should have these four entries: {', '.join(QUESTIONS)}.",
        )
    if any(value is ... or value is None for value in answer.values()):
        raise Blank
    for name, right in observe().items():
        if not isinstance(answer[name], bool):
            raise Wrong(
                f"{name} 要填 True 或 False，你填的是 {str(answer[name])[:40]}。",
                f"{name} should be True or False, but you gave {str(answer[name])[:40]}.",
            )
        if answer[name] != right:
            raise Wrong(f"{name} 不对。{WHY[name][0]}", f"{name} isn't right. {WHY[name][1]}")


q2 = Exercise(
    name="08.2",
    judge=judge_changed,
    praise=(
        "变的只有 BatchNorm 的笔记。",
        "Only BatchNorm's notes have changed.",
    ),
    hints=(
        (
            "权值靠 optimizer.step()，梯度靠 backward()。这里有吗？",
            "Weights need optimizer.step(), gradients need backward(). Are they here?",
        ),
        ("在上面“说法一”的那一格里，看看打印出来的名字。", "Look at the names printed in the cell of claim 1."),
    ),
    answer="""
changed = {
    "weights": False,
    "gradients": False,
    "running_mean": True,
    "num_batches_tracked": True,
}
exercises.q2.check(changed)
""",
)


# ---- 08.3: a test in the right mode ----


class Batches(list):
    """A loader: batches in a list, with `dataset` and `batch_size` as a DataLoader has them."""

    def __init__(self, images: Tensor, targets: Tensor, size: int) -> None:
        super().__init__(zip(images.split(size), targets.split(size), strict=True))
        self.dataset, self.batch_size = list(zip(images, targets, strict=True)), size


class Watched(nn.Module):
    """A small network with BatchNorm and Dropout that notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 3))
        self.modes, self.recorded = [], []

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 6) to logits (N, 3)."""
        self.modes.append(self.training)
        self.recorded.append(torch.is_grad_enabled())
        return self.layers(images)


def watched() -> tuple[Watched, Batches]:
    """Such a network with statistics of its own, and three batches, the last one smaller, about 2/3 right in eval."""
    generator = torch.Generator().manual_seed(8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(8)
        model = Watched()
    model.layers[0].running_mean += 1.5
    images = 3 + torch.randn(40, 6, generator=generator)
    with torch.no_grad():
        targets = model.eval()(images).argmax(1)
    guesses = torch.randint(0, 3, (40,), generator=generator)
    targets = torch.where(torch.rand(40, generator=generator) < 0.5, targets, guesses)
    model.modes, model.recorded = [], []
    return model, Batches(images, targets, 16)


def judge_test(function: object) -> None:
    """Call it on a network in train mode and on one in eval mode."""
    for training in (True, False):
        check_test(function, training)


def check_test(function: object, training: bool) -> None:
    """Judge number, mode, gradients and what is left behind."""
    model, loader = watched()
    right = sum(int((model.eval()(images).argmax(1) == targets).sum()) for images, targets in loader)
    expected = right / 40
    model, loader = watched()
    model.train(training)
    before = copy.deepcopy(model.state_dict())
    with torch.random.fork_rng(devices=[]):
        answer = as_number(call(function, model, loader), "test_accuracy")
    if any(model.modes):
        raise Wrong(
            "网络是在训练模式下测试的：忘了 model.eval()（要在第一批之前）。"
            "Dropout 还在掷骰子，BatchNorm 的统计量也被改了。",
            "The network was tested in train mode: model.eval() is missing (before the first batch). "
            "Dropout rolled dice, and BatchNorm's statistics were changed.",
        )
    if any(model.recorded):
        raise Wrong(
            "数是在记录梯度的情况下算的：eval() 不管梯度，还要 with torch.no_grad()。",
            "The computation was recorded for gradients: eval() doesn't stop that, add with torch.no_grad().",
        )
    if not model.modes:
        raise Wrong(
            "你的函数没有用到网络：outputs = model(images)。",
            "Your function never called the network: outputs = model(images).",
        )
    check_test_value(answer, expected, right, loader, model)
    if model.training != training:
        raise Wrong(*wrong_mode(training))
    if any(not torch.equal(model.state_dict()[name], before[name]) for name in before):
        raise Wrong("测试改动了网络。", "The test changed the network.")


def check_test_value(answer: float, expected: float, right: int, loader: list, model: nn.Module) -> None:
    """Judge the number that was returned."""
    if math.isclose(answer, expected, abs_tol=1e-6):
        return
    with torch.no_grad():
        copied = copy.deepcopy(model).eval()
        shares = [(copied(images).argmax(1) == targets).float().mean().item() for images, targets in loader]
    mistakes = (
        (
            sum(shares) / len(shares),
            "这是各批正确率的平均；猜对的加起来，最后除以总张数。",
            "That is the mean of the batches' accuracies; add up the right answers and divide by all pictures.",
        ),
        (right, "这是猜对的张数；还要除以总张数。", "That is how many are right; divide by the number of pictures."),
        (
            right / len(loader),
            "你除以了批数；要除以总张数。",
            "You divided by the number of batches; divide by the number of pictures.",
        ),
    )
    refuse_known(answer, mistakes, "test_accuracy")
    raise Wrong(
        f"正确率应为 {expected:.4f}，你得到 {answer:.4f}。",
        f"The accuracy should be {expected:.4f}, but you got {answer:.4f}.",
    )


def wrong_mode(training: bool) -> tuple[str, str]:
    """What to say when the network is not left in the mode that it came in."""
    if training:
        return (
            "数是对的，可是网络来时在训练模式，走时却在测试模式：接下来的训练就错了。"
            "先记下 model.training，最后 model.train(它)。",
            "The number is right, but the network came in train mode and was left in eval mode: "
            "training would go wrong from "
            "here. Note model.training first, and end with model.train(that).",
        )
    return (
        "数是对的，可是网络来时在测试模式，走时却在训练模式：不要一律 train()，要回到来时的模式。",
        "The number is right, but the network came in eval mode and was left in train mode: don't call train() "
        "regardless, go back to the mode it came in.",
    )


q3 = Exercise(
    name="08.3",
    judge=judge_test,
    praise=(
        "模式对，不记梯度，走时和来时一样。",
        "The right mode, no gradients, and left as it came.",
    ),
    hints=(
        (
            "三步：记下 model.training；eval() 加 no_grad() 里数猜对的；恢复模式。",
            "Three steps: note model.training; count right answers under eval() and no_grad(); restore the mode.",
        ),
        ("was = model.training ... model.train(was)", "was = model.training ... model.train(was)"),
    ),
    answer="""
def test_accuracy(model, loader):
    was = model.training
    model.eval()
    right, count = 0, 0
    with torch.no_grad():
        for images, targets in loader:
            right += (model(images).argmax(1) == targets).sum().item()
            count += len(targets)
    model.train(was)
    return right / count


exercises.q3.check(test_accuracy)
""",
)
