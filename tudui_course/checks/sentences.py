"""What is said of a wrong answer, in Chinese and in English: where it went wrong, what came out there, and why."""

import math
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from tudui_course.checks.compare import Fact, Pair, in_both, quoted

NOTHING = (
    "你的函数没有返回结果：最后要用 return（print 只是显示出来）。",
    "Your function returned nothing: end it with return (print only shows a value).",
)


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
