"""An exercise out of its text: step_NN.toml holds what the learner reads, a judge how an answer is tried out.

A mistake is wrong code with its message. It is recognised by what it does: the answer is tried out, and so is each
mistake; the one that does the same where the answer first goes wrong, and most often elsewhere, is the learner's.
"""

import ast
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tudui_course.checks.base import Blank, Exercise, Wrong
from tudui_course.checks.compare import NOTED, Fact, Pair, facts, of_known, of_unknown, same
from tudui_course.checks.judges import Judge, judge_prediction
from tudui_course.errors import InputError

FOLDER = Path(__file__).parent
NEEDED, OPTIONAL = {"praise", "hints", "solution"}, {"mistakes", "otherwise", "helpers", "answer", "given"}


def exercise(name: str, judge: Judge, within: float = 1e-6, to_first_wrong: bool = False) -> Exercise:
    """The exercise of this name, "03.2": its text is [q2] in step_03.toml.

    Args:
        name: notebook and number.
        judge: tries an answer out, see judges.py.
        within: how far a number may be from the right one, besides 1e-5 of it.
        to_first_wrong: try no further than that: what follows from it would only confuse.

    Raises:
        InputError: the file has no such text, or it lacks something, or has more than it may.
    """
    notebook, number = name.split(".")
    file = tomllib.loads((FOLDER / f"step_{notebook}.toml").read_text(encoding="utf-8"))
    text = file.get(f"q{number}", {})
    if not NEEDED <= text.keys() <= NEEDED | OPTIONAL:
        raise InputError(
            f"step_{notebook}.toml: [q{number}] has {sorted(text)}; it needs {sorted(NEEDED)} and may have "
            f"{sorted(OPTIONAL)}."
        )
    praise, hints = tuple(text.pop("praise")), tuple(tuple(hint) for hint in text.pop("hints"))
    table = Table(judge, within, imports=file.get("imports", ""), to_first_wrong=to_first_wrong, **text)
    solution = f"{table.solution}\n\nexercises.q{number}.check({table.answer})"
    return Exercise(name, table.decide, praise, hints, solution, table)


@dataclass
class Table:
    """What is known of an exercise.

    Attributes:
        judge, within, to_first_wrong: as for `exercise`.
        imports: what solution and wrong code import.
        solution: source text.
        mistakes: wrong code -> its message.
        otherwise: advice on a wrong answer that no mistake accounts for.
        helpers: functions that wrong code uses.
        answer: the expression that is checked; the last name that the solution defines, where it isn't given.
        given: the wrong code that stands in the notebook to be mended; what does the same is still blank.
    """

    judge: Judge
    within: float
    imports: str
    solution: str
    mistakes: dict[str, Pair] = field(default_factory=dict)
    otherwise: Pair = ("", "")
    helpers: str = ""
    answer: str = ""
    given: str = ""
    to_first_wrong: bool = False
    tried: dict[str, list[dict]] = field(default_factory=dict, init=False, repr=False)  # mistake -> what its answers do

    def __post_init__(self) -> None:
        self.solution = self.solution.strip()
        last = ast.parse(self.solution).body[-1]
        self.of_function = isinstance(last, ast.FunctionDef)
        self.answer = self.answer or (last.name if self.of_function else ast.unparse(last.targets[0]))
        self.instead = f"def {last.name}({ast.unparse(last.args)}): return" if self.of_function else f"{self.answer} ="

    def source(self, wrong: str) -> str:
        """Source text of wrong code: edits of the solution, "old => new && old => new", or what it gives instead."""
        if " => " not in wrong:
            return f"{self.instead} {wrong}"
        source = self.solution
        for edit in wrong.split(" && "):
            old, new = edit.split(" => ")
            if old not in source:
                raise InputError(f"{old!r} of the mistake {wrong!r} isn't in the solution:\n{source}")
            source = source.replace(old, new)
        return source

    def run(self, source: str) -> Any:
        """The answer that this source text defines."""
        names: dict = {}
        exec(f"{self.imports}\n{self.helpers}\n{source}", names)
        return eval(self.answer, names)

    def wrong_answers(self, wrong: str) -> list:
        """The answers that a mistake stands for: what its code defines, or all wrong options of a question."""
        if isinstance(self.judge, judge_prediction):
            return self.judge.wrong(wrong)
        return [self.run(self.source(wrong))]

    def decide(self, answer: Any) -> None:
        """Return for a right answer; raise Wrong (or Blank) for another."""
        found = self.try_out(answer)
        wrongs = self.wrongs(found)
        if not wrongs:
            return
        first = wrongs[0]
        if self.given and self.agreement(found, first, self.given) == len(found):
            raise Blank(
                "代码还是原来的样子：运行它，看看哪里不对，再改。",
                "Still as it was given: run it, see what goes wrong, and mend it.",
            )
        agreements = {wrong: self.agreement(found, first, wrong) for wrong in self.mistakes}
        likely = max(agreements, key=agreements.get, default=None)
        if likely and agreements[likely]:
            raise Wrong(*of_known(first, self.mistakes[likely]))
        raise Wrong(*of_unknown(first, self.otherwise, tell=self.of_function))

    def try_out(self, answer: Any) -> list[Fact]:
        """All that is seen of an answer; an error ends it."""
        found: list[Fact] = []
        torch.default_generator.manual_seed(0)  # the same for the answer and for the mistakes
        try:
            for seen in self.judge(answer):
                found += facts(*seen)
                if self.to_first_wrong and self.wrongs(found):
                    break
        except (Wrong, Blank):
            raise
        except Exception as error:
            found.append(Fact("", error, None))
        return found

    def wrongs(self, found: list[Fact]) -> list[Fact]:
        """The facts that aren't as they should be; a noted one always is."""
        return [one for one in found if one.expected is not NOTED and not same(one.got, one.expected, self.within)]

    def agreement(self, found: list[Fact], first: Fact, wrong: str) -> int:
        """In how many facts wrong code does as the answer did, if it accounts for it.

        It does where it goes wrong in the same way in the first fact, and, unless that is a complaint (a bool), in at
        least half of all that are wrong.
        """
        wrongs, most = {fact.what for fact in self.wrongs(found)}, 0
        if wrong not in self.tried:
            answers = self.wrong_answers(wrong)
            self.tried[wrong] = [{fact.what: fact.got for fact in self.try_out(answer)} for answer in answers]
        for theirs in self.tried[wrong]:
            alike = {what for what, got, _ in found if what in theirs and same(got, theirs[what], self.within)}
            enough = isinstance(first.expected, bool) or 2 * len(alike & wrongs) >= len(wrongs)
            if first.what in alike and enough:
                most = max(most, len(alike))
        return most
