"""Exercises of 11_better_recipe: what may be reported, a one-cycle learning rate, a step of Nesterov momentum."""

import math

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Exercise, NothingReturned, Wrong, as_number, call, refuse_known

# ---- 11.1: choose by validation, report the test ----

# Validation and test accuracies of several models; which one is best differs between the two.
MODELS = (
    ([0.61, 0.70, 0.58, 0.66, 0.63], [0.66, 0.65, 0.60, 0.69, 0.62]),
    ([0.52, 0.43, 0.47], [0.44, 0.48, 0.46]),
    ([0.31, 0.33, 0.36, 0.39, 0.35], [0.38, 0.32, 0.41, 0.37, 0.29]),
    ([0.75], [0.71]),
)


def judge_reportable(function: object) -> None:
    """Several sets of models, one of them with a single model."""
    for val, test in MODELS:
        check_reportable(function, val, test)


def check_reportable(function: object, val: list[float], test: list[float]) -> None:
    """Judge the number for one set of models."""
    given = list(val), list(test)
    answer = as_number(call(function, *given), "reportable")
    if given != (val, test):
        raise Wrong(
            "你的函数改动了 val 或 test；只读它们就够了（sorted(val) 代替 val.sort()）。",
            "Your function changed val or test; reading them is enough (sorted(val) in place of val.sort()).",
        )
    chosen = val.index(max(val))
    if math.isclose(answer, test[chosen], abs_tol=1e-9):
        return
    mistakes = (
        (
            max(test),
            "这是最高的测试正确率：你在测试集上挑选了，这个数偏高。按 val 来挑。",
            "That is the highest test accuracy: you chose on the test set, and it looks too good. Choose by val.",
        ),
        (
            max(val),
            "这是挑中的那个模型的验证正确率，它正是靠这个数被挑中的，所以也偏高；报告它的 test。",
            "That is the chosen model's validation accuracy, by which it was chosen, so it looks too good as well; "
            "report its test.",
        ),
        (
            chosen,
            "这是挑中的模型的号码；要的是它的测试正确率：test[号码]。",
            "That is the chosen model's number; what is wanted is its test accuracy, test[number].",
        ),
        (
            test[val.index(min(val))],
            "你挑了验证正确率最低的那个；正确率越高越好，用 max。",
            "You chose the model with the lowest validation accuracy; higher is better, so use max.",
        ),
        (
            sum(test) / len(test),
            "这是所有模型的平均；你会用的只有挑中的那一个。",
            "That is the mean over all models; you will use the chosen one only.",
        ),
        (
            test[-1],
            "这是最后一个模型的；挑选要看 val。",
            "That is the last model's; the choice depends on val.",
        ),
    )
    refuse_known(answer, mistakes, f"val = {val}, test = {test}")
    raise Wrong(
        f"val = {val}，test = {test}：应为 {test[chosen]}，你得到 {answer:g}。",
        f"val = {val}, test = {test}: it should be {test[chosen]}, but you got {answer:g}.",
    )


q1 = Exercise(
    name="11.1",
    judge=judge_reportable,
    praise=(
        "按验证集挑，报告挑中的那一个在测试集上的成绩。",
        "Chosen by validation, reported on the test set.",
    ),
    hints=(
        ("先找到 val 最大的那一个是第几个。", "First find which number has the largest val."),
        ("val.index(max(val)) 是它的号码；再去 test 里取。", "val.index(max(val)) is its number; look it up in test."),
    ),
    answer="""
def reportable(val, test):
    chosen = val.index(max(val))
    return test[chosen]


exercises.q1.check(reportable)
""",
)


# ---- 11.2: the learning rate of one cycle ----


