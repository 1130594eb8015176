"""How an answer is tried out. A judge takes the answer and yields what it saw: (what, got, expected), or (what, got)
for something noted only to tell mistakes apart. What is wrong with an answer is found out elsewhere, by exercise().
"""

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Blank, Wrong
from tudui_course.checks.compare import Words, in_both, quoted, same

Judge = Callable[[Any], Iterable[tuple]]


def judge_function(reference: Callable, cases: Iterable) -> Judge:
    """Call a function on all cases, and compare what it returns, and what it leaves of its arguments, with a reference.

    Args:
        reference: does what is asked, worked out in another way than the solution wherever there is one (torch, math).
        cases: the arguments of each call. Enough of them that a mistake shows, and that no two mistakes look alike.
    """
    names, cases = list(inspect.signature(reference).parameters), list(cases)

    def judge(answer: Callable) -> Iterator[tuple]:
        for case in cases:
            given, wanted = (copy.deepcopy(case) for _ in range(2))
            label = f"{reference.__name__}({in_short(names, given)})"
            before, tensors = state(given), list(tensors_in(given))
            expected, got = attempt(reference, wanted), attempt(answer, given)
            if not isinstance(got, Exception):
                kept = all(one is other for one, other in zip(tensors_in(given), tensors, strict=False))
                yield (
                    f"{label}：你把列表里的张量换掉了 · {label}: you put other tensors into the lists",
                    not kept,
                    False,
                )
                yield from left_behind(label, names, before, state(given), state(wanted))
            yield label, got, expected

    return judge


def left_behind(label: str, names: list[str], before: list, given: list, wanted: list) -> Iterator[tuple]:
    """What has become of the arguments: first of those to be left alone, then of those to be changed."""
    changed = []
    for name, start, left, right in zip(names, before, given, wanted, strict=True):
        if differ(right, start):
            changed.append((f"{label}，{name} · {label}, {name}", left, right))
        else:
            yield f"{label}：你的函数改动了 {name} · {label}: your function changed {name}", differ(left, start), False
    yield from changed


def judge_figure(expected: float | dict[str, int]) -> Judge:
    """Compare a number with the right one; or several numbers, which have names."""

    def judge(answer: Any) -> Iterator[tuple]:
        if not isinstance(expected, dict):
            yield "", as_figure(answer), expected
            return
        if not isinstance(answer, tuple | list) or len(answer) != len(expected):
            chinese, english = (", ".join(half) for half in zip(*map(in_both, expected), strict=True))
            raise Wrong(
                f"这里要 {len(expected)} 个数（{chinese}），你给的是 {quoted(answer)}。",
                f"This needs {len(expected)} numbers ({english}), but you gave {quoted(answer)}.",
            )
        if any(one is ... or one is None for one in answer):
            raise Blank
        for name, one in zip(expected, answer, strict=True):
            yield name, one, expected[name]

    return judge


