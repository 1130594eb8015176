"""The exercises of 11_better_recipe: solutions pass, blanks stay blank, each typical mistake gets its own message."""

import math

import pytest
import torch

from tudui_course.checks import step_11 as exercises

ALL = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2, exercises.q3], ids=lambda one: one.name)
NUMBERS = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2], ids=lambda one: one.name)


@ALL
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (0.65, "but you gave a float"),
        (lambda *arguments: 1 / 0, "Your code raised an error: ZeroDivisionError"),
        (lambda: 1, "Your code raised an error: TypeError"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and part in out


@NUMBERS
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda *arguments: "text", "yours returned str: text"),
        (lambda *arguments: torch.zeros(7, 2), "a tensor of shape (7, 2)"),
        (lambda *arguments: torch.tensor(0.5), "make it a plain number"),
        (lambda *arguments: print(end=""), "Your function returned nothing"),
    ],
)
def test_wrong_results_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and part in out


def sort_in_place(val, test):
    chosen = val.index(max(val))
    val.sort()
    return test[chosen]


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda val, test: max(test), "you chose on the test set"),
        (lambda val, test: max(val), "by which it was chosen"),
        (lambda val, test: val.index(max(val)), "the chosen model's number"),
        (lambda val, test: test[val.index(min(val))], "the lowest validation accuracy"),
        (lambda val, test: sum(test) / len(test), "the mean over all models"),
        (lambda val, test: test[-1], "the last model's"),
        (lambda val, test: test[0], "it should be"),
        (lambda val, test: 0.65, "it should be"),
        (sort_in_place, "changed val or test"),
    ],
)
def test_reportable_mistakes(answer, part, capsys):
    exercises.q1.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 11.1") and part in out


def cycle(first=10, final=10_000, top=lambda steps: 0.25 * steps - 1, last=lambda steps: steps - 1):
    """A learner's answer with one corner wrong."""

    def answer(step, steps, peak):
        start, end = peak / first, peak / final
        if step <= top(steps):
            return start + (peak - start) * step / top(steps)
        return peak + (end - peak) * (step - top(steps)) / (last(steps) - top(steps))

    return answer


def rise_only(step, steps, peak):
    return peak / 10 + (peak - peak / 10) * step / (0.25 * steps - 1)


def fall_only(step, steps, peak):
    return peak * (1 - step / steps)


def cosine_fall(step, steps, peak):
    top = 0.25 * steps - 1
    if step <= top:
        return rise_only(step, steps, peak)
    return peak * (1 + math.cos(math.pi * (step - top) / (steps - 1 - top))) / 2


def below_zero(step, steps, peak):
    return peak * (1 - 2 * step / steps)


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda step, steps, peak: peak, "has to change with step"),
        (below_zero, "the rate is negative"),
        (cycle(top=lambda steps: 0.25 * steps), "the peak comes a step too late"),
        (cycle(last=lambda steps: steps), "the lowest point comes a step too late"),
        (cycle(first=math.inf), "yours rises from 0"),
        (cycle(final=math.inf), "yours falls to 0"),
        (cycle(final=1_000), "yours ends at peak / 1_000"),
        (cycle(final=10), "goes back to peak / 10"),
        (cycle(top=lambda steps: 0.5 * steps - 1), "not in the middle"),
        (rise_only, "the rise is right, the fall isn't"),
        (cosine_fall, "the rise is right, the fall isn't"),
        (fall_only, "one_cycle(0, 100, 0.03): it should be 0.003, but you got 0.03"),
        (cycle(top=lambda steps: 24), "one_cycle(1, 42, 0.2)"),
    ],
)
def test_cycle_mistakes(answer, part, capsys):
    exercises.q2.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 11.2") and part in out


def stepping(kind):
    """A learner's answer with one thing wrong."""

    def answer(weights, gradients, velocities, lr, mu, decay):
        for w, gradient, v in zip(weights, gradients, velocities, strict=True):
            g = gradient if kind in ("no decay", "decay last") else gradient + decay * w
            old = v.clone()
            v.mul_(mu).add_(g * (1 - mu) if kind == "damped" else g)
            ahead = v if kind == "plain" else g + mu * (old if kind == "old" else v)
            if kind == "decay last":
                ahead = ahead + decay * w
            w.add_(ahead, alpha=lr if kind == "uphill" else -lr)
            if kind == "velocity lost":
                v.copy_(old)
            if kind == "first only":
                return

    return answer


def new_names(weights, gradients, velocities, lr, mu, decay):
    for w, gradient, v in zip(weights, gradients, velocities, strict=True):
        g = gradient + decay * w
        v = mu * v + g
        w = w - lr * (g + mu * v)


def into_the_lists(weights, gradients, velocities, lr, mu, decay):
    for i, (w, gradient, v) in enumerate(zip(weights, gradients, velocities, strict=True)):
        g = gradient + decay * w
        velocities[i] = mu * v + g
        weights[i] = w - lr * (g + mu * velocities[i])


def into_the_gradients(weights, gradients, velocities, lr, mu, decay):
    for w, gradient in zip(weights, gradients, strict=True):
        gradient += decay * w + 1


def returning(weights, gradients, velocities, lr, mu, decay):
    stepping("right")(weights, gradients, velocities, lr, mu, decay)
    return weights


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (stepping("uphill"), "You go uphill"),
        (stepping("plain"), "That is plain momentum"),
        (stepping("old"), "with v as it is after its update"),
        (stepping("damped"), "isn't multiplied by 1 - mu"),
        (stepping("no decay"), "decay wasn't used"),
        (stepping("decay last"), "came too late to enter the velocity"),
        (stepping("velocity lost"), "the velocities aren't"),
        (stepping("first only"), "only the first tensor has changed"),
        (new_names, "only names a new tensor"),
        (into_the_lists, "put new tensors into the lists"),
        (into_the_gradients, "The gradients were changed"),
        (returning, "Return nothing"),
        (lambda *arguments: "text", "Return nothing"),
        (lambda weights, *rest: [w.zero_() for w in weights] and None, "should be"),
    ],
)
def test_step_mistakes(answer, part, capsys):
    exercises.q3.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 11.3") and part in out


def test_step_may_use_operators(capsys):
    def answer(weights, gradients, velocities, lr, mu, decay):
        for w, gradient, v in zip(weights, gradients, velocities, strict=True):
            g = gradient + decay * w
            v *= mu
            v += g
            w -= lr * (g + mu * v)

    exercises.q3.check(answer)
    assert capsys.readouterr().out.startswith("✓")


@ALL
def test_nothing_is_left_behind(exercise):
    before, recording = torch.get_rng_state(), torch.is_grad_enabled()
    exec(exercise.answer, {"torch": torch, "exercises": exercises})
    assert torch.equal(torch.get_rng_state(), before) and torch.is_grad_enabled() == recording
