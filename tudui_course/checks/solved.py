"""Which exercises have been solved: remembered in a file."""

import json
import os
from pathlib import Path

import platformdirs
from filelock import FileLock

from tudui_course.runtime import home, write_whole


def progress_file() -> Path:
    """Where solved exercises are remembered: in the user's data folder, whatever folder the notebooks are in.

    TUDUI_PROGRESS names another file (recording and CI do), TUDUI_HOME another folder.
    """
    if os.environ.get("TUDUI_PROGRESS"):
        return Path(os.environ["TUDUI_PROGRESS"])
    folder = home() if os.environ.get("TUDUI_HOME") else Path(platformdirs.user_data_dir("tudui_course"))
    return folder / "progress.json"


def solved() -> list[str]:
    """Names of the solved exercises, in order; what earlier versions remembered in the checkout counts, too."""
    earlier = [] if os.environ.get("TUDUI_PROGRESS") else names_in(home() / "progress.json")
    return sorted({*names_in(progress_file()), *earlier})


def names_in(path: Path) -> list[str]:
    """The names in such a file; a missing or damaged one counts as empty."""
    try:
        return [name for name in json.loads(path.read_text(encoding="utf-8")) if isinstance(name, str)]
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
                write_whole(path, json.dumps(sorted({*solved(), name})).encode())
    except (OSError, NotImplementedError):  # a full disk, a read-only one, one without locks
        pass
