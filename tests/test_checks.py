"""What holds for the exercises of every notebook; of those with a table, each of its mistakes."""

import ast
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tudui_course.checks import all_exercises, step_01, table
from tudui_course.checks.base import Exercise
from tudui_course.checks.judges import judge_prediction
from tudui_course.checks.solved import solved
from tudui_course.errors import InputError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def cells_of(number: str) -> list[str]:
    """The code cells of a notebook."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def imports_of(number: str) -> str:
    """All import statements of a notebook, one a line."""
    cells = [cell for cell in cells_of(number) if not cell.startswith("%%")]  # %%writefile: another file's imports
    lines = [line for cell in cells for line in cell.splitlines() if not line.startswith(("%", "!"))]
    trees = ast.walk(ast.parse("\n".join(lines)))
    return "\n".join(ast.unparse(node) for node in trees if isinstance(node, ast.Import | ast.ImportFrom))


def everything_random() -> tuple:
    """What no check may touch: the state of all random numbers, and the gradient mode."""
    numpy = np.random.get_state()[1].tolist()
    return random.getstate(), numpy, torch.get_rng_state().tolist(), torch.is_grad_enabled()


def printed(exercise: Exercise, answer: object, capsys) -> str:
    """What is said of an answer: two lines, and nothing random has moved."""
    before = everything_random()
    capsys.readouterr()
    exercise.check(answer)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2, out
    assert everything_random() == before
    return out


def each(values) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("exercise", values, ids=lambda exercise: exercise.name)


EXERCISES = all_exercises()
TABLES = [exercise for exercise in EXERCISES if exercise.table]
MISTAKES = [(exercise, wrong) for exercise in TABLES for wrong in exercise.table.mistakes]
every_exercise = each(EXERCISES)
every_function = each([exercise for exercise in EXERCISES if "def " in exercise.answer])


@every_exercise
def test_the_solution_passes_with_what_its_notebook_imports_and_is_remembered(exercise: Exercise, capsys):
    names: dict = {}
    exec(imports_of(exercise.name.split(".")[0]), names)
    exec(exercise.answer, names)
    assert capsys.readouterr().out.startswith(f"✓ {exercise.name}")
    assert solved() == [exercise.name]


@every_exercise
@pytest.mark.parametrize("answer", [..., None], ids=["dots", "None"])
def test_a_blank_is_not_attempted(exercise: Exercise, answer: object, capsys):
    assert printed(exercise, answer, capsys).startswith(f"○ {exercise.name}") and solved() == []


def blank(*arguments): ...


def documented(*arguments):
    """Nothing here yet."""


@every_function
@pytest.mark.parametrize("answer", [blank, documented, lambda *arguments: ...], ids=["body", "docstring", "result"])
def test_a_function_without_a_body_is_not_attempted(exercise: Exercise, answer: object, capsys):
    assert printed(exercise, answer, capsys).startswith(f"○ {exercise.name}") and solved() == []


@pytest.mark.parametrize(("exercise", "wrong"), MISTAKES, ids=[f"{one.name}: {wrong}" for one, wrong in MISTAKES])
def test_each_mistake_gets_its_own_message_and_no_other(exercise: Exercise, wrong: str, capsys):
    messages = {tuple(pair) for pair in exercise.table.mistakes.values()}
    answers, before = exercise.table.wrong_answers(wrong), solved()
    assert answers
    for answer in answers:
        first, second = printed(exercise, answer, capsys).splitlines()
        said = [pair for pair in messages if first.endswith(pair[0]) and second.endswith(pair[1])]
        assert first.startswith(f"✗ {exercise.name}") and solved() == before
        assert max(said, key=lambda pair: len(pair[1]), default=None) == tuple(exercise.table.mistakes[wrong])


@each([exercise for exercise in TABLES if exercise.table.given])
def test_what_stands_in_the_notebook_to_be_mended_is_blank(exercise: Exercise, capsys):
    given = exercise.table.source(exercise.table.given)
    assert any(given in cell for cell in cells_of(exercise.name.split(".")[0]))
    assert printed(exercise, exercise.table.run(given), capsys).startswith(f"○ {exercise.name}") and solved() == []


@every_function
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "a str"),
        (torch.zeros(2, 3), "Tensor"),
        (0.65, "a float"),
        (lambda *arguments: 1 / 0, "raised .*ZeroDivisionError"),
        (lambda a, b, c, d, e, f, g, h: 1, "raised .*TypeError"),
    ],
    ids=["text", "tensor", "number", "error", "arguments"],
)
def test_what_is_no_such_function_gets_a_sentence(exercise: Exercise, answer: object, part: str, capsys):
    out = printed(exercise, answer, capsys)
    assert out.startswith(f"✗ {exercise.name}") and re.search(part, out)


def blocks(language: str) -> str:
    """The code of docs/teaching.md, section by section, on adding an exercise."""
    text = (NOTEBOOKS.parent / "docs" / "teaching.md").read_text(encoding="utf-8")
    section = text.partition("## 加一道练习")[2].partition("\n## ")[0]
    return [part.partition("```")[0] for part in section.split(f"```{language}\n")[1:]]


@pytest.fixture
def added(tmp_path, monkeypatch) -> dict:
    """The exercises that docs/teaching.md adds to notebook 01, by name."""
    texts = (table.FOLDER / "step_01.toml").read_text(encoding="utf-8")
    (tmp_path / "step_01.toml").write_text("\n".join([texts, *blocks("toml")]), encoding="utf-8")
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    names = {**vars(step_01), "judge_prediction": judge_prediction}
    for block in blocks("python"):
        if "exercise(" in block:
            exec(block, names)
    return {name: names[name] for name in ("q21", "q22", "q23")}


def test_the_exercises_in_the_docs_do_as_the_docs_say(added, capsys):
    for exercise in added.values():
        assert printed(exercise, exercise.table.run(exercise.table.solution), capsys).startswith("✓")
        for wrong in exercise.table.mistakes:
            test_each_mistake_gets_its_own_message_and_no_other(exercise, wrong, capsys)
    given = added["q23"].table.run(added["q23"].table.source(added["q23"].table.given))
    assert printed(added["q23"], given, capsys).startswith("○ 01.23  代码还是原来的样子")
    quoted = "last_batch(count=64, batch_size=16): you got 0."
    assert quoted in printed(added["q21"], lambda count, batch_size: count % batch_size, capsys)
    assert f"`{quoted}`" in (NOTEBOOKS.parent / "docs" / "teaching.md").read_text(encoding="utf-8")


def test_the_complete_example_in_the_docs_has_at_most_twenty_lines():
    assert len((blocks("toml")[0] + blocks("python")[0]).strip().splitlines()) <= 20


@pytest.mark.parametrize(
    "text", ["", "[q5]\npraise = []", "[q5]\npraise = []\nhints = []\nsolution = ''\nmistake = {}"]
)
def test_a_text_that_lacks_something_or_has_a_slip_in_it_is_named(text, tmp_path, monkeypatch):
    (tmp_path / "step_01.toml").write_text(text, encoding="utf-8")
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"step_01.toml: \[q5\] has .* it needs .* and may have"):
        table.exercise("01.5", judge_prediction(4, options=(4, 5)))


def test_an_edit_that_fits_nowhere_is_named(added):
    with pytest.raises(InputError, match=r"'count %% 3' of the mistake .* isn't in the solution"):
        added["q21"].table.source("count %% 3 => 7")


def test_a_prediction_of_several_questions(capsys):
    judge = judge_prediction({"x.sum()": "tensor", "x.sum().item()": "number"}, options=("tensor", "number", "error"))
    mistakes = {
        "x.sum()": ("总和还是张量。", "A sum is a tensor still."),
        "x.sum().item()": ("取出了数。", "A number."),
    }
    known = table.Table(judge, 0, "", "answers = {}", mistakes)
    exercise = Exercise("99.1", known.decide, ("好", "Good"), (("想想", "Think"),), "", known)
    right = judge.truth
    assert printed(exercise, right, capsys).startswith("✓")
    assert printed(exercise, {**right, "x.sum()": ...}, capsys).startswith("○")
    assert "it is one of 'tensor', 'number', 'error'" in printed(exercise, {**right, "x.sum()": 3}, capsys)
    assert "x.sum(): you got 'error'. A sum" in printed(exercise, {**right, "x.sum()": "error"}, capsys)
    for other in ({"x.sum()": "tensor"}, "tensor", 3, [right]):
        assert "the dictionary of 2 entries" in printed(exercise, other, capsys)
    for wrong in mistakes:
        assert len(known.wrong_answers(wrong)) == 2
        test_each_mistake_gets_its_own_message_and_no_other(exercise, wrong, capsys)
