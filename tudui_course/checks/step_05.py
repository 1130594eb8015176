"""Exercises of 05_no_grad_and_tensorboard: what requires a gradient, a test loss, from the sum to the mean."""

import copy
import math

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Blank, Exercise, Wrong, call

# ---- 05.1: what requires a gradient ----

TENSORS = {
    "a * w": (
        lambda a, w: a * w,
        ("有一个输入要梯度，结果就要。", "One input that requires a gradient is enough."),
    ),
    "a * 2": (
        lambda a, w: a * 2,
        ("没有一个输入要梯度，结果也不要。", "No input requires a gradient, so the result doesn't."),
    ),
    "w.argmax()": (
        lambda a, w: w.argmax(),
        ("argmax 的结果是整数，整数不可导。", "argmax gives an integer, and integers have no derivative."),
    ),
    "w.detach() * a": (
        lambda a, w: w.detach() * a,
        (
            "detach() 断开了和 w 的联系，剩下的输入都不要梯度。",
            "detach() cuts the thread to w, and no other input requires a gradient.",
        ),
    ),
    "inside no_grad: w * 2": (
        lambda a, w: no_grad(lambda: w * 2),
        ("no_grad 里计算得出的张量都是 False。", "What is computed inside no_grad has False."),
    ),
    "inside no_grad: w": (
        lambda a, w: no_grad(lambda: w),
        (
            "w 是原来就有的，不是计算得出的，no_grad 不改变它。",
            "w was there before, it isn't computed; no_grad doesn't change it.",
        ),
    ),
}


def no_grad(compute) -> Tensor:
    with torch.no_grad():
        return compute()


def judge_flags(answers: object) -> None:
    if not isinstance(answers, dict):
        raise Wrong(
            f"这里要原来那个字典，你给的是 {type(answers).__name__}。",
            f"This needs the dictionary as it stood there, but you gave: {type(answers).__name__}.",
        )
    missing = [name for name in TENSORS if name not in answers]
    if missing:
        raise Wrong(f"字典里少了 {missing[0]}。", f"The dictionary lacks {missing[0]}.")
    if any(answers[name] is ... for name in TENSORS):
        raise Blank
    for name, (make, (chinese, english)) in TENSORS.items():
        if not isinstance(answers[name], bool):
            raise Wrong(
                f"{name}：你填了 {answers[name]!r}；只能是 True 或 False（不加引号）。",
                f"{name}: you wrote {answers[name]!r}; it is True or False (without quotes).",
            )
        if answers[name] != make(torch.ones(3), torch.ones(3, requires_grad=True)).requires_grad:
            raise Wrong(f"{name} 不是 {answers[name]}。{chinese}", f"{name} isn't {answers[name]}. {english}")


q1 = Exercise(
    name="05.1",
    judge=judge_flags,
    praise=("六条规则都用对了。", "You have applied all the rules."),
    hints=(
        (
            "先看输入里有没有一个要梯度，再看中间有没有断开。",
            "See first whether an input requires a gradient, then whether something cuts the thread.",
        ),
        (
            "断开的有：整数结果、detach()、no_grad 里的计算。已有的张量不变。",
            "These cut it: integer results, detach(), computing inside no_grad. Existing tensors don't change.",
        ),
    ),
    answer="""
flags = {
    "a * w": True,
    "a * 2": False,
    "w.argmax()": False,
    "w.detach() * a": False,
    "inside no_grad: w * 2": False,
    "inside no_grad: w": True,
}
exercises.q1.check(flags)
""",
)


# ---- 05.2: the mean loss of a picture ----


class Probe(nn.Module):
    """A small network that remembers whether a graph was recorded when it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.recorded = False

    def forward(self, images: Tensor) -> Tensor:
        self.recorded |= torch.is_grad_enabled()
        return self.layer(images)


class Batches(list):
    """A loader: batches in a list, with `dataset` and `batch_size` as a DataLoader has them."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__(batches)
        self.dataset = [pair for images, targets in batches for pair in zip(images, targets, strict=True)]
        self.batch_size = len(batches[0][1])


def judge_test_loss(function: object) -> None:
    check_test_loss(function, sizes=(4, 4, 4))
    check_test_loss(function, sizes=(5, 5, 5, 1))


