"""Exercises of 09_device_and_precision: a step on any device, timing a device that runs ahead, bfloat16 by autocast."""

import statistics

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from tudui_course.checks.base import Exercise, Wrong, as_number, call, refuse_known
from tudui_course.model import Tudui


def new_model(seed: int) -> Tudui:
    """A network with weights from this seed; the learner's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tudui()


def new_batch(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Random images (count, 3, 32, 32) and targets (count,), on the CPU as they come out of a loader."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=generator)
    return images, torch.randint(0, 10, (count,), generator=generator)


def as_loss(answer: object, what: str) -> Tensor:
    """The answer as a 0-dim tensor, or Wrong with a sentence that quotes it."""
    if not isinstance(answer, Tensor):
        raise Wrong(
            f"{what}：要返回 loss 这个张量，你返回的是 {type(answer).__name__}：{str(answer)[:60]}。",
            f"{what}: return the tensor loss; yours returned {type(answer).__name__}: {str(answer)[:60]}.",
        )
    if answer.dim() > 0:
        shape = tuple(answer.shape)
        raise Wrong(
            f"{what}：损失是一个数，你返回的张量形状是 {shape}。",
            f"{what}: the loss is a single number; your tensor has shape {shape}.",
        )
    return answer


# ---- 09.1: a training step on any device ----

LR = 0.01


def judge_step(function: object) -> None:
    """On meta, where everything must have been moved; then on the CPU, where the numbers can be checked."""
    for device, count, seed in (("meta", 4, 0), ("cpu", 4, 1), ("cpu", 3, 2)):
        check_step(function, torch.device(device), count, seed)


def check_step(function: object, device: torch.device, count: int, seed: int) -> None:
    """Judge one step; the network comes with old gradients, as it does in any step but the first."""
    model, (images, targets) = new_model(seed), new_batch(count, seed)
    expected_loss, expected = reference_step(model, images, targets)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    what = f'device="{device}"'
    seen, stepped = [], []
    hooks = [
        model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].device)),
        register_optimizer_step_post_hook(lambda optimizer, *_: stepped.append(optimizer)),
    ]
    try:
        answer = call(function, model, images.clone(), targets.clone(), device)
    except (RuntimeError, AssertionError) as error:
        explain_step_error(error, model, seen, what)
        raise
    finally:
        for hook in hooks:
            hook.remove()
    loss = as_loss(answer, what)
    if loss.device != device:
        raise Wrong(
            f"{what}：损失在 {loss.device} 上，应在 {device} 上。网络、图片、答案都要搬到参数 device 说的地方。",
            f"{what}: the loss is on {loss.device}, it should be on {device}. Move network, images and targets to the "
            "place that the argument device names.",
        )
    check_optimizer(stepped, model, what)
    if device.type == "cpu":
        check_numbers(loss, model, expected_loss, expected, what)


def reference_step(model: nn.Module, images: Tensor, targets: Tensor) -> tuple[float, list[Tensor]]:
    """Loss and weights after one right step; the model itself stays as it is."""
    parameters = list(model.parameters())
    loss = nn.functional.cross_entropy(model(images), targets)
    gradients = torch.autograd.grad(loss, parameters)
    return loss.item(), [(p - LR * g).detach() for p, g in zip(parameters, gradients, strict=True)]


def explain_step_error(error: Exception, model: nn.Module, seen: list[torch.device], what: str) -> None:
    """Raise Wrong with what the error means here; return where it isn't one of the typical ones."""
    message, where = str(error), next(model.parameters()).device
    if "NVIDIA driver" in message or "CUDA enabled" in message:
        raise Wrong(
            f"{what}：.cuda() 只认 NVIDIA 显卡，这里没有；写 .to(device)，到哪台机器都行。",
            f"{what}: .cuda() wants an NVIDIA GPU, and there is none here; .to(device) works on any machine.",
        ) from None
    if "item() cannot be called on meta" in message:
        raise Wrong(
            f"{what}：meta 上没有数，取不出来；而且 .item() 每一步都要等设备。直接返回 loss。",
            f"{what}: there are no numbers on meta to be fetched, and .item() waits for the device in each step. "
            "Return loss itself.",
        ) from None
    if "is not on the expected device" not in message:
        return
    if seen and seen[-1] != where:
        if where.type == "cpu":
            raise Wrong(
                f"{what}：图片到了 {seen[-1]}，网络的权重还在 cpu：少了 model.to(device)。",
                f"{what}: the images went to {seen[-1]}, the network's weights are still on cpu: model.to(device) is "
                "missing.",
            ) from None
        raise Wrong(
            f"{what}：网络到了 {where}，图片还在 {seen[-1]}。images.to(device) 给的是新张量，要接住："
            "images = images.to(device)。",
            f"{what}: the network went to {where}, the images are still on {seen[-1]}. images.to(device) gives a new "
            "tensor, so keep it: images = images.to(device).",
        ) from None
    raise Wrong(
        f"{what}：网络和图片都在 {where}，对不上的是 targets：targets = targets.to(device)。",
        f"{what}: network and images are both on {where}; what doesn't fit is targets: targets = targets.to(device).",
    ) from None


