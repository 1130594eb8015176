"""Exercises that check themselves, one module a notebook: `from tudui_course.checks import step_07 as exercises`."""

import importlib
import pkgutil

from tudui_course.checks.base import Exercise, progress

__all__ = ["Exercise", "all_exercises", "progress"]


def all_exercises() -> list[Exercise]:
    """Every exercise of the course, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name.startswith("step_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Exercise)]
