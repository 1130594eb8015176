"""The exercises of 09_device_and_precision: solutions pass, blanks stay blank, each mistake gets its own message."""

import statistics
import time

import pytest
import torch
from torch import nn

from tudui_course.checks import step_09 as exercises

ALL = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2, exercises.q3], ids=lambda one: one.name)


@ALL
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (lambda *arguments: 1 / 0, "Your code raised an error: ZeroDivisionError"),
        (lambda *arguments: "text", "yours returned str"),
        (lambda *arguments: torch.zeros(7, 2), "tensor"),
        (lambda: 1, "Your code raised an error: TypeError"),
        (lambda *arguments: print(end=""), "Your function returned nothing"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and part in out


def step_with(
    *,
    moves=("model", "images", "targets"),
    build="after",
    zero=True,
    steps=1,
    lr=0.01,
    loss_fn=None,
    give=None,
    to=None,
):
    """A learner's step with one thing wrong."""

    def answer(model, images, targets, device):
        device = to or device
        if build == "before":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        if "model" in moves:
            model.to(device)
        if build == "after":
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        if build == "last layer":
            optimizer = torch.optim.SGD(model.model1[-1].parameters(), lr=lr)
        images = images.to(device) if "images" in moves else images
        targets = targets.to(device) if "targets" in moves else targets
        loss = (loss_fn or nn.CrossEntropyLoss())(model(images), targets)
        if zero:
            optimizer.zero_grad()
        loss.backward()
        for _ in range(steps):
            optimizer.step()
        return give(loss) if give else loss

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (step_with(moves=("model", "targets")), "so keep it: images = images.to(device)"),
        (step_with(moves=("model", "images")), "what doesn't fit is targets"),
        (step_with(moves=("images", "targets")), "model.to(device) is missing"),
        (step_with(moves=("model",)), "so keep it: images = images.to(device)"),
        (step_with(moves=()), "the loss is on cpu, it should be on meta"),
        (step_with(to="cpu"), "the loss is on cpu, it should be on meta"),
        (step_with(build="before"), "Move first, then build"),
        (step_with(build="last layer"), "not over all parameters"),
        (step_with(steps=0), "optimizer.step() was never called"),
        (step_with(steps=2), "yours made 2"),
        (step_with(zero=False), "optimizer.zero_grad() before backward()"),
        (step_with(lr=0.1), "plain SGD with learning rate 0.01"),
        (step_with(loss_fn=nn.CrossEntropyLoss(reduction="sum")), "the loss should be"),
        (step_with(loss_fn=nn.CrossEntropyLoss(reduction="none"), give=lambda loss: loss), "grad can be implicitly"),
        (step_with(give=lambda loss: loss.item()), "no numbers on meta"),
        (step_with(give=lambda loss: loss.unsqueeze(0)), "your tensor has shape (1,)"),
        (step_with(give=lambda loss: 2.3), "yours returned float"),
    ],
)
def test_step_mistakes(answer, part, capsys):
    exercises.q1.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 09.1") and part in out


@pytest.mark.parametrize("message", ["Found no NVIDIA driver on your system.", "Torch not compiled with CUDA enabled"])
def test_cuda_without_a_gpu(message, capsys):
    def answer(model, images, targets, device):
        raise (AssertionError if "compiled" in message else RuntimeError)(message)

    exercises.q1.check(answer)
    assert ".to(device) works on any machine" in capsys.readouterr().out


def test_no_hook_is_left_behind():
    from torch.optim.optimizer import _global_optimizer_post_hooks

    exercises.q1.check(step_with())
    exercises.q1.check(step_with(moves=()))
    assert not _global_optimizer_post_hooks


def timing(*, warm_up=1, before=True, after=True, combine=statistics.median, count=None, clock=None):
    """A learner's timing with one thing wrong."""

    def answer(work, synchronize, given, repetitions):
        read, times = clock or given, []
        for _ in range(warm_up):
            work()
        for _ in range(count or repetitions):
            if before:
                synchronize()
            start = read()
            work()
            if after:
                synchronize()
            times.append(read() - start)
        return combine(times)

    return answer