def as_figure(answer: Any) -> float:
    """The answer as a number: also from a tensor of one element, or from text."""
    try:
        return answer if isinstance(answer, int) else float(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(
            f"这里要一个数，你给的是 {type(answer).__name__}：{quoted(answer)}。",
            f"This needs a number, but you gave {type(answer).__name__}: {quoted(answer)}.",
        ) from None


class judge_prediction:
    """Compare what was foretold with what really happens, up to the first question that was answered wrong.

    Args:
        truth: what happens, found by trying it where that can be done: one value, or a dictionary of questions.
        options: what may be answered.
    """

    def __init__(self, truth: Any, options: tuple) -> None:
        self.truth, self.options = truth, options

    def __call__(self, answer: Any) -> Iterator[tuple]:
        questions = self.truth if isinstance(self.truth, dict) else {"": self.truth}
        given = answer if isinstance(self.truth, dict) else {"": answer}
        if not isinstance(given, dict) or given.keys() != questions.keys():
            raise Wrong(
                f"这里要原来那个字典，{len(questions)} 项；你给的是 {quoted(answer)}。",
                f"This needs the dictionary of {len(questions)} entries that stood there; you gave {quoted(answer)}.",
            )
        if any(one is ... or one is None for one in given.values()):
            raise Blank
        for question, one in given.items():
            if not any(same(one, option, within=0) for option in self.options):
                options = ", ".join(map(quoted, self.options))
                raise Wrong(
                    f"{question}：你填了 {quoted(one)}；只能是 {options}。",
                    f"{question}: you wrote {quoted(one)}; it is one of {options}.",
                )
            yield question, Words(quoted(one)), Words(quoted(questions[question]))
            if not same(one, questions[question], within=0):
                return

    def wrong(self, key: str) -> list:
        """All wrong answers to one question, the others right; or the wrong answer that `key` itself is."""
        if not isinstance(self.truth, dict):
            return [option for option in self.options if str(option) == key]
        return [{**self.truth, key: option} for option in self.options if option != self.truth[key]]


def judge_model(reference: Callable[[], nn.Module], shape: tuple[int, ...]) -> Judge:
    """Compare a network, or what makes one, with a reference: the shape of its outputs, and its layers.

    Args:
        reference: makes a right network.
        shape: of one input, without the batch.
    """

    def judge(answer: nn.Module | Callable) -> Iterator[tuple]:
        model = required(answer if isinstance(answer, nn.Module) else call(answer), nn.Module, "网络", "a network")
        for count in (2, 3):  # two sizes: a batch size must not be built in
            size = (count, *shape)
            got, expected = (shape_of(attempt(one, [torch.ones(size)])) for one in (model, reference()))
            yield f"{size} 的输出形状 · the output's shape for {size}", got, expected
        yield "层 · layers", layers(model), layers(reference())

    return judge


def layers(model: nn.Module) -> Words:
    """The kinds of a network's layers, in order."""
    return Words(", ".join(type(layer).__name__ for layer in model.modules() if not list(layer.children())))


def shape_of(value: Any) -> Any:
    """A tensor's shape; anything else, an error for instance, as it is."""
    return Words(tuple(value.shape)) if isinstance(value, Tensor) else value


def call(function: Callable, *arguments: Any) -> Any:
    """Call a learner's function. One without a body, or that leaves the dots for its result, is still blank."""
    if not callable(function):
        kind = type(function).__name__
        raise Wrong(
            f"这里要一个函数，你给的是 {kind}。",
            f"This needs a function, but you gave {'an' if kind[0] in 'aeiou' else 'a'} {kind}.",
        )
    before = state(arguments)
    result = function(*arguments)
    code = getattr(function, "__code__", None)
    empty = code is None or len(code.co_code) <= len((lambda: None).__code__.co_code)  # dots, a docstring, a comment
    if (result is ... or (result is None and empty)) and not differ(arguments, before):
        raise Blank
    return None if result is ... else result


def attempt(function: Callable, arguments: Iterable, seed: int = 0) -> Any:
    """What a call returns, or the exception that it raises, from the same random numbers each time."""
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds a GPU as well
    try:
        return call(function, *arguments)
    except (Wrong, Blank):
        raise
    except Exception as error:
        return error


def required(value: Any, kind: type, chinese: str, english: str) -> Any:
    """The value, or Wrong with a sentence where it is of another kind."""
    if not isinstance(value, kind):
        yours = quoted(value) if isinstance(value, type) else type(value).__name__
        raise Wrong(f"要返回{chinese}，你返回的是 {yours}。", f"Return {english}; yours returned {yours}.")
    return value


def state(value: Any) -> Any:
    """What a value holds now, to be compared later: numbers of tensors; weights and mode of a network."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, nn.Module):
        mode = Words("training mode" if value.training else "evaluation mode")
        trainable = Words(all(parameter.requires_grad for parameter in value.parameters()))
        return {"mode": mode, "requires_grad": trainable, **state(value.state_dict())}
    if isinstance(value, dict):
        return {key: state(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [state(one) for one in value]
    return value if isinstance(value, int | float | str | type | None) else type(value)


def differ(one: Any, other: Any) -> bool:
    """Whether two values hold other numbers."""
    return not same(state(one), state(other), within=0)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in lists and tuples, themselves and not their copies."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors_in(one)


def in_short(names: list[str], arguments: Iterable) -> str:
    """The arguments of a call that say something in few words: numbers, texts, shapes."""
    plain = (int, float, str, Tensor, list, type(None))
    told = [(n, a) for n, a in zip(names, arguments, strict=True) if isinstance(a, plain)]
    return ", ".join(f"{n}={quoted(a)}" for n, a in told if isinstance(a, Tensor) or not list(tensors_in(a)))
