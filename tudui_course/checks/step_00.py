"""Exercises of 00_start_here: how checking works, and what the first loss says."""

import math

from tudui_course.checks.base import Exercise, Wrong, call

# ---- 00.1: the loss of guessing ----


def judge_guessing(answer: object) -> None:
    expected = math.log(10)
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise Wrong(
            f"这里要一个数，你给的是 {type(answer).__name__}：{answer!r}。",
            f"This needs a number, but you gave {type(answer).__name__}: {answer!r}.",
        ) from None
    if math.isclose(value, expected, abs_tol=5e-3):
        return
    for mistaken, chinese, english in (
        (
            1.0,
            "log10 以 10 为底；损失用的是自然对数，即 math.log。",
            "log10 has base 10; the loss uses the natural one, math.log.",
        ),
        (
            math.log2(10),
            "log2 以 2 为底；损失用的是自然对数，即 math.log。",
            "log2 has base 2; the loss uses the natural one, math.log.",
        ),
        (
            math.log(0.1),
            "差一个负号：损失是 -log(p)，不会是负数。",
            "The sign is missing: the loss is -log(p), never negative.",
        ),
        (
            0.1,
            "这是猜对的概率 p；损失是 -log(p)。",
            "That is p, the probability of guessing right; the loss is -log(p).",
        ),
        (
            10.0,
            "这是类别数；先求猜对的概率 p，再算 -log(p)。",
            "That is the number of classes; take p, the chance of guessing right, then -log(p).",
        ),
        (
            0.9,
            "这是猜错的概率；要用猜对的概率 p 算 -log(p)。",
            "That is the chance of being wrong; use p, the chance of being right, in -log(p).",
        ),
        (
            -math.log(0.9),
            "你用了猜错的概率 0.9；要用猜对的概率 p。",
            "You used 0.9, the chance of being wrong; use p, the chance of being right.",
        ),
    ):
        if math.isclose(value, mistaken, abs_tol=5e-3):
            raise Wrong(f"你的答案是 {value:.4g}。{chinese}", f"Your answer is {value:.4g}. {english}")
    raise Wrong(
        f"你的答案是 {value:.4g}，不对。十个类别，一样可能：猜对的概率 p 是多少？损失是 -log(p)。",
        f"Your answer is {value:.4g}, which isn't it. Of ten equally likely classes, what is p, the chance of "
        "being right? The loss is -log(p).",
    )


q1 = Exercise(
    name="00.1",
    judge=judge_guessing,
    praise=(
        "没训练过的网络，损失就该在 2.3 左右。第一步的损失若远不是这个数，先去查代码。",
        "That is where an untrained network starts. If your first loss is far from it, look for a fault in the code.",
    ),
    hints=(
        (
            "十个类别一样可能，猜对的概率 p 是多少？",
            "Ten classes, all equally likely: what is p, the chance of being right?",
        ),
        (
            "交叉熵给一张图的损失是 -log(p)，自然对数：math.log。",
            "Cross-entropy makes -log(p) of it, with the natural logarithm: math.log.",
        ),
    ),
    answer="""
import math

answer = -math.log(1 / 10)
exercises.q1.check(answer)
""",
)


# ---- 00.2: how far a curve has fallen ----

# Loss curves to try a function on: noisy, and of different lengths.
CURVES = (
    [2.3 - 0.01 * step + (0.3 if step % 3 == 0 else -0.1) for step in range(100)],
    [1.0] * 10 + [9.0] * 7 + [0.25] * 10,
    [0.5 + 0.02 * step * step for step in range(40)],
)


def judge_fall(function: object) -> None:
    for curve in CURVES:
        check_fall(curve, call(function, list(curve)))


def check_fall(curve: list[float], answer: object) -> None:
    first, last = sum(curve[:10]) / 10, sum(curve[-10:]) / 10
    try:
        value = float(answer)
    except (TypeError, ValueError):
        raise Wrong(
            f"函数要返回一个数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"The function should return a number; yours returned {type(answer).__name__}: {answer!r}.",
        ) from None
    if math.isclose(value, first - last, abs_tol=1e-3):
        return
    given = (
        f"试了一条 {len(curve)} 步的曲线，你返回 {value:.4g}",
        f"For a curve of {len(curve)} steps you returned {value:.4g}",
    )
    for mistaken, chinese, english in (
        (
            last - first,
            "正负反了：下降要算正数，用前面的减后面的。",
            "The sign is the wrong way round: a fall counts as positive, so first minus last.",
        ),
        (
            curve[0] - curve[-1],
            "你只看了两个点；单个批次的损失抖得厉害，要各取十个的平均。",
            "You looked at two points only; the loss of a single batch jumps about, so average ten of each.",
        ),
        (10 * (first - last), "你用了和，没有用平均：再除以 10。", "You took sums, not means: divide by 10."),
        (
            first - sum(curve) / len(curve),
            "后一半要的是最后十个：losses[-10:]，不是全部的平均。",
            "The second part is the last ten, losses[-10:], not the mean of all.",
        ),
        (
            first - sum(curve[10:]) / len(curve[10:]),
            "losses[10:] 是第十个之后的全部；最后十个是 losses[-10:]。",
            "losses[10:] is everything after the tenth; the last ten are losses[-10:].",
        ),
        (
            first,
            "这是前十个的平均；还要减去后十个的平均。",
            "That is the mean of the first ten; subtract the mean of the last ten.",
        ),
        (
            last,
            "这是后十个的平均；要用前十个的平均减去它。",
            "That is the mean of the last ten; subtract it from the mean of the first ten.",
        ),
    ):
        if math.isclose(value, mistaken, abs_tol=1e-3):
            raise Wrong(f"{given[0]}。{chinese}", f"{given[1]}. {english}")
    raise Wrong(
        f"{given[0]}，应为 {first - last:.4g}：前十个的平均减后十个的平均。",
        f"{given[1]}, expected {first - last:.4g}: the mean of the first ten minus that of the last ten.",
    )


q2 = Exercise(
    name="00.2",
    judge=judge_fall,
    praise=(
        "单个批次的损失会抖，平均之后才看得出趋势。",
        "The loss of one batch jumps about; averages show where it is going.",
    ),
    hints=(
        (
            "前十个是 losses[:10]，后十个是 losses[-10:]。",
            "The first ten are losses[:10], the last ten losses[-10:].",
        ),
        (
            "平均是 sum(...) / 10；下降算正数，所以是前面的减后面的。",
            "A mean is sum(...) / 10; a fall counts as positive, so it is first minus last.",
        ),
    ),
    answer="""
def fall(losses):
    return sum(losses[:10]) / 10 - sum(losses[-10:]) / 10


exercises.q2.check(fall)
""",
)