def torch_rates(steps: int, peak: float) -> list[float]:
    """The learning rates of all steps as torch's scheduler gives them."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, peak, total_steps=steps, pct_start=0.25, anneal_strategy="linear",
        cycle_momentum=False, div_factor=10, final_div_factor=1000,
    )  # fmt: skip
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def judge_cycle(function: object) -> None:
    """All steps of three runs, one with a corner between two steps, as torch has them."""
    for steps, peak in ((100, 0.03), (42, 0.2), (40, 1.0)):
        expected = torch_rates(steps, peak)
        answers = [as_number(call(function, step, steps, peak), "one_cycle") for step in range(steps)]
        wrong = [step for step in range(steps) if not math.isclose(answers[step], expected[step], rel_tol=1e-6)]
        if wrong:
            explain_cycle(answers, expected, wrong, steps, peak)


def explain_cycle(answers: list[float], expected: list[float], wrong: list[int], steps: int, peak: float) -> None:
    """Raise Wrong with what is known of these learning rates."""
    step, top = wrong[0], 0.25 * steps - 1
    what = f"one_cycle({step}, {steps}, {peak:g})"
    got = f"{answers[step]:.6g}"
    falling = [step for step in range(steps) if step > top]
    reasons = (
        (
            len({f"{answer:.9g}" for answer in answers}) == 1,
            "每一步都一样：学习率要随 step 变。",
            "the same at each step; the rate has to change with step.",
        ),
        (
            any(answer < 0 for answer in answers),
            "有几步的学习率是负的：升和降各用各的式子，分界在 0.25 * steps - 1。",
            "at some steps the rate is negative: rise and fall need a formula each, with the border at "
            "0.25 * steps - 1.",
        ),
        (
            wrong[0] > 0 and follows(answers, rates(steps, peak, first=10, top=0.25 * steps)),
            "最高点晚了一步：步从 0 数起，所以是第 0.25 * steps - 1 步。",
            "the peak comes a step too late: steps count from 0, so it is at step 0.25 * steps - 1.",
        ),
        (
            follows(answers, rates(steps, peak, last=steps)),
            "最低点晚了一步：最后一步是第 steps - 1 步，不是第 steps 步。",
            "the lowest point comes a step too late: the last step is number steps - 1, not steps.",
        ),
        (
            follows(answers, rates(steps, peak, first=math.inf)),
            "开头应是 peak / 10，你是从 0 升起的。",
            "it should begin at peak / 10; yours rises from 0.",
        ),
        (
            follows(answers, rates(steps, peak, final=math.inf)),
            "最后应是 peak / 10_000，你降到了 0。",
            "it should end at peak / 10_000; yours falls to 0.",
        ),
        (
            follows(answers, rates(steps, peak, final=1_000)),
            "最后应是 peak / 10_000，你的是 peak / 1_000。",
            "it should end at peak / 10_000; yours ends at peak / 1_000.",
        ),
        (
            follows(answers, rates(steps, peak, final=10)),
            "最后应是 peak / 10_000，你又回到了 peak / 10。",
            "it should end at peak / 10_000; yours goes back to peak / 10.",
        ),
        (
            follows(answers, rates(steps, peak, top=0.5 * steps - 1)),
            "最高点在四分之一处，不在正中间。",
            "the peak comes after a quarter of the steps, not in the middle.",
        ),
        (
            wrong == falling,
            "上升是对的，下降不对。",
            "the rise is right, the fall isn't.",
        ),
    )
    for holds, chinese, english in reasons:
        if holds:
            raise Wrong(f"{what}：你得到 {got}。{chinese}", f"{what}: you got {got}; {english}")
    raise Wrong(
        f"{what}：应为 {expected[step]:.6g}，你得到 {got}。",
        f"{what}: it should be {expected[step]:.6g}, but you got {got}.",
    )


def rates(
    steps: int,
    peak: float,
    *,
    first: float = 10,
    final: float = 10_000,
    top: float | None = None,
    last: float | None = None,
) -> list[float]:
    """Learning rates with the corners (0, peak / first), (top, peak), (last, peak / final)."""
    top = 0.25 * steps - 1 if top is None else top
    last = steps - 1 if last is None else last
    start, end = peak / first, peak / final
    return [
        start + (peak - start) * step / top if step <= top else peak + (end - peak) * (step - top) / (last - top)
        for step in range(steps)
    ]


def follows(answers: list[float], known: list[float]) -> bool:
    """Whether the answers are these learning rates."""
    return all(math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) for one, other in zip(answers, known, strict=True))


q2 = Exercise(
    name="11.2",
    judge=judge_cycle,
    praise=(
        "每一步都和 torch 的 OneCycleLR 一样。",
        "The same as torch's OneCycleLR at each step.",
    ),
    hints=(
        (
            "先算出三个拐点；看 step 在最高点之前还是之后，各写一条直线。",
            "Work out the three corners; then a straight line each for step before and after the peak.",
        ),
        (
            "从 (x0, y0) 到 (x1, y1) 的直线：y0 + (y1 - y0) * (step - x0) / (x1 - x0)。",
            "The line from (x0, y0) to (x1, y1) is y0 + (y1 - y0) * (step - x0) / (x1 - x0).",
        ),
    ),
    answer="""