def all_together(work, synchronize, clock, repetitions):
    work()
    synchronize()
    start = clock()
    for _ in range(repetitions):
        work()
    synchronize()
    return (clock() - start) / repetitions


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (timing(warm_up=0), "run it once before, without timing"),
        (timing(warm_up=0, combine=statistics.mean), "run it once before, without timing"),
        (timing(before=False), "before starting the clock, too"),
        (timing(before=False, after=False), "only the time of queueing"),
        (timing(after=False), "only the time of queueing"),
        (timing(combine=statistics.mean), "That is the mean"),
        (timing(combine=sum), "That is the sum"),
        (timing(combine=min), "That is the fastest"),
        (timing(combine=max), "That is the slowest"),
        (timing(combine=lambda times: times[-1]), "That is the last one"),
        (timing(combine=lambda times: times[len(times) // 2]), "Sort before taking the middle one"),
        (timing(combine=lambda times: 1000 * statistics.median(times)), "in milliseconds"),
        (timing(count=1), "does return stand inside the loop"),
        (timing(count=7), "Whether repetitions is 7 or 3, you call work() 8 times"),
        (timing(clock=time.perf_counter), "from the clock() that you were given"),
        (all_together, "You timed all together and divided"),
        (lambda work, synchronize, clock, repetitions: 0.401, "work() was never called"),
        (lambda work, synchronize, clock, repetitions: (work(), clock(), 0.123)[2], "should be 0.401 seconds"),
        (lambda work, synchronize, clock, repetitions: (work(), clock() - clock())[1], "the same moment"),
    ],
)
def test_timing_mistakes(answer, part, capsys):
    exercises.q2.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 09.2") and part in out


@pytest.mark.parametrize("answer", [timing(warm_up=3), timing(combine=lambda times: sorted(times)[len(times) // 2])])
def test_other_right_timings(answer, capsys):
    exercises.q2.check(answer)
    assert capsys.readouterr().out.startswith("✓")


def low(*, dtype=torch.bfloat16, loss_inside=True, weights=None, pictures=None, backward=True, reduction="mean"):
    """A learner's bfloat16 loss with one thing wrong."""

    def answer(model, images, targets):
        loss_fn = nn.CrossEntropyLoss(reduction=reduction)
        if weights:
            model.to(weights)
        if pictures:
            images = images.to(pictures)
        with torch.autocast(images.device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            logits = model(images)
            if loss_inside:
                loss = loss_fn(logits, targets)
        if not loss_inside:
            loss = loss_fn(logits, targets)
        if backward:
            loss.backward()
        return loss

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (low(dtype=None), "the network gave torch.float32, not bfloat16"),
        (low(dtype=torch.float16), "the network gave torch.float16, not bfloat16"),
        (low(loss_inside=False), "the loss is torch.bfloat16"),
        (low(weights=torch.bfloat16), "the weights became torch.bfloat16"),
        (low(dtype=None, weights=torch.bfloat16), "images and weights have different dtypes"),
        (low(dtype=None, pictures=torch.bfloat16), "images and weights have different dtypes"),
        (low(dtype=None, weights=torch.bfloat16, pictures=torch.bfloat16), "the weights became torch.bfloat16"),
        (low(backward=False), "loss.backward() is missing"),
        (low(reduction="sum"), "The loss is the mean, not the sum"),
        (lambda model, images, targets: low()(model, images, targets).item(), "yours returned float"),
        (lambda model, images, targets: low()(model, images, targets) + 1, "should be about"),
        (lambda model, images, targets: torch.tensor(2.3), "model(images) was never called"),
    ],
)
def test_autocast_mistakes(answer, part, capsys):
    exercises.q3.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 09.3") and part in out


def test_random_state_and_autocast_are_left_alone():
    before = torch.get_rng_state()
    exercises.q1.check(step_with())
    exercises.q3.check(low())
    assert torch.equal(torch.get_rng_state(), before) and not torch.is_autocast_enabled("cpu")


@ALL
def test_hints_and_solution(exercise, capsys):
    exercise.hint()
    exercise.hint(2)
    exercise.solution()
    out = capsys.readouterr().out
    assert "(1/2)" in out and "(2/2)" in out and f"exercises.q{exercise.name[-1]}.check" in out
