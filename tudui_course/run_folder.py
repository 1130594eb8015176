"""A run's folder: choosing one, making it ready, finding what is in it. The one place that knows its files' names."""

import re
import shutil
from pathlib import Path

from tudui_course.errors import InputError, NotFoundError
from tudui_course.runtime import runs_dir, short_path

INTERRUPTED = "tudui_interrupted.pth"  # a run's start, or the middle of an epoch
BEST = "tudui_best.pth"
EVENTS = "events.out.tfevents.*"  # TensorBoard's


def epoch_name(epoch: int) -> str:
    """The checkpoint of an epoch, counted from 0 as in the lesson: tudui_0.pth."""
    return f"tudui_{epoch}.pth"


def epoch_checkpoints(run_dir: Path) -> dict[int, Path]:
    """The checkpoints tudui_0.pth, tudui_1.pth ... of a run by their number, in order."""
    found = {}
    for path in Path(run_dir).glob("tudui_*.pth"):
        if match := re.fullmatch(r"tudui_(\d+)\.pth", path.name):
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def checkpoints(run_dir: Path) -> list[Path]:
    """All checkpoints of a run that are there: the interrupted one, the epochs' from the newest on, the best one."""
    run_dir = Path(run_dir)
    names = [run_dir / INTERRUPTED, *reversed(epoch_checkpoints(run_dir).values()), run_dir / BEST]
    return [path for path in names if path.is_file()]


def free_run_dir(name: str) -> Path:
    """runs/<name>, or the first of runs/<name>-2, -3 ... that doesn't exist."""
    base = runs_dir() / (name or "run")
    number, path = 1, base
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    if path != base:
        print(
            f"{short_path(base)} is taken (--resume goes on with the newest run); this run goes to {short_path(path)}."
        )
    return path


def newest_run_dir() -> Path:
    """The run whose files were written last.

    Raises:
        NotFoundError: there is no run.
    """
    newest = max(runs_dir().glob("*/tudui_*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise NotFoundError(f"{short_path(runs_dir())} holds no run to resume; leave out --resume to begin one.")
    return newest.parent


def refuse_existing(run_dir: Path, overwrite: bool) -> None:
    """Raise InputError rather than write into a folder that holds something."""
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir} is a file; give the name of a folder: --run-dir runs/NAME.")
    if run_dir.is_dir() and any(run_dir.iterdir()) and not overwrite:
        raise InputError(
            f"{short_path(run_dir)} exists: continue that run with --resume, give another name with --run-dir, "
            "or begin anew in there with --overwrite."
        )


def prepare_folder(run_dir: Path, overwrite: bool) -> None:
    """Make the folder; when overwriting, remove an earlier run's checkpoints and event files, nothing else.

    Raises:
        InputError: it can't be written, or the disk is nearly full.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(run_dir).free < 50e6:
            raise InputError(f"{run_dir}: less than 50 MB are free on this disk; make room or give another --run-dir.")
        (run_dir / ".writable").touch()
        (run_dir / ".writable").unlink()
    except OSError as error:
        raise InputError(f"{run_dir} can't be written ({error.strerror}); give another --run-dir.") from None
    leftovers = list(run_dir.glob(".tudui_*.pth.*.tmp"))  # of a run that was killed while saving
    if overwrite:
        leftovers += [*checkpoints(run_dir), *run_dir.glob(EVENTS)]
    for path in leftovers:
        path.unlink(missing_ok=True)


def finish_epoch(run_dir: Path, epoch: int, keep: int) -> None:
    """Remove what an epoch's checkpoint has made superfluous: the interrupted one, and all but the last `keep`."""
    (run_dir / INTERRUPTED).unlink(missing_ok=True)
    if keep:
        for number, path in epoch_checkpoints(run_dir).items():
            if number <= epoch - keep:
                path.unlink()
