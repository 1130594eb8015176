"""The learner's own folder of the course's notebooks: made, updated, never overwritten."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from tudui_course.errors import InputError, StorageError
from tudui_course.language import in_language
from tudui_course.runtime import checkout, short_path, write_whole

RECORD = ".tudui_course.json"  # in the folder: a digest of each notebook as it was written there, and its choices
CHOICES = {"language": ("both", "zh", "en"), "outputs": ("yes", "no")}  # the first are the course as it is
PAGES = [f"{name}.{kind}" for name in ("results", "recipes") for kind in ("md", "png", "json")]
PAGES += ["tensorboard.png", "tensorboard_hparams.png", "files.md", "gpu.md", "gpu.png"]  # notebooks use these


def course_files() -> Path:
    """Where the course's own notebooks/ and docs/ lie: in the checkout, or in the installed package."""
    return checkout() or Path(__file__).resolve().parent / "files"


def originals() -> dict[str, bytes]:
    """The course's notebooks by file name."""
    return {path.name: path.read_bytes() for path in sorted((course_files() / "notebooks").glob("[0-9][0-9]_*.ipynb"))}


def adapt(content: bytes, name: str, chosen: dict[str, str]) -> bytes:
    """A notebook or page in the language chosen, a notebook with or without its stored outputs."""
    language, outputs = chosen["language"], chosen["outputs"]
    if name.endswith(".md"):
        return content if language == "both" else in_language(content.decode(), language).encode()
    if not name.endswith(".ipynb") or (language, outputs) == ("both", "yes"):
        return content
    notebook = json.loads(content)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and language != "both":
            cell["source"] = in_language("".join(cell["source"]), language).splitlines(keepends=True)
        elif cell["cell_type"] == "code" and outputs == "no":
            cell |= {"outputs": [], "execution_count": None}
    return (json.dumps(notebook, ensure_ascii=False, indent=1) + "\n").encode()


def write_course(folder: Path, **chosen: str) -> list[str]:
    """Update a folder: add what is missing, replace what the learner hasn't touched, leave the rest.

    The notebooks go to folder/notebooks, the pages they use to folder/docs.

    Args:
        folder: made if missing; it may hold other files.
        chosen: language (zh, en, both), outputs (yes, no); what isn't given, or empty, stays as the folder has it.

    Returns:
        What was done, one line each.

    Raises:
        InputError: it is a file, or there is no such choice.
        StorageError: it can't be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder.")
    record, done = read_record(folder, **chosen), []
    try:
        for part in ("docs", "notebooks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for page in PAGES:
            content = (course_files() / "docs" / page).read_bytes()
            (folder / "docs" / page).write_bytes(adapt(content, page, record))
        for name, content in originals().items():
            content = adapt(content, name, record)
            done += update(folder / "notebooks" / name, content, record)
            write_whole(folder / RECORD, json.dumps(record, indent=1).encode())
    except OSError as error:
        raise StorageError(f"{folder} can't be written ({error.strerror}); give another folder.") from None
    return done or ["all notebooks are up to date"]


def update(path: Path, content: bytes, record: dict[str, str]) -> list[str]:
    """Write one notebook unless the learner has changed it; returns what was done."""
    name, now = path.name, digest(content)
    there = digest(path.read_bytes()) if path.is_file() else None
    if there in (None, record.get(name)) and there != now:
        write_whole(path, content)
        record[name] = now
        return [f"new      {name}" if there is None else f"updated  {name}"]
    if there == now:
        record[name] = now
    elif record.get(name) != now:
        return [f"kept     {name} as you changed it; --fresh {name[:2]} puts the course's new one beside it"]
    return []


def write_fresh(folder: Path, number: str, **chosen: str) -> Path:
    """Put the course's version of a notebook beside the learner's, under an unused name.

    Args:
        number: its first two digits.
        chosen: as for `write_course`, for this notebook only.

    Raises:
        InputError: there is no such notebook or choice.
    """
    names = [name for name in originals() if name[:2] == number.zfill(2)]
    if not names:
        raise InputError(f"there is no notebook {number!r}; give one of {', '.join(name[:2] for name in originals())}.")
    stem, count = f"{Path(names[0]).stem}-fresh", 1
    path = folder / "notebooks" / f"{stem}.ipynb"
    while path.exists():
        count += 1
        path = path.with_name(f"{stem}-{count}.ipynb")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, adapt(originals()[names[0]], names[0], read_record(folder, **chosen)))
    return path


def open_lab(folder: Path) -> int:
    """Open JupyterLab in the folder and wait for it to end; returns its exit code. TUDUI_LAB_ARGS can add options."""
    config = Path(__file__).resolve().parent / "jupyter" / "lab_config.py"
    options = shlex.split(os.environ.get("TUDUI_LAB_ARGS", ""))
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    environment = {**os.environ, "TUDUI_LAB_FOLDER": str(folder.resolve())}
    if (language := read_record(folder)["language"]) != "both":
        environment["TUDUI_LANGUAGE"] = language
    print(f"JupyterLab opens in {short_path(folder)}; Ctrl-C here ends it.", flush=True)
    return subprocess.call([sys.executable, "-m", "jupyterlab", f"--config={config}", *options], env=environment)


def read_record(folder: Path, **chosen: str) -> dict[str, str]:
    """Digests of the notebooks as they were written there, and the folder's choices or else those given.

    A damaged record counts as empty, so nothing is replaced.

    Raises:
        InputError: there is no such choice.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record = {name: value for name, value in record.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError):
        record = {}
    for name, values in CHOICES.items():
        value = chosen.get(name) or record.get(name, values[0])
        if value not in values:
            raise InputError(f"{name} is {value!r}, but it must be {', '.join(values[:-1])} or {values[-1]}.")
        record[name] = value
    return record


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
