"""Exercises that check themselves, one module a notebook: `from tudui_course.checks import step_07 as exercises`."""

import importlib
import pkgutil
from pathlib import Path

from tudui_course.checks.base import Exercise, show
from tudui_course.checks.solved import solved
from tudui_course.language import chosen
from tudui_course.runtime import short_path

__all__ = ["Exercise", "all_exercises", "progress", "summary"]


def all_exercises() -> list[Exercise]:
    """Every exercise of the course, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("step_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Exercise)]


def marks() -> dict[str, list[bool]]:
    """From each notebook's number to whether its exercises are solved, in order."""
    done, table = set(solved()), {}
    for exercise in all_exercises():
        table.setdefault(exercise.name.split(".")[0], []).append(exercise.name in done)
    return table


def progress() -> None:
    """Print how many exercises of each notebook are solved."""
    table = marks()
    for notebook, row in table.items():
        show(f"{notebook}  {' '.join('✓' if mark else '○' for mark in row)}")
    done, total = sum(map(sum, table.values())), sum(map(len, table.values()))
    show(" · ".join(chosen(f"已完成 {done} / {total} 题", f"{done} of {total} exercises solved")))


def summary(path: Path | str = "my_summary.html", run: Path | str | None = None) -> None:
    """Write a page to show: what is solved in each notebook, the date and, of a run of one's own, the curves.

    Args:
        path: of the HTML page; where it is relative, beside the notebook. An earlier summary there is replaced.
        run: a folder with TensorBoard's files, whose train_loss and test_accuracy are drawn; without them no curve.

    Raises:
        InputError: there is something else of this name.
        StorageError: it can't be written.
    """
    from tudui_course.checks.summary_page import write_summary  # here: matplotlib, which checking does without

    write_summary(Path(path), marks(), run)
    show(f"{' · '.join(chosen('总结写好了', 'summary written'))}: {short_path(path)}")
