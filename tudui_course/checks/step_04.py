"""Exercises of 04_item: number, list, tensor or error; a mean that keeps no graph; what to log."""

import math
import weakref

import torch
from torch import nn

from tudui_course.checks.base import Blank, Exercise, Wrong, call

# ---- 04.1: what comes out ----

EXPRESSIONS = {
    "x.sum().item()": (
        lambda x: x.sum().item(),
        ("求和之后只剩一个元素，.item() 给一个数。", "After the sum one element is left, and .item() gives a number."),
    ),
    "x.item()": (
        lambda x: x.item(),
        ("x 有三个元素，.item() 不知道要哪一个。", "x has three elements; .item() can't know which one you want."),
    ),
    "x.detach()": (
        lambda x: x.detach(),
        ("detach 只甩掉图，给的还是张量。", "detach only shakes off the graph; what it gives is a tensor still."),
    ),
    "x.tolist()": (
        lambda x: x.tolist(),
        (
            "tolist 给 Python 列表，多少个元素都行，带图也行。",
            "tolist gives a Python list, of any length, with or without graph.",
        ),
    ),
    "x.numpy()": (
        lambda x: x.numpy(),
        ("x 的 requires_grad 是 True，要先 detach()。", "x has requires_grad=True, so it needs detach() first."),
    ),
    "x[:1].item()": (
        lambda x: x[:1].item(),
        (
            "x[:1] 的形状是 (1,)，恰好一个元素，.item() 可以用。",
            "x[:1] has shape (1,), exactly one element, and .item() works.",
        ),
    ),
}
KINDS = ("number", "list", "tensor", "error")


def kind_of(expression: str) -> str:
    try:
        value = EXPRESSIONS[expression][0](torch.ones(3, requires_grad=True))
    except RuntimeError:
        return "error"
    return {float: "number", list: "list", torch.Tensor: "tensor"}[type(value)]


def judge_kinds(answers: object) -> None:
    if not isinstance(answers, dict):
        raise Wrong(
            f"这里要原来那个字典，你给的是 {type(answers).__name__}。",
            f"This needs the dictionary as it stood there, but you gave: {type(answers).__name__}.",
        )
    missing = [expression for expression in EXPRESSIONS if expression not in answers]
    if missing:
        raise Wrong(f"字典里少了 {missing[0]}。", f"The dictionary lacks {missing[0]}.")
    if any(answers[expression] is ... for expression in EXPRESSIONS):
        raise Blank
    for expression, (_, (chinese, english)) in EXPRESSIONS.items():
        answer = answers[expression]
        if answer not in KINDS:
            raise Wrong(
                f'{expression}：你填了 {answer!r}；只能是 "number"、"list"、"tensor"、"error"。',
                f'{expression}: you wrote {answer!r}; it is one of "number", "list", "tensor", "error".',
            )
        if answer != kind_of(expression):
            raise Wrong(f"{expression} 不是 {answer}。{chinese}", f"{expression} isn't {answer}. {english}")


q1 = Exercise(
    name="04.1",
    judge=judge_kinds,
    praise=("六个全对，以后选哪个不用试。", "All six are right; no need to try them out any more."),
    hints=(
        ("先数元素：.item() 只要恰好一个。", "Count elements first: .item() wants exactly one."),
        (
            "再看图：带图的张量不能直接 .numpy()；.tolist() 可以。",
            "Then the graph: .numpy() refuses a tensor with a graph; .tolist() doesn't.",
        ),
    ),
    answer="""
kinds = {
    "x.sum().item()": "number",
    "x.item()": "error",
    "x.detach()": "tensor",
    "x.tolist()": "list",
    "x.numpy()": "error",
    "x[:1].item()": "number",
}
exercises.q1.check(kinds)
""",
)


# ---- 04.2: a mean that keeps no graph ----


class Kept:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, batch: int, tensor: torch.Tensor) -> None:
        self.batch, self.tensor = batch, tensor.detach()  # with its graph it would keep itself alive


