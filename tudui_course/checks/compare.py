"""Whether a learner's value agrees with another one, and how to speak of the two in Chinese and in English."""

import math
import re
import reprlib
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

Pair = tuple[str, str]  # in Chinese and in English

SHORT = reprlib.Repr()
SHORT.maxstring = 120

NOTED = object()  # expected of a fact that only tells mistakes apart
NOTHING = (
    "你的函数没有返回结果：最后要用 return（print 只是显示出来）。",
    "Your function returned nothing: end it with return (print only shows a value).",
)


class Words(str):
    """Text that is quoted without quotation marks."""


class Fact(NamedTuple):
    """One thing seen while an answer was tried out.

    Attributes:
        what: its name, the same in both languages or "中文 · English"; of a bool, the complaint if it is true.
        got: what the answer made of it.
        expected: what a right answer makes of it, or NOTED where that may vary.
    """

    what: str
    got: Any
    expected: Any = NOTED


def facts(what: str, got: Any, expected: Any = NOTED) -> Iterator[Fact]:
    """One fact for each element of lists, tuples and dictionaries of the same form, else a single one."""
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple) and len(got) == len(expected):
        for index, (one, other) in enumerate(zip(got, expected, strict=True)):
            yield from facts(part(what, index), one, other)
    elif isinstance(expected, dict) and isinstance(got, dict) and got.keys() == expected.keys():
        for key in expected:
            yield from facts(part(what, key), got[key], expected[key])
    else:
        yield Fact(what, got, expected)


def part(what: str, key: Any) -> str:
    """The name of an element, in both languages."""
    return " · ".join(f"{half}[{key!r}]" for half in what.split(" · "))


def same(got: Any, expected: Any, within: float) -> bool:
    """Whether two values agree but for rounding; an int will do for a float, a list or an array for a tensor."""
    if isinstance(expected, Tensor):
        got = as_tensor(got, expected)
        fits = isinstance(got, Tensor) and got.shape == expected.shape and got.dtype == expected.dtype
        if not fits or not expected.is_floating_point():
            return fits and torch.equal(got, expected)
        return torch.allclose(got.detach(), expected.detach(), rtol=1e-5, atol=within, equal_nan=True)
    if isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, Integral):
        return isinstance(got, Integral) and int(got) == int(expected)
    if isinstance(expected, Real):
        return isinstance(got, Real) and (math.isclose(got, expected, rel_tol=1e-5, abs_tol=within) or got is expected)
    if isinstance(expected, Exception):
        return type(got) is type(expected) and (isinstance(got, OSError) or in_words(got) == in_words(expected))
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        got, expected = dict(enumerate(got)), dict(enumerate(expected))
    if isinstance(expected, dict):
        fits = isinstance(got, dict) and got.keys() == expected.keys()
        return fits and all(same(got[key], expected[key], within) for key in expected)
    return type(got) is type(expected) and bool(got == expected)


def as_tensor(got: Any, expected: Tensor) -> Any:
    """A NumPy array, or numbers in a list, as a tensor; anything else as it is."""
    if isinstance(got, np.ndarray):
        return torch.as_tensor(got)
    if isinstance(got, list | tuple) and got and all(isinstance(one, Real) for one in got):
        return torch.tensor(got, dtype=expected.dtype)
    return got


def in_words(error: Exception) -> set[str]:
    """The words of an error's message: its numbers, and the order of two operands, differ from case to case."""
    return set(re.findall(r"[A-Za-z_]+", str(error)))