def check_test_loss(function: object, sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(len(sizes))
    batches = [
        (4 * torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in sizes
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = Probe()
    before = copy.deepcopy(model.state_dict())
    loss_fn = nn.CrossEntropyLoss()
    values = [no_grad(lambda i=images, t=targets: loss_fn(model(i), t)).item() for images, targets in batches]
    answer = call(function, model, Batches(batches), loss_fn)
    if any(not torch.equal(before[name], value) for name, value in model.state_dict().items()):
        raise Wrong(
            "模型的权重变了：测试时不能训练，去掉 optimizer.step()。",
            "The model's weights have changed: testing must not train; remove optimizer.step().",
        )
    if not all(parameter.requires_grad for parameter in model.parameters()):
        raise Wrong(
            "参数的 requires_grad 变成了 False，接下来就没法训练了；不记图，用 torch.no_grad()。",
            "The parameters have requires_grad=False now and can't be trained any more; to record no graph, use "
            "torch.no_grad().",
        )
    if isinstance(answer, Tensor):
        raise Wrong(
            f"你返回的是张量 {answer.detach()}；要普通的数，用 .item()。",
            f"You returned a tensor, {answer.detach()}; make it a plain number with .item().",
        )
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"要返回一个数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"Return a number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    check_loss(answer, values, sizes)
    if model.recorded:
        raise Wrong(
            "数对了，但每个批次都白白记了图。放进 with torch.no_grad(): 里。",
            "The number is right, but a graph was recorded for each batch, for nothing. Put it under torch.no_grad().",
        )


def check_loss(answer: float, values: list[float], sizes: tuple[int, ...]) -> None:
    weighted = [value * size for value, size in zip(values, sizes, strict=True)]
    expected = sum(weighted) / sum(sizes)
    if math.isclose(answer, expected, rel_tol=1e-4):
        return
    case = "、".join(map(str, sizes)), ", ".join(map(str, sizes))
    for mistaken, chinese, english in (
        (
            sum(values),
            "这是各批次损失之和，课里打印的就是它；要每张图的平均。",
            "That is the sum over batches, as the lesson prints it; take the mean per picture.",
        ),
        (
            sum(values) / len(values),
            "这是各批次平均的平均，小批次占了便宜：每个损失先乘 len(targets)，最后除以图片总数。",
            "That is the mean of batch means, in which a small batch counts too much: multiply each loss by "
            "len(targets), divide by all pictures at the end.",
        ),
        (
            sum(values) / sum(sizes),
            "你把批次损失之和除以了图片数。批次的损失已经是平均，要先乘回 len(targets)。",
            "You divided the sum of batch losses by the pictures. A batch's loss is a mean already; multiply it by "
            "len(targets) first.",
        ),
        (
            sum(weighted),
            "乘了图片数，还没有除以图片总数。",
            "You multiplied by the pictures; now divide by their total.",
        ),
        (
            sum(weighted) / len(values),
            "最后要除以图片总数，不是批次数。",
            "Divide by the number of all pictures, not of batches.",
        ),
        (values[-1], "这是最后一个批次的损失；要所有图的平均。", "That is the last batch's loss; take all pictures."),
        (
            values[0],
            "这是第一个批次的损失；return 是不是写进了循环里？",
            "That is the first batch's loss; does the return stand inside the loop?",
        ),
        (
            sum(weighted) / (len(values) * sizes[0]),
            "总数用了 批次数 × batch_size，可是最后一个批次不满：加 len(targets)。",
            "For the total you took batches × batch size, but the last batch is smaller: add up len(targets).",
        ),
    ):
        if math.isclose(answer, mistaken, rel_tol=1e-4):
            raise Wrong(
                f"各批次 {case[0]} 张图，你返回 {answer:.4f}。{chinese}",
                f"With batches of {case[1]} pictures you returned {answer:.4f}. {english}",
            )
    raise Wrong(
        f"各批次 {case[0]} 张图，平均损失应为 {expected:.4f}，你返回 {answer:.4f}。",
        f"With batches of {case[1]} pictures the mean loss should be {expected:.4f}, you returned {answer:.4f}.",
    )


q2 = Exercise(
    name="05.2",
    judge=judge_test_loss,
    praise=(
        "不记图、不怕不满的批次，这就是 evaluate 的核心。",
        "No graph, and a ragged batch does no harm: that is the heart of evaluate.",
    ),
    hints=(
        (
            "每个批次：total += loss.item() * len(targets)，count += len(targets)。",
            "For each batch: total += loss.item() * len(targets), count += len(targets).",
        ),
        (
            "整个循环放进 with torch.no_grad():，最后 return total / count。",
            "Put the whole loop under with torch.no_grad():, and return total / count at the end.",
        ),
    ),
    answer="""
def test_loss(model, loader, loss_fn):
    total, count = 0.0, 0
    with torch.no_grad():
        for images, targets in loader:
            total += loss_fn(model(images), targets).item() * len(targets)
            count += len(targets)
    return total / count


exercises.q2.check(test_loss)
""",
)


# ---- 05.3: from the sum to the mean ----

LESSON_SUM = 194.5557427406311  # what the lesson printed after epoch 10


def judge_mean(answer: object) -> None:
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise Wrong(
            f"这里要一个数，你给的是 {type(answer).__name__}：{answer!r}。",
            f"This needs a number, but you gave {type(answer).__name__}: {answer!r}.",
        ) from None
    if math.isclose(value, LESSON_SUM / math.ceil(10_000 / 64), abs_tol=6e-4):
        return
    for mistaken, chinese, english in (
        (
            LESSON_SUM / 10_000,
            "你除以了图片数；这个和是各批次的和，要除以批次数。",
            "You divided by the pictures; this sum goes over batches, so divide by their number.",
        ),
        (
            LESSON_SUM / 64,
            "你除以了 batch_size；要除以有多少个批次。",
            "You divided by the batch size; divide by how many batches there are.",
        ),
        (
            LESSON_SUM / (10_000 / 64),
            "10000 ÷ 64 = 156.25，批次数没有零头：不满的那个也是一批，向上取整。",
            "10,000 ÷ 64 is 156.25, but batches come whole: the smaller one is a batch too, so round up.",
        ),
        (
            LESSON_SUM / (10_000 // 64),
            "你除以了 156；剩下的 16 张也是一批，向上取整。",
            "You divided by 156; the 16 pictures left over are a batch too, so round up.",
        ),
        (
            LESSON_SUM / 10,
            "你除以了轮数；每轮打印的和只算这一轮。",
            "You divided by the epochs; each printed sum is of that epoch only.",
        ),
        (
            LESSON_SUM / math.ceil(50_000 / 64),
            "782 是训练集的批次数；测试集只有 10000 张。",
            "782 is the number of training batches; the test set has 10,000 pictures.",
        ),
        (LESSON_SUM, "这是和本身。", "That is the sum itself."),
        (
            math.ceil(10_000 / 64),
            "批次数对了；再用和除以它。",
            "That is the number of batches; now divide the sum by it.",
        ),
    ):
        if math.isclose(value, mistaken, rel_tol=1e-3):
            raise Wrong(f"你的答案是 {value:.4g}。{chinese}", f"Your answer is {value:.4g}. {english}")
    if math.isclose(value, LESSON_SUM / math.ceil(10_000 / 64), abs_tol=5e-2):
        raise Wrong(
            f"你的答案是 {value:.4g}。差不多了，但不够精确：要三位小数。",
            f"Your answer is {value:.4g}. Nearly, but not exactly enough: give three decimals.",
        )
    raise Wrong(
        f"你的答案是 {value:.4g}，不对：用和除以批次数。",
        f"Your answer is {value:.4g}, which isn't it: divide the sum by the number of batches.",
    )


q3 = Exercise(
    name="05.3",
    judge=judge_mean,
    praise=(
        "这样就能和自己的 evaluate(...).loss 比了，只差最后那个小批次的零头。",
        "Now it compares with your own evaluate(...).loss, up to the trifle of the smaller last batch.",
    ),
    hints=(
        ("一共有多少个批次？10000 ÷ 64，向上取整。", "How many batches are there? 10,000 ÷ 64, rounded up."),
        ("194.5557 / math.ceil(10000 / 64)", "194.5557 / math.ceil(10000 / 64)"),
    ),
    answer="""
answer = 194.5557427406311 / math.ceil(10000 / 64)
exercises.q3.check(answer)
""",
)