def check_optimizer(stepped: list, model: nn.Module, what: str) -> None:
    """Raise Wrong unless one optimizer made one step over the model's own parameters."""
    if not stepped:
        raise Wrong(
            f"{what}：没有调用 optimizer.step()，权重没有更新。",
            f"{what}: optimizer.step() was never called, so no weight was updated.",
        )
    if len(stepped) > 1:
        raise Wrong(
            f"{what}：只要一步，你走了 {len(stepped)} 步。",
            f"{what}: one step is wanted, yours made {len(stepped)}.",
        )
    held = {id(parameter) for group in stepped[0].param_groups for parameter in group["params"]}
    if not held >= {id(parameter) for parameter in model.parameters()}:
        raise Wrong(
            f"{what}：优化器手里不是网络现在的权重：它在 model.to(device) 之前就建好了，"
            "或者没有拿到全部参数。先搬，再建。",
            f"{what}: the optimizer doesn't hold the network's present weights: it was built before model.to(device), "
            "or not over all parameters. Move first, then build.",
        )


def check_numbers(loss: Tensor, model: nn.Module, expected_loss: float, expected: list[Tensor], what: str) -> None:
    """Raise Wrong unless loss and weights are those of one plain SGD step."""
    if abs(loss.item() - expected_loss) > 1e-3:
        raise Wrong(
            f"{what}：损失应为 {expected_loss:.3f}，你得到 {loss.item():.3f}。用 nn.CrossEntropyLoss()，不带别的参数。",
            f"{what}: the loss should be {expected_loss:.3f}, but yours is {loss.item():.3f}. Use "
            "nn.CrossEntropyLoss() without further arguments.",
        )
    now = [parameter.detach() for parameter in model.parameters()]

    def off(shift: float) -> float:
        return max((a - b + shift).abs().max().item() for a, b in zip(now, expected, strict=True))

    if off(0.0) < 1e-5:
        return
    if off(LR) < 1e-5:  # the old gradients, all ones, went into the step as well
        raise Wrong(
            f"{what}：上一步的梯度也加进来了：backward() 之前要 optimizer.zero_grad()。",
            f"{what}: the gradients of the step before went in as well: call optimizer.zero_grad() before backward().",
        )
    raise Wrong(
        f"{what}：损失对了，权重不对：要普通的 SGD，学习率 {LR}，zero_grad、backward、step 各一次。",
        f"{what}: the loss is right, the weights aren't: use plain SGD with learning rate {LR}, and zero_grad, "
        "backward and step once each.",
    )


q1 = Exercise(
    name="09.1",
    judge=judge_step,
    praise=(
        "该搬的都搬了，次序也对；换成显卡，一个字都不用改。",
        "Everything was moved, and in the right order; on a GPU not a word has to change.",
    ),
    hints=(
        (
            "要搬三样：网络、图片、答案。哪样就地搬，哪样要重新赋值？优化器什么时候建？",
            "Three things move: network, images, targets. Which moves in place, which is assigned again? And when is "
            "the optimizer built?",
        ),
        (
            "model.to(device)；然后 torch.optim.SGD(model.parameters(), lr=0.01)；"
            "images, targets = images.to(device), targets.to(device)；再是平常的一步，最后 return loss。",
            "model.to(device); then torch.optim.SGD(model.parameters(), lr=0.01); "
            "images, targets = images.to(device), targets.to(device); then an ordinary step, and return loss.",
        ),
    ),
    answer="""
def first_step(model, images, targets, device):
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, targets = images.to(device), targets.to(device)
    loss = nn.CrossEntropyLoss()(model(images), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


exercises.q1.check(first_step)
""",
)


