"""What an exercise is: it judges an answer, gives hints and shows a solution."""

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tudui_course.checks.solved import remember
from tudui_course.language import chosen

ASCII = str.maketrans("✓✗○", "vxo")  # for a console that can't show them
NOT_ATTEMPTED = (
    "还没有作答：把 ... 换成你的代码；要写几行，就另起一行，缩进着写。",
    "Not attempted yet: put your code in place of the dots; several lines go below, indented.",
)


class Wrong(Exception):
    """Raised by a judge with two arguments: what is wrong with this answer, in Chinese and in English."""


class Blank(Exception):
    """Raised by a judge: nothing has been written yet. Two arguments say it otherwise than NOT_ATTEMPTED."""


@dataclass(frozen=True)
class Exercise:
    """One exercise of a notebook.

    Attributes:
        name: notebook and number, for example "07.2".
        judge: takes the answer; returns for a right one, raises `Wrong` (or `Blank`) otherwise.
        praise: what a right answer has shown, in Chinese and in English.
        hints: (Chinese, English), from vague to plain.
        answer: the solution as code.
        table: what the judge knows of solution and mistakes; the tests try them all.
    """

    name: str
    judge: Callable[[Any], None]
    praise: tuple[str, str]
    hints: tuple[tuple[str, str], ...]
    answer: str
    table: Any = None

    def check(self, answer: Any = ...) -> None:
        """Print whether the answer is right, and if not, what is wrong with it. Never raises."""
        try:
            with untouched():
                if answer is None or answer is ...:
                    raise Blank
                self.judge(answer)
        except Wrong as wrong:
            say("✗", self.name, *wrong.args)
        except Blank as blank:
            say("○", self.name, *(blank.args or NOT_ATTEMPTED))
        except Exception as error:  # the learner's code, or an answer of a kind nobody thought of
            name = type(error).__name__
            say("✗", self.name, f"你的代码出错了：{name}: {error}", f"Your code raised an error: {name}: {error}")
        else:
            remember(self.name)
            say("✓", self.name, *self.praise)

    def hint(self, number: int = 1) -> None:
        """Print hint 1, 2 ...; the last one says most."""
        number = max(1, min(number, len(self.hints)))
        say("?", f"{self.name} ({number}/{len(self.hints)})", *self.hints[number - 1])

    def solution(self) -> None:
        """Print the solution."""
        show(self.answer.strip())


def say(mark: str, name: str, chinese: str, english: str) -> None:
    """Print one message in both languages, or in the one chosen."""
    show(f"{mark} {name}  " + f"\n{' ' * (len(name) + 4)}".join(chosen(chinese, english)))


def show(text: str) -> None:
    """Print, with v, x, o and question marks for what the console has no characters for."""
    try:
        print(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(text.translate(ASCII).encode(encoding, "replace").decode(encoding))


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Leave random numbers and gradient mode as they were, whatever a learner's code does to them."""
    python, numpy = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(gpus), torch.enable_grad():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
