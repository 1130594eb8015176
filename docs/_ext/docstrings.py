"""Docstrings as they are written: plain text with names between backticks, where a * is a *."""

import re

QUOTED_OR_STAR = re.compile(r"(`+[^`]+`+)|([*|])")


def escape(app, what, name, subject, options, lines: list[str]) -> None:
    lines[:] = [QUOTED_OR_STAR.sub(lambda found: found[1] or "\\" + found[2], line) for line in lines]


def skip(app, what, name, subject, skipped, options) -> bool | None:
    """Leave out the fields of named tuples: their docstring is made by Python, and the class's says more."""
    return True if (getattr(subject, "__doc__", "") or "").startswith("Alias for field number") else None


def setup(app) -> dict:
    app.connect("autodoc-process-docstring", escape, priority=900)  # after napoleon has read the sections
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
