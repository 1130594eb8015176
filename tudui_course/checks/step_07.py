"""Exercises of 07_argmax_accuracy: counting right answers, exact accuracy, accuracy by class."""

import math

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Exercise, Wrong, as_number, call, refuse_known


def random_logits(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Logits (count, classes) and targets (count,), about half of them right."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    other = torch.randint(0, classes, (count,), generator=generator)
    return logits, torch.where(torch.rand(count, generator=generator) < 0.5, logits.argmax(1), other)


# ---- 07.1: counting right answers ----


def judge_count(function: object) -> None:
    """Several shapes: square, tall, wide, a single picture."""
    for count, classes, seed in ((64, 10, 0), (10, 10, 1), (3, 5, 2), (1, 10, 3), (16, 2, 4)):
        check_count(function, count, classes, seed)


def check_count(function: object, count: int, classes: int, seed: int) -> None:
    """Judge the count on one batch."""
    logits, targets = random_logits(count, classes, seed)
    right = int((logits.argmax(1) == targets).sum())
    what = f"logits ({count}, {classes})"
    try:
        answer = call(function, logits.clone(), targets.clone())
    except RuntimeError as error:
        if "must match the size" not in str(error):
            raise
        raise Wrong(
            f"{what}：形状对不上，你比较的不是每张图一个答案。类沿着第 1 维排：argmax(1)。",
            f"{what}: the shapes don't fit, so you compared something other than one answer a picture. "
            "Classes lie along dim 1: argmax(1).",
        ) from None
    answer = as_number(answer, what)
    down = int((logits.argmax(0) == targets).sum()) if count in (1, classes) else None
    mistakes = (
        (
            down if down != right else None,
            "这是 argmax(0)：每个类里最高的图。要 argmax(1)：每张图里最高的类。",
            "That is argmax(0), the best picture of each class. Use argmax(1), the best class of each picture.",
        ),
        (
            count - right if count != 2 * right else None,
            "这是猜错的张数：要用 ==。",
            "That is how many are wrong: use ==.",
        ),
        (
            right / count if right not in (0, count) else None,
            "这是正确率；这里只要张数，不除。",
            "That is the accuracy; only the count is wanted, don't divide.",
        ),
        (
            count if right != count else None,
            "这是总张数：== 比较的结果还没用上。",
            "That is the number of pictures: the result of == isn't used.",
        ),
        (
            int((logits.argmin(1) == targets).sum()),
            "得分最高的才是答案：argmax，不是 argmin。",
            "The highest score is the answer: argmax, not argmin.",
        ),
        (
            0 if right else None,
            "一张也没对上：argmax 要写明沿第 1 维；max(1) 给的是得分，不是类的编号。",
            "Not one agreed: tell argmax to go along dim 1; max(1) gives scores, not the numbers of classes.",
        ),
    )
    if answer != right:
        refuse_known(answer, mistakes, what)
        raise Wrong(
            f"{what}：应有 {right} 张猜对，你得到 {answer}。",
            f"{what}: {right} are right, but you got {answer}.",
        )
    if not isinstance(answer, int):
        raise Wrong(
            f"{what}：张数对了，但类型是 {type(answer).__name__}；要 int。",
            f"{what}: the count is right, but it is a {type(answer).__name__}; return an int.",
        )


q1 = Exercise(
    name="07.1",
    judge=judge_count,
    praise=(
        "方阵、长的、宽的、只有一张的，都数对了。",
        "Square, tall, wide, a single picture: all counted right.",
    ),
    hints=(
        (
            "每张图得分最高的类：沿着哪一维找？",
            "The class with the highest score of each picture: along which dimension?",
        ),
        (
            "(logits.argmax(1) == targets) 是一列 True/False；求和，再变成数。",
            "(logits.argmax(1) == targets) is a row of True/False; sum it, and make a number of it.",
        ),
        ("(logits.argmax(1) == targets).sum().item()", "(logits.argmax(1) == targets).sum().item()"),
    ),
    answer="""
def count_right(logits, targets):
    return (logits.argmax(1) == targets).sum().item()


exercises.q1.check(count_right)
""",
)


# ---- 07.2: exact accuracy over a loader ----


class Lookup(nn.Module):
    """A network that gives each picture the logits that stand in it."""

    def forward(self, images: Tensor) -> Tensor:
        """Images are already logits."""
        return images


class Batches(list):
    """A loader: batches in a list, with `dataset` and `batch_size` as a DataLoader has them."""

    def __init__(self, logits: Tensor, targets: Tensor, size: int) -> None:
        super().__init__(zip(logits.split(size), targets.split(size), strict=True))
        self.dataset, self.batch_size = list(zip(logits, targets, strict=True)), size


def judge_accuracy(function: object) -> None:
    """Loaders whose last batch is smaller, full, or the only one."""
    for count, classes, size, seed in ((70, 10, 32, 5), (64, 10, 16, 6), (9, 4, 32, 7)):
        check_accuracy(function, count, classes, size, seed)


def check_accuracy(function: object, count: int, classes: int, size: int, seed: int) -> None:
    """Judge the accuracy over one loader."""
    logits, targets = random_logits(count, classes, seed)
    last = count % size
    if last:  # a last batch that is all right pulls a mean of batch accuracies away from the exact figure
        targets[-last:] = logits[-last:].argmax(1)
    loader = Batches(logits, targets, size)
    hits = [int((batch.argmax(1) == wanted).sum()) for batch, wanted in loader]
    right, what = sum(hits), f"{count} pictures in batches of {size}"
    try:
        answer = as_number(call(function, Lookup(), loader), what)
    except RuntimeError as error:
        if "must match the size" not in str(error):
            raise
        raise Wrong(
            f"{what}：形状对不上，你比较的不是每张图一个答案。类沿着第 1 维排：argmax(1)。",
            f"{what}: the shapes don't fit, so you compared something other than one answer a picture. "
            "Classes lie along dim 1: argmax(1).",
        ) from None
    if math.isclose(answer, right / count, abs_tol=1e-6):
        return
    means = [hit / len(wanted) for hit, (_, wanted) in zip(hits, loader, strict=True)]
    mistakes = (
        (
            sum(means) / len(means),
            "这是各批正确率的平均：最后一批小，里面的每张图却占了更大的分量。把猜对的张数加起来，最后除以总张数。",
            "That is the mean of the batches' accuracies: the last batch is smaller, and each of its pictures "
            "weighs more. Add up the right answers and divide by all pictures at the end.",
        ),
        (
            sum(means),
            "各批的正确率加了起来；要加的是猜对的张数，再除以总张数。",
            "You added up the batches' accuracies; add up right answers, then divide by the number of pictures.",
        ),
        (right, "这是猜对的张数；还要除以总张数。", "That is how many are right; divide by the number of pictures."),
        (
            right / len(loader),
            "你除以了批数；要除以总张数。",
            "You divided by the number of batches; divide by the number of pictures.",
        ),
        (
            right / (len(loader) * size),
            "你除以了 批数 × 批大小，可是最后一批不满。用 len(targets) 一批批地数。",
            "You divided by batches times batch size, but the last batch isn't full. Count with len(targets), "
            "batch by batch.",
        ),
        (means[-1], "这只是最后一批；要把每一批都加进来。", "That is the last batch only; add up all of them."),
        (
            means[0],
            "这只是第一批：return 是不是写进循环里了？",
            "That is the first batch only: does return stand inside the loop?",
        ),
        (
            hits[0] / count,
            "你只数了第一批：return 是不是写进循环里了？",
            "You counted the first batch only: does return stand inside the loop?",
        ),
        (
            hits[-1] / count,
            "你只数了最后一批：猜对的张数要累加（+=）。",
            "You counted the last batch only: add the right answers up (+=).",
        ),
        (1 - right / count, "这是错误率。", "That is the share of wrong answers."),
        (
            100 * right / count,
            "这是百分数；要 0 到 1 之间的数。",
            "That is in per cent; a number from 0 to 1 is wanted.",
        ),
    )
    refuse_known(answer, mistakes, what)
    raise Wrong(
        f"{what}：正确率应为 {right / count:.4f}（{right} / {count}），你得到 {answer:.4f}。",
        f"{what}: the accuracy is {right / count:.4f} ({right} / {count}), but you got {answer:.4f}.",
    )


q2 = Exercise(
    name="07.2",
    judge=judge_accuracy,
    praise=(
        "最后一批不满也算得一张不差。",
        "Exact to the last picture, also where the last batch isn't full.",
    ),
    hints=(
        (
            "循环里只累加两个整数：猜对的张数、看过的张数。",
            "In the loop add up two whole numbers only: right answers and pictures seen.",
        ),
        (
            "right += (model(images).argmax(1) == targets).sum().item()；count += len(targets)；循环之后才除。",
            "right += (model(images).argmax(1) == targets).sum().item(); count += len(targets); divide after the loop.",
        ),
    ),
    answer="""
def accuracy(model, loader):
    model.eval()
    right, count = 0, 0
    with torch.no_grad():
        for images, targets in loader:
            right += (model(images).argmax(1) == targets).sum().item()
            count += len(targets)
    return right / count


exercises.q2.check(accuracy)
""",
)


# ---- 07.3: accuracy by class ----


def judge_per_class(function: object) -> None:
    """Two matrices with classes of unequal sizes."""
    check_per_class(function, torch.tensor([[8, 1, 1], [4, 10, 6], [0, 2, 3]]))
    check_per_class(function, torch.tensor([[5, 0], [15, 25]]))


def check_per_class(function: object, matrix: Tensor) -> None:
    """Judge the accuracies taken from one confusion matrix."""
    right = matrix.diag()
    expected = right / matrix.sum(1)
    answer = call(function, matrix.clone())
    if isinstance(answer, list | tuple) and all(isinstance(value, int | float) for value in answer):
        answer = torch.tensor(answer, dtype=torch.float32)
    if not isinstance(answer, Tensor):
        raise Wrong(
            f"要返回一个张量，每类一个数；你返回的是 {type(answer).__name__}：{str(answer)[:60]}。",
            f"Return a tensor, one number a class; yours returned {type(answer).__name__}: {str(answer)[:60]}.",
        )
    if answer.shape != expected.shape:
        raise Wrong(
            f"{len(matrix)} 个类，应是形状 {tuple(expected.shape)}，你的是 {tuple(answer.shape)}。",
            f"{len(matrix)} classes make the shape {tuple(expected.shape)}; yours is {tuple(answer.shape)}.",
        )
    if torch.allclose(answer.float(), expected, atol=1e-6):
        return
    for mistaken, chinese, english in (
        (
            right / matrix.sum(0),
            "你除以了列的和，那是“说是这一类的图里对了几成”。要除以行的和：sum(1)。",
            "You divided by the columns' sums, which gives how many of those called so are so. Divide by the "
            "rows' sums: sum(1).",
        ),
        (
            right / matrix.sum(),
            "你除以了全部图片；要除以这一类的张数：matrix.sum(1)。",
            "You divided by all pictures; divide by those of the class: matrix.sum(1).",
        ),
        (
            right,
            "这是每类猜对的张数；还要除以这一类的张数。",
            "That is how many are right in each class; divide by the pictures of that class.",
        ),
        (
            right // matrix.sum(1),
            "整除把小数丢掉了：用 /，不用 //。",
            "Whole-number division dropped the fraction: use /, not //.",
        ),
        (1 - expected, "这是每一类的错误率。", "That is the share of mistakes of each class."),
        (
            expected.mean().expand_as(expected),
            "每一类都成了平均值；不要取平均。",
            "Every class has the mean; don't average.",
        ),
    ):
        if torch.allclose(answer.float(), mistaken.float(), atol=1e-6):
            raise Wrong(chinese, english)
    raise Wrong(
        f"对 {matrix.tolist()} 应为 {rounded(expected)}，你得到 {rounded(answer)}。",
        f"For {matrix.tolist()} it should be {rounded(expected)}, but you got {rounded(answer)}.",
    )


def rounded(values: Tensor) -> list[float]:
    """Numbers fit to be shown."""
    return [round(value, 4) for value in values.float().tolist()]


q3 = Exercise(
    name="07.3",
    judge=judge_per_class,
    praise=(
        "这个数也叫召回率（recall）。除以列的和则是精确率（precision）。",
        "This figure is also called recall. Divided by the columns' sums it would be precision.",
    ),
    hints=(
        ("答对的都在对角线上：matrix.diag()。", "All right answers are on the diagonal: matrix.diag()."),
        ("一行加起来就是这一类的张数：matrix.sum(1)。", "A row adds up to the pictures of that class: matrix.sum(1)."),
    ),
    answer="""
def per_class_accuracy(matrix):
    return matrix.diag() / matrix.sum(1)


exercises.q3.check(per_class_accuracy)
""",
)
