"""Exercises that check themselves, one module a notebook: `from tudui_course.checks import step_07 as exercises`."""

import importlib
import pkgutil

from tudui_course.checks.base import Exercise, show
from tudui_course.checks.solved import solved

__all__ = ["Exercise", "all_exercises", "progress"]


def all_exercises() -> list[Exercise]:
    """Every exercise of the course, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("step_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Exercise)]


def progress() -> None:
    """Print how many exercises of each notebook are solved."""
    done, names = set(solved()), [exercise.name for exercise in all_exercises()]
    for notebook in sorted({name.split(".")[0] for name in names}):
        marks = " ".join("✓" if name in done else "○" for name in names if name.startswith(f"{notebook}."))
        show(f"{notebook}  {marks}")
    total = sum(name in done for name in names)
    show(f"已完成 {total} / {len(names)} 题 · {total} of {len(names)} exercises solved")
