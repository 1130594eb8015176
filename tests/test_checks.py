"""What holds for the exercises of every notebook."""

import ast
import json
from pathlib import Path

import pytest

from tudui_course.checks import all_exercises
from tudui_course.checks.base import Exercise, solved

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def imports_of(number: str) -> str:
    """All import statements of a notebook, one a line."""
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in cell["source"] if not line.startswith(("%", "!"))]
    trees = ast.walk(ast.parse("".join(f"{line}\n" for line in lines)))
    return "\n".join(ast.unparse(node) for node in trees if isinstance(node, ast.Import | ast.ImportFrom))


every_exercise = pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.name)
every_function = pytest.mark.parametrize(
    "exercise", [one for one in all_exercises() if "def " in one.answer], ids=lambda exercise: exercise.name
)


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
    exercise.check(answer)
    assert capsys.readouterr().out.startswith(f"○ {exercise.name}") and solved() == []


def blank(*arguments): ...


@every_function
@pytest.mark.parametrize("answer", [blank, lambda *arguments: ...], ids=["body", "result"])
def test_a_function_without_a_body_is_not_attempted(exercise: Exercise, answer: object, capsys):
    exercise.check(answer)
    assert capsys.readouterr().out.startswith(f"○ {exercise.name}") and solved() == []