def one_cycle(step, steps, peak):
    first, top, last = peak / 10, 0.25 * steps - 1, steps - 1
    if step <= top:
        return first + (peak - first) * step / top
    final = peak / 10_000
    return peak + (final - peak) * (step - top) / (last - top)


exercises.q2.check(one_cycle)
""",
)


# ---- 11.3: one step of Nesterov momentum with weight decay ----

SHAPES = ((3, 2), (4,), (1,))
CASES = ((0.1, 0.9, 0.0), (0.1, 0.9, 0.2), (0.05, 0.5, 0.1), (0.2, 0.0, 0.0))  # lr, mu, decay


def some_tensors(seed: int) -> list[Tensor]:
    """Random tensors of several shapes, float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def clones(tensors: list[Tensor]) -> list[Tensor]:
    """Copies that may be changed."""
    return [tensor.clone() for tensor in tensors]


def judge_step(function: object) -> None:
    """Two steps in a row for several lr, mu and decay, beside torch.optim.SGD."""
    for lr, mu, decay in CASES:
        weights = some_tensors(0)
        parameters = [nn.Parameter(weight.clone()) for weight in weights]
        optimizer = torch.optim.SGD(parameters, lr, momentum=mu, weight_decay=decay, nesterov=mu > 0)
        velocities = [torch.zeros_like(weight) for weight in weights]
        for number in (1, 2):
            gradients = some_tensors(number)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
            optimizer.step()
            start = clones(weights), clones(velocities)
            run_step(function, weights, gradients, velocities, lr, mu, decay)
            what = f"lr {lr:g}, mu {mu:g}, decay {decay:g}, step {number}"
            expected = [parameter.detach() for parameter in parameters]
            check_step(weights, velocities, start, gradients, expected, (lr, mu, decay), what)


def run_step(function: object, weights: list, gradients: list, velocities: list, *numbers: float) -> None:
    """Call the learner's function, which should return nothing and leave the gradients alone."""
    before = clones(gradients)
    lists = list(weights), list(gradients), list(velocities)
    try:
        call(function, *lists, *numbers)
    except NothingReturned:  # as it should be
        pass
    else:
        raise Wrong(
            "不要返回什么，要原地改：weight -= ... 或 weight.sub_(...)。",
            "Return nothing but change the tensors in place: weight -= ... or weight.sub_(...).",
        )
    if any(one is not other for one, other in zip(lists[0] + lists[2], weights + velocities, strict=True)):
        raise Wrong(
            "你把列表里的张量换成了新的；要改原来的张量本身，网络里的才会变：weight -= ...",
            "You put new tensors into the lists; change the tensors themselves, or those of the network stay: "
            "weight -= ...",
        )
    if any(not torch.equal(one, other) for one, other in zip(gradients, before, strict=True)):
        raise Wrong(
            "gradients 被改动了：写 g = gradient + decay * weight，不要写 gradient += ...",
            "The gradients were changed: write g = gradient + decay * weight, not gradient += ...",
        )