class Watch:
    """Yields batches, and writes down of how many earlier ones the graph is still alive.

    The current batch's loss may still have its name when the next batch is asked for, so one graph is no fault.
    """

    def __init__(self, batches: list) -> None:
        self.batches, self.number, self.most = batches, 0, 0
        self.alive: weakref.WeakSet[Kept] = weakref.WeakSet()
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.save, lambda kept: kept.tensor)

    def save(self, tensor: torch.Tensor) -> Kept:
        kept = Kept(self.number, tensor)
        self.alive.add(kept)
        return kept

    def __iter__(self):
        for self.number, batch in enumerate(self.batches):  # noqa: B020
            yield batch
            self.most = max(self.most, len({kept.batch for kept in self.alive}))

    def __len__(self) -> int:
        return len(self.batches)


def judge_mean_loss(function: object) -> None:
    check_mean_loss(function, sizes=(4, 4, 4, 4))
    check_mean_loss(function, sizes=(5, 5, 5, 5, 5, 2))


def check_mean_loss(function: object, sizes: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(sum(sizes))
    batches = [
        (3 * torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in sizes
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Linear(6, 3)
    loss_fn = nn.CrossEntropyLoss()
    values = [loss_fn(model(images), targets).item() for images, targets in batches]
    watch = Watch(batches)
    with watch.hooks:
        answer = call(function, model, watch, loss_fn)
    if isinstance(answer, torch.Tensor):
        graph = "，而且还拖着图" if answer.requires_grad else ""
        drags = ", with its graph behind it" if answer.requires_grad else ""
        raise Wrong(
            f"你返回的是张量{graph}：{answer.detach()}。要普通的数：每个批次取 loss.item()。",
            f"You returned a tensor{drags}: {answer.detach()}. Make it a plain number: take loss.item() of each batch.",
        )
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"要返回一个数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"Return a number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    check_mean(answer, values, sizes)
    if watch.most > 1:
        raise Wrong(
            f"数对了，但走到后来同时留着 {watch.most} 个批次的图。在循环里就用 .item() 取数，不要攒着张量。",
            f"The number is right, but on the way the graphs of {watch.most} batches were kept at once. Take .item() "
            "inside the loop instead of collecting tensors.",
        )


def check_mean(answer: float, values: list[float], sizes: tuple[int, ...]) -> None:
    mean = sum(values) / len(values)
    if math.isclose(answer, mean, rel_tol=1e-4):
        return
    for mistaken, chinese, english in (
        (sum(values), "这是总和；还要除以批次数。", "That is the sum; divide by the number of batches."),
        (
            values[-1],
            "这是最后一个批次的损失；要所有批次的平均。",
            "That is the last batch's loss; take the mean of all.",
        ),
        (
            values[0],
            "这是第一个批次的损失；return 是不是写进了循环里？",
            "That is the first batch's loss; does the return stand inside the loop?",
        ),
        (
            values[0] / len(values),
            "只加了第一个批次；return 是不是写进了循环里？",
            "Only the first batch was added; does the return stand inside the loop?",
        ),
        (
            values[-1] / len(values),
            "只加了最后一个批次；total 是不是在循环里清零了？",
            "Only the last batch was added; is total set to zero inside the loop?",
        ),
        (
            sum(value * size for value, size in zip(values, sizes, strict=True)) / sum(sizes),
            "这是每张图的平均（下一本要的就是它）；这里每个批次算一份，不管有几张图。",
            "That is the mean per picture, which the next notebook wants; here each batch counts once, large or small.",
        ),
    ):
        if math.isclose(answer, mistaken, rel_tol=1e-4):
            raise Wrong(f"你返回 {answer:.4f}。{chinese}", f"You returned {answer:.4f}. {english}")
    raise Wrong(
        f"{len(values)} 个批次的平均损失应为 {mean:.4f}，你返回 {answer:.4f}。",
        f"The mean loss of {len(values)} batches should be {mean:.4f}, you returned {answer:.4f}.",
    )


q2 = Exercise(
    name="04.2",
    judge=judge_mean_loss,
    praise=(
        "平均对了，图也一路放掉了。",
        "The mean is right, and the graphs were let go on the way.",
    ),
    hints=(
        (
            "total 从 0.0 开始，每个批次加一个数，最后除以批次数。",
            "Start total at 0.0, add a number for each batch, divide by the number of batches at the end.",
        ),
        (
            "循环里写 total += loss_fn(model(images), targets).item()。",
            "Inside the loop: total += loss_fn(model(images), targets).item().",
        ),
    ),
    answer="""
def mean_loss(model, batches, loss_fn):
    total, count = 0.0, 0
    for images, targets in batches:
        total += loss_fn(model(images), targets).item()
        count += 1
    return total / count


exercises.q2.check(mean_loss)
""",
)


# ---- 04.3: which losses to log ----


class CountedLoss(torch.Tensor):
    """A loss that counts how often its number is asked for."""

    asked = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("item", "tolist", "__float__", "numpy", "cpu", "__format__"):
            cls.asked += 1
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


def judge_logged(function: object) -> None:
    for count, every in ((20, 5), (23, 10), (7, 1), (12, 4)):
        check_logged(function, count, every)


def check_logged(function: object, count: int, every: int) -> None:
    weight = torch.ones((), requires_grad=True)
    values = [round(5 - 0.125 * step, 3) for step in range(1, count + 1)]
    losses = [(weight * value).as_subclass(CountedLoss) for value in values]
    CountedLoss.asked = 0
    answer = call(function, losses, every)
    case = f"{count} losses, every={every}"
    if not isinstance(answer, list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in answer):
        raise Wrong(
            f"{case}：要返回一列 (步数, 数)，你返回的是 {short(answer)}。",
            f"{case}: return a list of (step, number); yours returned {short(answer)}.",
        )
    if any(isinstance(value, torch.Tensor) for _, value in answer):
        raise Wrong(
            f"{case}：列表里还有张量，它们拖着各自的图。用 .item() 取出数来。",
            f"{case}: there are tensors in the list, each dragging its graph along. Take the number with .item().",
        )
    check_points([(step, value) for step, value in answer], values, every, case)
    if CountedLoss.asked > len(answer):
        raise Wrong(
            f"{case}：点都对了，但你取了 {CountedLoss.asked} 次数，{len(answer)} 次就够。先看步数再取。",
            f"{case}: the points are right, but you asked for {CountedLoss.asked} numbers; {len(answer)} would do. "
            "Look at the step first, then call .item().",
        )


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def check_points(points: list[tuple], values: list[float], every: int, case: str) -> None:
    expected = [(step, values[step - 1]) for step in range(every, len(values) + 1, every)]
    if points == expected:
        return
    steps, right = [step for step, _ in points], [step for step, _ in expected]
    if steps == [step for step in range(len(values)) if step % every == 0]:
        chinese, english = (
            "步数从 0 数起了；要从 1 数起：enumerate(losses, start=1)。",
            "You count steps from 0; count from 1: enumerate(losses, start=1).",
        )
    elif steps == [step - 1 for step in right]:
        chinese, english = (
            "步数都少了 1：下标从 0 起，步数从 1 起。",
            "Each step is one too small: indices start at 0, steps at 1.",
        )
    elif len(points) == len(values) and every > 1:
        chinese, english = (
            f"每一步都记了；只要步数能被 {every} 整除的。",
            f"You recorded each step; only those divisible by {every} count.",
        )
    elif steps == right:
        chinese, english = (
            "步数对了，数不对：第 n 步的损失是 losses[n - 1]。",
            "The steps are right, the numbers aren't: step n is losses[n - 1].",
        )
    elif steps == list(range(1, len(right) + 1)):
        chinese, english = (
            "你记的是第几个点；要记第几步。",
            "You recorded the number of the point; record the number of the step.",
        )
    else:
        chinese, english = (
            f"步数应是 {right}，你的是 {short(steps)}。",
            f"The steps should be {right}, yours are {short(steps)}.",
        )
    raise Wrong(f"{case}：{chinese}", f"{case}: {english}")


q3 = Exercise(
    name="04.3",
    judge=judge_logged,
    praise=(
        "该等的才等，其余的步一口气跑过去。",
        "You wait only where you must; all other steps run on.",
    ),
    hints=(
        (
            "for step, loss in enumerate(losses, start=1)，再看 step % every == 0。",
            "for step, loss in enumerate(losses, start=1), then look at step % every == 0.",
        ),
        (
            "[(step, loss.item()) for step, loss in enumerate(losses, start=1) if step % every == 0]",
            "[(step, loss.item()) for step, loss in enumerate(losses, start=1) if step % every == 0]",
        ),
    ),
    answer="""
def logged_points(losses, every):
    return [(step, loss.item()) for step, loss in enumerate(losses, start=1) if step % every == 0]


exercises.q3.check(logged_points)
""",
)
