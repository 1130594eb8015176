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


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.name)
def test_the_solution_passes_with_what_its_notebook_imports_and_is_remembered(exercise: Exercise, capsys):
    names: dict = {}
    exec(imports_of(exercise.name.split(".")[0]), names)
    exec(exercise.answer, names)
    assert capsys.readouterr().out.startswith(f"✓ {exercise.name}")
    assert solved() == [exercise.name]