def reference(
    start: tuple[list[Tensor], list[Tensor]],
    gradients: list[Tensor],
    numbers: tuple[float, float, float],
    *,
    nesterov: bool = True,
    damped: bool = False,
    decay_last: bool = False,
    decays: bool = True,
    rises: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and velocities after a step, right or with one thing wrong."""
    lr, mu, decay = numbers
    weights, velocities = [], []
    for w, v, gradient in zip(*start, gradients, strict=True):
        g = gradient if decay_last or not decays else gradient + decay * w
        new = mu * v + (1 - mu if damped else 1) * g
        ahead = g + mu * new if nesterov else new
        if decay_last:
            ahead = ahead + decay * w
        weights.append(w + lr * ahead if rises else w - lr * ahead)
        velocities.append(new)
    return weights, velocities


MISTAKES = (
    (
        {"rises": True},
        "你往上坡走了：权重要减去 lr 乘以那一项。",
        "You go uphill: lr times that term is to be subtracted from the weight.",
    ),
    (
        {"nesterov": False},
        "这是普通的动量 w - lr * v；Nesterov 用 g + mu * v，其中的 v 是更新之后的。",
        "That is plain momentum, w - lr * v; Nesterov takes g + mu * v, with v as it is after its update.",
    ),
    (
        {"damped": True},
        "速度里的梯度不要乘 1 - mu：v = mu * v + g（那样写是滑动平均）。",
        "In the velocity the gradient isn't multiplied by 1 - mu: v = mu * v + g (yours is a running average).",
    ),
    (
        {"decays": False},
        "没有用到 decay：先给梯度加上 decay * weight。",
        "decay wasn't used: first add decay * weight to the gradient.",
    ),
    (
        {"decay_last": True},
        "decay * weight 加得太晚，没有进到速度里；要先加进 g，再走那两行。",
        "decay * weight came too late to enter the velocity; add it to g first, then follow the two lines.",
    ),
)


def check_step(
    weights: list[Tensor],
    velocities: list[Tensor],
    start: tuple[list[Tensor], list[Tensor]],
    gradients: list[Tensor],
    expected: list[Tensor],
    numbers: tuple[float, float, float],
    what: str,
) -> None:
    """Judge weights and velocities after a step; torch says what the weights should be."""
    _, wanted = reference(start, gradients, numbers)
    if near(weights, expected) and near(velocities, wanted):
        return
    if near(weights, start[0]):
        raise Wrong(
            f"{what}：权重一点没变。weight = weight - ... 只是给新张量起了名字；要原地改：weight -= ...",
            f"{what}: no weight has changed. weight = weight - ... only names a new tensor; change it in place: "
            "weight -= ...",
        )
    if near(weights, expected):
        raise Wrong(
            f"{what}：权重对了，速度没有更新：velocities 里的张量也要原地改成 mu * v + g。",
            f"{what}: the weights are right, but the velocities aren't; the tensors in velocities have to become "
            "mu * v + g in place.",
        )
    if near(weights[:1], expected[:1]) and near(weights[1:], start[0][1:]):
        raise Wrong(
            f"{what}：只有第一个张量变了：要走遍三个列表。",
            f"{what}: only the first tensor has changed; go through all of the lists.",
        )
    for change, chinese, english in MISTAKES:
        if near(weights, reference(start, gradients, numbers, **change)[0]):
            raise Wrong(f"{what}：{chinese}", f"{what}: {english}")
    place = next(i for i, (one, other) in enumerate(zip(weights, expected, strict=True)) if not near([one], [other]))
    got, right = weights[place].flatten()[0].item(), expected[place].flatten()[0].item()
    raise Wrong(
        f"{what}：weights[{place}] 的第一个数应为 {right:.4f}，你得到 {got:.4f}。",
        f"{what}: the first number of weights[{place}] should be {right:.4f}, but you got {got:.4f}.",
    )


def near(tensors: list[Tensor], others: list[Tensor]) -> bool:
    """Whether all tensors agree but for rounding."""
    return all(
        one.shape == other.shape and torch.allclose(one, other, rtol=1e-6, atol=1e-9)
        for one, other in zip(tensors, others, strict=True)
    )


q3 = Exercise(
    name="11.3",
    judge=judge_step,
    praise=(
        "和 torch.optim.SGD(nesterov=True, weight_decay=...) 走得一样。",
        "The very steps of torch.optim.SGD(nesterov=True, weight_decay=...).",
    ),
    hints=(
        (
            "for w, gradient, v in zip(weights, gradients, velocities)：每个张量走三个式子。",
            "for w, gradient, v in zip(weights, gradients, velocities): three formulas for each tensor.",
        ),
        (
            "g = gradient + decay * w；v *= mu; v += g；最后 w -= lr * (g + mu * v)。",
            "g = gradient + decay * w; then v *= mu; v += g; and last w -= lr * (g + mu * v).",
        ),
    ),
    answer="""
def nesterov_step(weights, gradients, velocities, lr, mu, decay):
    for w, gradient, v in zip(weights, gradients, velocities, strict=True):
        g = gradient + decay * w
        v.mul_(mu).add_(g)
        w.sub_(lr * (g + mu * v))


exercises.q3.check(nesterov_step)
""",
)