# ---- 09.2: timing a device that runs ahead ----

LAUNCH = 0.001  # seconds that the CPU takes to queue one piece of work
FIRST = 3.0  # seconds of the first piece


class RunsAhead:
    """A made-up device: `work` only queues, `synchronize` waits, and the first piece of work takes long.

    Its times repeat with the period of `durations`, so any so many in a row have the same median.
    """

    def __init__(self, durations: list[float]) -> None:
        self.durations = durations
        self.now, self.busy_until = 100.0, 0.0
        self.works, self.asked = 0, 0

    def work(self) -> None:
        """Queue one piece of work and return at once."""
        duration = FIRST if self.works == 0 else self.durations[(self.works - 1) % len(self.durations)]
        self.works += 1
        self.now += LAUNCH
        self.busy_until = max(self.now, self.busy_until) + duration

    def synchronize(self) -> None:
        """Wait until the queue is empty."""
        self.now = max(self.now, self.busy_until)

    def clock(self) -> float:
        """Seconds, as time.perf_counter gives them."""
        self.asked += 1
        return self.now


def measured(
    device: RunsAhead, repetitions: int, *, warm_up: int = 1, before: bool = True, after: bool = True
) -> list[float]:
    """What one reads off the clock with these precautions taken or left out."""
    times = []
    for _ in range(warm_up):
        device.work()
    for _ in range(repetitions):
        if before:
            device.synchronize()
        start = device.clock()
        device.work()
        if after:
            device.synchronize()
        times.append(device.clock() - start)
    return times


def judge_timing(function: object) -> None:
    """Seven repetitions, then three: whoever wrote the number into the function is found out."""
    durations = [0.3, 0.1, 0.4, 1.2, 1.6, 0.8, 0.2], [0.5, 0.9, 0.2]
    seven, three = (check_timing(function, part) for part in durations)
    if seven == three:
        raise Wrong(
            f"repetitions 是 7 还是 3，你都调用 work() {seven} 次：用参数 repetitions，不要写死。",
            f"Whether repetitions is 7 or 3, you call work() {seven} times: use the argument repetitions.",
        )


def check_timing(function: object, durations: list[float]) -> int:
    """Judge the median on one made-up device; returns how often `work` was called."""
    repetitions, device = len(durations), RunsAhead(durations)
    what = f"repetitions={repetitions}"
    answer = as_number(call(function, device.work, device.synchronize, device.clock, repetitions), what)
    if not device.works:
        raise Wrong(
            f"{what}：你没有调用 work()，什么也没量。",
            f"{what}: work() was never called, so nothing was measured.",
        )
    if not device.asked:
        raise Wrong(
            f"{what}：看时间要用传进来的 clock()，不用别的钟。",
            f"{what}: read the time from the clock() that you were given, not from another one.",
        )
    right = statistics.median(measured(RunsAhead(durations), repetitions))
    if abs(answer - right) > 1e-6:
        refuse_known(answer, timing_mistakes(durations, device.works), what)
        raise Wrong(
            f"{what}：应为 {right:.3f} 秒，你得到 {answer:.3f} 秒；work() 一共调用了 {device.works} 次。",
            f"{what}: it should be {right:.3f} seconds, but you got {answer:.3f}; work() was called {device.works} "
            "times.",
        )
    return device.works


