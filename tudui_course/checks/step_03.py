"""Exercises of 03_training_loop: how long training is, the optimizer's step, one training step."""

import copy
import math

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Blank, Exercise, Wrong, call

# ---- 03.1: steps and printed lines of the lesson's ten epochs ----


def judge_steps(answer: object) -> None:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(
            f"这里要两个数 (步数, 行数)，你给的是 {answer!r}。",
            f"This needs two numbers, (steps, lines), but you gave {answer!r}.",
        )
    if any(value is ... or value is None for value in answer):
        raise Blank
    for value in answer:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(
                f"步数和行数都是整数，你给了 {type(value).__name__}：{value!r}。",
                f"Steps and lines are whole numbers, but you gave a {type(value).__name__}: {value!r}.",
            )
    check_steps(answer[0])
    check_lines(answer[1])


def check_steps(steps: int) -> None:
    expected = 10 * math.ceil(50_000 / 64)
    for mistaken, chinese, english in (
        (
            10 * (50_000 // 64),
            "每轮剩下的 16 张图也是一步：先向上取整，再乘 10。",
            "The 16 pictures left over in each epoch are a step too: round up, then multiply by 10.",
        ),
        (
            math.ceil(500_000 / 64),
            "每轮各自向上取整：一个批次不会跨到下一轮。",
            "Round up in each epoch: a batch doesn't reach into the next one.",
        ),
        (
            500_000 // 64,
            "每轮各自向上取整：一个批次不会跨到下一轮。",
            "Round up in each epoch: a batch doesn't reach into the next one.",
        ),
        (expected // 10, "这是一轮的步数；一共练 10 轮。", "That is one epoch; there are 10."),
        (500_000, "这是看过多少张图；一步看 64 张。", "That is how many pictures are seen; a step sees 64."),
    ):
        if steps == mistaken:
            raise Wrong(f"步数你填了 {steps}。{chinese}", f"You gave {steps} steps. {english}")
    if steps != expected:
        raise Wrong(
            f"步数你填了 {steps}，不对：一轮是 50000 ÷ 64 向上取整，再乘 10 轮。",
            f"You gave {steps} steps, which isn't it: an epoch has 50,000 ÷ 64, rounded up; then times 10 epochs.",
        )


def check_lines(lines: int) -> None:
    expected = 10 * math.ceil(50_000 / 64) // 100
    for mistaken, chinese, english in (
        (
            10 * (math.ceil(50_000 / 64) // 100),
            "计数器不随轮次清零，一轮剩下的 82 步接着算到下一轮。",
            "The counter isn't reset between epochs; the 82 steps left over count on in the next.",
        ),
        (
            expected + 1,
            "最后不满 100 步，不打印：向下取整。",
            "The last steps don't make a hundred, so nothing is printed: round down.",
        ),
        (
            math.ceil(50_000 / 64) // 100,
            "这是第一轮的行数；一共 10 轮。",
            "Those are the lines of the first epoch; there are 10.",
        ),
    ):
        if lines == mistaken:
            raise Wrong(
                f"步数对了。行数你填了 {lines}。{chinese}", f"Steps are right. You gave {lines} lines. {english}"
            )
    if lines != expected:
        raise Wrong(
            f"步数对了。行数你填了 {lines}，不对：总步数里有几个整百？",
            f"Steps are right. You gave {lines} lines, which isn't it: how many full hundreds are in the total?",
        )


q1 = Exercise(
    name="03.1",
    judge=judge_steps,
    praise=(
        "课里的输出正是到「训练次数：7800」为止。",
        "The lesson's output indeed ends with step 7800.",
    ),
    hints=(
        (
            "先算一轮：50000 张图，每步 64 张，最后一步可以不满。",
            "First one epoch: 50,000 pictures, 64 a step, the last step may be smaller.",
        ),
        (
            "步数是 10 * math.ceil(50000 / 64)；行数是其中有几个整百：// 100。",
            "Steps: 10 * math.ceil(50000 / 64). Lines: how many full hundreds that is, // 100.",
        ),
    ),
    answer="""
steps = 10 * math.ceil(50000 / 64)
lines = steps // 100
exercises.q1.check((steps, lines))
""",
)


# ---- 03.2: the optimizer's step ----


def judge_sgd(function: object) -> None:
    check_sgd(function, lr=0.1)
    check_sgd(function, lr=0.5)


def check_sgd(function: object, lr: float) -> None:
    generator = torch.Generator().manual_seed(3)
    weights = [torch.randn(shape, generator=generator) for shape in ((2, 3), (4,), (2,))]
    gradients: list = [torch.randn(weight.shape, generator=generator) for weight in weights]
    gradients[2] = None
    expected = [w if g is None else w - lr * g for w, g in zip(weights, gradients, strict=True)]
    given, given_gradients = [w.clone() for w in weights], [None if g is None else g.clone() for g in gradients]
    try:
        answer = call(function, given, given_gradients, lr)
    except TypeError as error:
        if "NoneType" in str(error):
            raise Wrong(
                "有一个梯度是 None（那个参数没有参加计算），你的代码拿它去乘了。None 的权重原样返回。",
                "One gradient is None (its parameter took no part), and your code multiplied it. Return that weight as "
                "it is.",
            ) from None
        raise
    if any(not torch.equal(a, b) for a, b in zip(given, weights, strict=True)):
        raise Wrong(
            "你改动了原来的权重（比如 w -= ... 是就地修改）。这里要返回新的：w - lr * g。",
            "You changed the weights that were given (w -= ... works in place). Return new ones: w - lr * g.",
        )
    if not isinstance(answer, list | tuple):
        raise Wrong(
            f"要返回一列张量，你返回的是 {type(answer).__name__}。",
            f"Return a list of tensors; yours returned {type(answer).__name__}.",
        )
    if len(answer) != len(weights):
        raise Wrong(
            f"给了 {len(weights)} 个权重，你返回了 {len(answer)} 个。梯度为 None 的也要返回。",
            f"{len(weights)} weights came in, {len(answer)} came out. Return those whose gradient is None as well.",
        )
    for index, new in enumerate(answer):
        check_weight(index, new, weights[index], gradients[index], expected[index], lr)


def check_weight(index: int, new: object, old: Tensor, gradient: Tensor | None, expected: Tensor, lr: float) -> None:
    where = f"lr={lr}, weights[{index}]"
    if not isinstance(new, Tensor) or new.shape != old.shape:
        what = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
        raise Wrong(
            f"{where}：应是形状 {tuple(old.shape)} 的张量，你返回的是 {what}。",
            f"{where}: expected a tensor of shape {tuple(old.shape)}, yours is {what}.",
        )
    if torch.allclose(new, expected, atol=1e-6):
        return
    if gradient is None:
        raise Wrong(
            f"{where}：它的梯度是 None，权重应原样返回，你改了它。",
            f"{where}: its gradient is None, so the weight stays as it is; you changed it.",
        )
    for mistaken, chinese, english in (
        (old + lr * gradient, "方向反了，损失会变大：应该减。", "The wrong way round, the loss would grow: subtract."),
        (old - gradient, "忘了乘学习率 lr。", "The learning rate lr is missing."),
        (old - gradient / lr, "学习率要乘，不是除。", "Multiply by the learning rate, don't divide."),
        (
            lr * gradient,
            "这是步子本身；还要从旧权重里减去它。",
            "That is the step itself; subtract it from the old weight.",
        ),
        (gradient, "这是梯度；新权重是 w - lr * g。", "That is the gradient; the new weight is w - lr * g."),
        (old, "权重没有变。", "The weight hasn't changed."),
        (
            old - 0.01 * gradient,
            "你把学习率写死成 0.01 了，要用参数 lr。",
            "You wrote 0.01 for the learning rate; use the argument lr.",
        ),
        (
            old - 0.1 * gradient,
            "你把学习率写死成 0.1 了，要用参数 lr。",
            "You wrote 0.1 for the learning rate; use the argument lr.",
        ),
    ):
        if torch.allclose(new, mistaken, atol=1e-6):
            raise Wrong(f"{where}：{chinese}", f"{where}: {english}")
    raise Wrong(
        f"{where}：第一个数应为 {expected.flatten()[0]:.4f}，你得到 {new.flatten()[0]:.4f}。新权重是 w - lr * g。",
        f"{where}: the first number should be {expected.flatten()[0]:.4f}, yours is {new.flatten()[0]:.4f}. "
        "The new weight is w - lr * g.",
    )


q2 = Exercise(
    name="03.2",
    judge=judge_sgd,
    praise=(
        "这就是 SGD 的全部。别的优化器只是把步子算得更讲究。",
        "That is all there is to SGD. Other optimizers only work out the step with more care.",
    ),
    hints=(
        (
            "一个权重：w - lr * g。用 zip(weights, gradients) 成对地走。",
            "One weight: w - lr * g. Go through pairs with zip(weights, gradients).",
        ),
        (
            "[w if g is None else w - lr * g for w, g in zip(weights, gradients)]",
            "[w if g is None else w - lr * g for w, g in zip(weights, gradients)]",
        ),
    ),
    answer="""
def sgd_step(weights, gradients, lr):
    return [w if g is None else w - lr * g for w, g in zip(weights, gradients, strict=True)]


exercises.q2.check(sgd_step)
""",
)


# ---- 03.3: one training step ----


class Recorder:
    """An SGD that writes down in which order it was called."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        self.inner = torch.optim.SGD(model.parameters(), lr)
        self.model, self.calls = model, []
        self.param_groups = self.inner.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        had = any(p.grad is not None and p.grad.any() for p in self.model.parameters())
        self.calls.append("zero_grad" if had else "zero_grad (nothing to clear)")
        self.inner.zero_grad(set_to_none)

    def step(self, closure=None) -> None:
        graded = any(p.grad is not None and p.grad.any() for p in self.model.parameters())
        self.calls.append("step" if graded else "step without gradient")
        self.inner.step(closure)


class PatientLoss(nn.CrossEntropyLoss):
    """A cross-entropy that says so when its two arguments have changed places."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point() and not input.is_floating_point():
            raise Wrong(
                "loss_fn 的两个参数写反了：先网络的输出，后 targets。",
                "The two arguments of loss_fn have changed places: first the network's outputs, then the targets.",
            )
        return super().forward(input, target)


def judge_train_step(function: object) -> None:
    generator = torch.Generator().manual_seed(4)
    batches = [
        (torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for size in (8, 8, 5)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = nn.Linear(6, 3)
    reference = copy.deepcopy(model)
    sgd = torch.optim.SGD(reference.parameters(), 0.2)
    recorder = Recorder(model, 0.2)
    loss_fn = PatientLoss()
    for number, (images, targets) in enumerate(batches, start=1):
        before = copy.deepcopy(model.state_dict())
        recorder.calls = []
        expected = reference_step(reference, images, targets, loss_fn, sgd)
        answer = call_step(function, model, images, targets, loss_fn, recorder)
        check_returned_loss(answer, expected, number)
        check_update(model, reference, before, recorder.calls, number)


def reference_step(model: nn.Module, images: Tensor, targets: Tensor, loss_fn: nn.Module, optimizer) -> float:
    loss = loss_fn(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def call_step(function, model, images, targets, loss_fn, recorder) -> object:
    before = copy.deepcopy(model.state_dict())
    try:
        return call(function, model, images, targets, loss_fn, recorder)
    except Blank:
        if all(torch.equal(before[name], value) for name, value in model.state_dict().items()):
            raise
        raise Wrong(
            "权重更新了，但没有返回损失：最后要 return loss.item()。",
            "The weights were updated, but no loss came back: end with return loss.item().",
        ) from None


def check_returned_loss(answer: object, expected: float, number: int) -> None:
    if isinstance(answer, Tensor):
        raise Wrong(
            f"第 {number} 步：你返回的是张量 {answer.detach()}；要普通的数，加上 .item()。",
            f"Step {number}: you returned a tensor, {answer.detach()}; make it a plain number with .item().",
        )
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"第 {number} 步：要返回一个数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"Step {number}: return a number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    if number == 1 and not math.isclose(answer, expected, rel_tol=1e-4):
        raise Wrong(
            f"第 1 步：损失应为 {expected:.4f}，你返回 {answer:.4f}。"
            "应是更新之前算出的 loss_fn(model(images), targets)，不先做 softmax。",
            f"Step 1: the loss should be {expected:.4f}, you returned {answer:.4f}. It is loss_fn(model(images), "
            "targets) as computed before the update, without a softmax.",
        )


def check_update(model: nn.Module, reference: nn.Module, before: dict, calls: list[str], number: int) -> None:
    now, right = model.state_dict(), reference.state_dict()
    if all(torch.allclose(now[name], right[name], atol=1e-6) for name in right):
        return
    unchanged = all(torch.equal(now[name], before[name]) for name in now)
    kinds = [name.split()[0] for name in calls]
    if "step" not in kinds:
        raise Wrong(
            f"第 {number} 步之后权重没有变：没有调用 optimizer.step()。",
            f"After step {number} the weights are what they were: optimizer.step() was not called.",
        )
    if unchanged and all(p.grad is None for p in model.parameters()) and kinds.index("step") == len(kinds) - 1:
        if "zero_grad" in calls or (number == 1 and "zero_grad" not in kinds):
            raise_no_gradient(calls, number)
        raise Wrong(
            f"第 {number} 步：走 step() 时没有梯度。没有调用 loss.backward()，或者它之后又清零了。",
            f"Step {number}: there was no gradient when step() came. loss.backward() is missing, or its result was "
            "cleared again.",
        )
    if "step without gradient" in calls:
        raise_too_early(number)
    if "zero_grad" not in kinds:
        raise Wrong(
            f"第 {number} 步的更新不对：没有 optimizer.zero_grad()，上一步的梯度加了进来。",
            f"Step {number} went wrong: without optimizer.zero_grad() the last step's gradients were added in.",
        )
    if kinds.index("step") < kinds.index("zero_grad"):
        raise_too_early(number)
    raise Wrong(
        f"第 {number} 步之后的权重不对。你的调用次序：{', '.join(kinds)}；应是 zero_grad, backward, step 各一次。",
        f"The weights after step {number} are off. Your calls: {', '.join(kinds)}; it should be zero_grad, backward, "
        "step, once each.",
    )


def raise_no_gradient(calls: list[str], number: int) -> None:
    if "zero_grad" in calls:
        raise Wrong(
            f"第 {number} 步：zero_grad 把刚算好的梯度清掉了。它要放在 backward 之前。",
            f"Step {number}: zero_grad cleared the gradients just computed. It belongs before backward.",
        )
    raise Wrong(
        f"第 {number} 步：走 step() 时没有梯度，没有调用 loss.backward()。",
        f"Step {number}: there was no gradient when step() came; loss.backward() was not called.",
    )


def raise_too_early(number: int) -> None:
    raise Wrong(
        f"第 {number} 步：step() 走得太早，那时还没有这一步的梯度。次序是 zero_grad、backward、step。",
        f"Step {number}: step() came too early, before this step's gradients. The order is zero_grad, backward, step.",
    )


q3 = Exercise(
    name="03.3",
    judge=judge_train_step,
    praise=(
        "每一步就是这五行，以后再大的网络也一样。",
        "These five lines are every training step, however large the network.",
    ),
    hints=(
        (
            "先 outputs = model(images)，再 loss = loss_fn(outputs, targets)，然后是三步。",
            "First outputs = model(images), then loss = loss_fn(outputs, targets), then the three calls.",
        ),
        (
            "三步的次序：optimizer.zero_grad()、loss.backward()、optimizer.step()；最后 return loss.item()。",
            "In this order: optimizer.zero_grad(), loss.backward(), optimizer.step(); then return loss.item().",
        ),
    ),
    answer="""
def train_step(model, images, targets, loss_fn, optimizer):
    loss = loss_fn(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


exercises.q3.check(train_step)
""",
)