def quoted(value: Any) -> str:
    """A value as it can stand in a sentence: short, a tensor by its shape."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "tensor" if isinstance(value, Tensor) else "array"
        return f"{kind} {tuple(value.shape)}" if value.ndim else f"{kind} {value.item():.6g}"
    if isinstance(value, Words):
        return value
    if isinstance(value, Real) and not isinstance(value, Integral):
        number = f"{float(value):.6g}"
        return number if set(number) & set(".en") else f"{number}.0"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}".splitlines()[0].rstrip(" :.")
    if isinstance(value, type):
        return f"class {value.__name__}"
    if isinstance(value, list | tuple):
        items = [quoted(one) for one in value[:4]] + ["..."] * (len(value) > 4)
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)})"
    if isinstance(value, str | Integral | dict):
        return SHORT.repr(value)
    return type(value).__name__


def in_both(text: str) -> Pair:
    """The two halves of "中文 · English"; a text without a dot serves both."""
    chinese, _, english = text.partition(" · ")
    return chinese, english or chinese


# ---- what is said of a wrong answer: where it went wrong, what came out there, and why ----


def of_known(fact: Fact, message: Pair) -> Pair:
    """The message of the mistake that was recognised, after the learner's own value."""
    what, got, expected = in_both(fact.what), fact.got, fact.expected
    if isinstance(got, bool):
        return message
    if isinstance(got, Exception):
        start = f"你的代码出错了：{quoted(got)}。", f"Your code raised {quoted(got)}. "
    elif not fact.what:
        start = f"你的答案是 {quoted(got)}。", f"Your answer is {quoted(got)}. "
    elif got is None or (isinstance(got, Tensor) and isinstance(expected, Tensor) and got.shape == expected.shape):
        start = f"{what[0]}：", f"{what[1]}: "
    else:
        start = f"{what[0]}：你得到 {quoted(got)}。", f"{what[1]}: you got {quoted(got)}. "
    return start[0] + message[0], start[1] + message[1]


def of_unknown(fact: Fact, advice: Pair, tell: bool) -> Pair:
    """What should have come out in place of what did (only if it may be told), and the exercise's own advice."""
    what = in_both(fact.what)
    if isinstance(fact.got, Exception):
        error, where = quoted(fact.got), (f"（{what[0]}）", f" ({what[1]})") if fact.what else ("", "")
        return f"你的代码出错了：{error}{where[0]}", f"Your code raised an error: {error}{where[1]}"
    if fact.got is None and fact.expected is not None:
        return NOTHING
    if isinstance(fact.expected, bool):
        return f"{what[0]}。{advice[0]}", f"{what[1]}. {advice[1]}".rstrip()
    chinese, english = difference(fact.got, fact.expected, tell)
    if fact.what:
        chinese, english = f"{what[0]}：{chinese}", f"{what[1]}: {english}"
    else:
        english = f"{english[0].upper()}{english[1:]}"
    return f"{chinese}。{advice[0]}", f"{english}. {advice[1]}".rstrip()


def difference(got: Any, expected: Any, tell: bool) -> Pair:
    """How a value differs from the right one, as a sentence without its full stop."""
    yours, right = quoted(got), quoted(expected)
    named = yours if isinstance(got, Tensor) else f"{type(got).__name__} {yours}"
    if isinstance(expected, Real):
        if isinstance(got, Tensor) and got.ndim == 0:
            return (
                f"你得到的是张量 {got.item():.6g}；要普通的数，加上 .item()",
                f"yours is a tensor, {got.item():.6g}; make it a plain number with .item()",
            )
        if not isinstance(got, Real) or isinstance(got, bool):
            return f"要一个数，你得到 {named}", f"this needs a number, but yours is {named}"
        if isinstance(expected, Integral) and not isinstance(got, Integral):
            return f"要一个整数，你得到 {named}", f"this needs a whole number, but yours is {named}"
    if isinstance(expected, Tensor):
        if isinstance(got, Tensor):
            return tensor_difference(got, expected)
        return f"应为 {right}，你得到 {named}", f"it should be a {right}, but yours is {named}"
    if not tell:
        return f"你的答案是 {yours}，不对", f"your answer is {yours}, which isn't it"
    return f"应为 {right}，你得到 {yours}", f"it should be {right}, but you got {yours}"


def tensor_difference(got: Tensor, expected: Tensor) -> Pair:
    """What is wrong with a tensor: its shape, its dtype, or the number that is furthest off."""
    if got.shape != expected.shape:
        given, wanted = tuple(got.shape), tuple(expected.shape)
        return f"形状应为 {wanted}，你的是 {given}", f"the shape should be {wanted}, yours is {given}"
    if got.dtype != expected.dtype:
        return f"类型应为 {expected.dtype}，你的是 {got.dtype}", f"it should be {expected.dtype}, yours is {got.dtype}"
    place = (got.detach().double() - expected.detach().double()).abs().nan_to_num(math.inf).flatten().argmax()
    yours, right = (f"{tensor.detach().flatten()[place].item():.4f}" for tensor in (got, expected))
    return (
        f"形状对，数不对：应为 {right} 的地方你得到 {yours}",
        f"the shape is right, the numbers aren't: where it should be {right} you got {yours}",
    )