def timing_mistakes(durations: list[float], works: int) -> tuple:
    """Known wrong figures, with what to say of them; `works` is how often the learner called `work`."""
    repetitions = len(durations)

    def read(count: int = repetitions, **left_out: bool | int) -> list[float]:
        return measured(RunsAhead(durations), count, **left_out)

    times, cold, unsettled = read(), read(warm_up=0), read(before=False)
    warm = (
        "第一次 work() 特别慢（预热），不能算进去：先跑一次，不计时。",
        "The first work() is far slower and mustn't count: run it once before, without timing (warm-up).",
    )
    settle = (
        "预热的活儿还排在队里，被算进了第一次：开始计时之前也要 synchronize()。",
        "The warm-up was still in the queue and went into the first time: call synchronize() before starting the "
        "clock, too.",
    )
    mean = (
        "这是平均：偶尔一次慢，平均就被拉走。要中位数 statistics.median。",
        "That is the mean, which a single slow run pulls away; use the median, statistics.median.",
    )
    return (
        (
            statistics.median(read(before=False, after=False)),
            "这只是把活儿排进队的时间：看终点的钟之前，要 synchronize()。",
            "That is only the time of queueing: call synchronize() before reading the clock at the end.",
        ),
        (
            times[0] if works <= 2 else None,
            "这是第一次：return 是不是写进循环里了？",
            "That is the first one: does return stand inside the loop?",
        ),
        (statistics.median(unsettled) if works > repetitions else None, *settle),
        (sum(unsettled) / repetitions if works > repetitions else None, *settle),
        (statistics.median(cold) if works <= repetitions else None, *warm),
        (sum(cold) / repetitions if works <= repetitions else None, *warm),
        (statistics.median(read(repetitions + 1, warm_up=0)), *warm),
        (sum(times) / repetitions, *mean),
        (
            (sum(times) - (repetitions - 1) * LAUNCH) / repetitions,
            "你把几次放在一起量再相除，那是平均。每次单独量，再取中位数。",
            "You timed all together and divided, which is a mean. Time each by itself and take the median.",
        ),
        (sum(times), "这是几次的总和；要一次的中位数。", "That is the sum of all; the median of one is wanted."),
        (
            min(times),
            "这是最快的一次；要中位数 statistics.median。",
            "That is the fastest one; use the median, statistics.median.",
        ),
        (
            max(times),
            "这是最慢的一次；要中位数 statistics.median。",
            "That is the slowest one; use the median, statistics.median.",
        ),
        (
            times[-1],
            "这是最后一次；把每次的时间收进一个列表，取中位数。",
            "That is the last one; collect the times in a list and take their median.",
        ),
        (
            times[repetitions // 2],
            "取中间那个之前要排序：statistics.median 会替你排。",
            "Sort before taking the middle one: statistics.median does it for you.",
        ),
        (1000 * statistics.median(times), "这是毫秒；要秒。", "That is in milliseconds; seconds are wanted."),
        (
            0.0,
            "起点和终点是同一刻：work() 前后各看一次钟。",
            "Start and end are the same moment: read the clock before and after work().",
        ),
    )


q2 = Exercise(
    name="09.2",
    judge=judge_timing,
    praise=(
        "预热、前后同步、几次取中位数，一样不少。",
        "Warm-up, synchronised before and after, the median of several: nothing is missing.",
    ),
    hints=(
        (
            "三件事：先白跑一次；看钟之前都要 synchronize()；时间收进列表，取中位数。",
            "Three things: one run that doesn't count; synchronize() before each look at the clock; collect the times "
            "and take the median.",
        ),
        (
            "循环里：synchronize()；start = clock()；work()；synchronize()；times.append(clock() - start)。",
            "In the loop: synchronize(); start = clock(); work(); synchronize(); times.append(clock() - start).",
        ),
    ),
    answer="""
def median_seconds(work, synchronize, clock, repetitions):
    work()  # warm-up
    times = []
    for _ in range(repetitions):
        synchronize()
        start = clock()
        work()
        synchronize()
        times.append(clock() - start)
    return statistics.median(times)


exercises.q2.check(median_seconds)
""",
)


# ---- 09.3: bfloat16 by autocast ----


def judge_autocast(function: object) -> None:
    """A few pictures, then a single one."""
    for count, seed in ((5, 3), (1, 4)):
        check_autocast(function, count, seed)


def check_autocast(function: object, count: int, seed: int) -> None:
    """Judge one batch: which dtypes occurred, and whether the gradients are there."""
    model, (images, targets) = new_model(seed), new_batch(count, seed)
    expected = nn.functional.cross_entropy(model(images), targets).item()
    what = f"images {tuple(images.shape)}"
    logits = []
    hook = model.register_forward_hook(lambda *arguments: logits.append(arguments[2].dtype))
    try:
        answer = call(function, model, images, targets)
    except RuntimeError as error:
        if "should be the same" not in str(error) and "same dtype" not in str(error):
            raise
        raise Wrong(
            f"{what}：图片和权重的 dtype 不同。两样都留作 float32，不要自己转；autocast 会替你转。",
            f"{what}: images and weights have different dtypes. Leave both in float32 and convert nothing yourself; "
            "autocast does it.",
        ) from None
    finally:
        hook.remove()
    loss = as_loss(answer, what)
    check_dtypes(model, logits, loss, what)
    if abs(loss.item() - expected) > 0.05 * expected:
        refuse_known(
            round(loss.item() / expected, 1),
            ((float(count), "损失要求平均，不是求和。", "The loss is the mean, not the sum."),),
            f"{what}, loss / expected",
        )
        raise Wrong(
            f"{what}：损失应约为 {expected:.2f}，你得到 {loss.item():.2f}。",
            f"{what}: the loss should be about {expected:.2f}, but yours is {loss.item():.2f}.",
        )
    if any(parameter.grad is None for parameter in model.parameters()):
        raise Wrong(
            f"{what}：权重没有梯度：少了 loss.backward()。",
            f"{what}: the weights have no gradients: loss.backward() is missing.",
        )


def check_dtypes(model: nn.Module, logits: list[torch.dtype], loss: Tensor, what: str) -> None:
    """Raise Wrong unless weights stayed float32, logits were bfloat16 and the loss was float32."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    if kinds != {torch.float32}:
        kind = str(kinds.pop())
        raise Wrong(
            f"{what}：权重成了 {kind}。权重要留在 float32，小的更新才不会丢；去掉 model.bfloat16() 之类，用 autocast。",
            f"{what}: the weights became {kind}. They must stay float32, or small updates are lost; drop "
            "model.bfloat16() and the like, and use autocast.",
        )
    if not logits:
        raise Wrong(
            f"{what}：没有调用 model(images)。",
            f"{what}: model(images) was never called.",
        )
    if logits[-1] != torch.bfloat16:
        kind = str(logits[-1])
        raise Wrong(
            f"{what}：网络输出的是 {kind}，不是 bfloat16。把前向放进 "
            "with torch.autocast(images.device.type, torch.bfloat16)。",
            f"{what}: the network gave {kind}, not bfloat16. Put the forward pass inside "
            "with torch.autocast(images.device.type, torch.bfloat16).",
        )
    if loss.dtype != torch.float32:
        kind = str(loss.dtype)
        raise Wrong(
            f"{what}：损失是 {kind}。loss_fn 也要写在 autocast 里，它会换成 float32 来算。",
            f"{what}: the loss is {kind}. Put loss_fn inside autocast too, which computes it in float32.",
        )


q3 = Exercise(
    name="09.3",
    judge=judge_autocast,
    praise=(
        "前向用 bfloat16，权重、损失和梯度是 float32。",
        "The forward pass in bfloat16; weights, loss and gradients in float32.",
    ),
    hints=(
        (
            "with torch.autocast(...) 里放两行：model(images) 和损失；backward() 在外面。",
            "Two lines inside with torch.autocast(...): model(images) and the loss; backward() outside.",
        ),
        (
            "with torch.autocast(images.device.type, torch.bfloat16): "
            "loss = nn.CrossEntropyLoss()(model(images), targets)",
            "with torch.autocast(images.device.type, torch.bfloat16): "
            "loss = nn.CrossEntropyLoss()(model(images), targets)",
        ),
    ),
    answer="""
def bfloat16_loss(model, images, targets):
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = nn.CrossEntropyLoss()(model(images), targets)
    loss.backward()
    return loss


exercises.q3.check(bfloat16_loss)
""",
)
