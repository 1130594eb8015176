"""Which exercises have been solved: remembered in a file."""

import json
import os
import tempfile
from pathlib import Path

from filelock import FileLock

from tudui_course.runtime import home


def progress_file() -> Path:
    """Where solved exercises are remembered; TUDUI_PROGRESS names another file (recording and CI do)."""
    return Path(os.environ.get("TUDUI_PROGRESS") or home() / "progress.json")


def solved() -> list[str]:
    """Names of the solved exercises, in order; a damaged file counts as empty."""
    try:
        names = json.loads(progress_file().read_text(encoding="utf-8"))
        return sorted(name for name in names if isinstance(name, str))
    except (OSError, ValueError, TypeError):
        return []


def remember(name: str) -> None:
    """Add an exercise to the solved ones; where that can't be written, learning goes on all the same."""
    path = progress_file().resolve()
    if path.exists() and not path.is_file():  # os.devnull: to be written to, not to be replaced
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=5):  # two notebooks may be solved at once
            if name not in solved():
                replace(path, json.dumps(sorted({*solved(), name})))
    except (OSError, NotImplementedError):  # a full disk, a read-only one, one without locks
        pass


def replace(path: Path, text: str) -> None:
    """Put a new file in the place of the old one, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
