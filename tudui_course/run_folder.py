"""A run's folder: choosing one, preparing it, finding what is in it. Only this module knows the names of its files."""

import contextlib
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tudui_course.errors import InputError, NotFoundError
from tudui_course.runtime import runs_dir, short_path

INTERRUPTED = "tudui_interrupted.pth"  # a run's start, or the middle of an epoch
BEST = "tudui_best.pth"
LOCK = ".tudui.lock"  # left behind; its presence alone means nothing
OWNER = ".tudui.owner"  # who has the lock
JOB = ".tudui.torchrun"  # torchrun's name for the training
EVENTS = "events.out.tfevents.*"  # TensorBoard's


def epoch_name(epoch: int) -> str:
    """The checkpoint of an epoch, counted from 0 as in the lesson: tudui_0.pth."""
    return f"tudui_{epoch}.pth"


def epoch_checkpoints(run_dir: Path) -> dict[int, Path]:
    """A run's checkpoints tudui_0.pth, tudui_1.pth ... by number, in order."""
    found = ((re.fullmatch(r"tudui_(\d+)\.pth", path.name), path) for path in run_dir.glob("tudui_*.pth"))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def checkpoints(run_dir: Path) -> list[Path]:
    """All checkpoints present in a run: the interrupted one, the epochs' (newest first), the best one."""
    names = [run_dir / INTERRUPTED, *reversed(epoch_checkpoints(run_dir).values()), run_dir / BEST]
    return [path for path in names if path.is_file()]


def newest_run_dir() -> Path:
    """The most recently written run.

    Raises:
        NotFoundError: there is no run.
    """
    newest = max(runs_dir().glob("*/tudui_*.pth"), key=lambda path: path.stat().st_mtime, default=None)
    if newest is None:
        raise NotFoundError(f"{short_path(runs_dir())} holds no run to resume; leave out --resume to begin one.")
    return newest.parent


@contextlib.contextmanager
def claim(run_dir: Path | None, name: str, *, resume: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Claim a folder for one run, ready to be written to; no other run can use it meanwhile.

    The operating system holds the lock, so it ends with the process, however that ends. A new folder that is still
    empty then is removed again.

    Args:
        run_dir: the folder; None for runs/<name>, or the first of runs/<name>-2, -3 ... that is free.
        name: for the default.
        resume: there must be a run in it.
        overwrite: remove the checkpoints and event files of the run in it, and nothing else.

    Yields:
        The folder.

    Raises:
        NotFoundError: there is no run to resume.
        InputError: it is in use, isn't empty, can't be written, or the disk is nearly full.
    """
    if resume and run_dir and not holds_run(run_dir):
        raise NotFoundError(f"{short_path(run_dir)} holds no run to resume; leave out --resume to begin one.")
    if run_dir is None:
        made, run_dir, lock = first_free(runs_dir() / (name or "run"))
    else:
        made, lock = make_and_lock(run_dir)
        if lock is None:
            raise InputError(
                f"{short_path(run_dir)} is in use by another run ({owner(run_dir)}): wait for its end, stop it, or "
                "give another --run-dir."
            )
    try:
        if not (resume or overwrite or is_free(run_dir)):
            raise InputError(
                f"{short_path(run_dir)} exists: continue that run with --resume, give another name with --run-dir, "
                "or begin anew in there with --overwrite."
            )
        write_owner(run_dir)
        remove_leftovers(run_dir, overwrite)
        yield run_dir
    finally:
        (run_dir / OWNER).unlink(missing_ok=True)
        if is_free(run_dir):
            (run_dir / LOCK).unlink(missing_ok=True)
        lock.release()
        for folder in made:
            with contextlib.suppress(OSError):  # it isn't empty
                folder.rmdir()


def folder_of(job: str, run_dir: Path | None, name: str) -> Path | None:
    """The folder, `run_dir` or one of those that `claim` takes by default, that torchrun's training `job` has used."""
    for folder in [run_dir] if run_dir else sorted(runs_dir().glob(f"{name}*")):
        with contextlib.suppress(OSError):
            if (folder / JOB).read_text(encoding="utf-8") == job and holds_run(folder):
                return folder
    return None


def write_job(run_dir: Path, job: str) -> None:
    """Record torchrun's name for the training, or that it is without torchrun."""
    if job:
        (run_dir / JOB).write_text(job, encoding="utf-8")
    elif (run_dir / JOB).exists():
        (run_dir / JOB).unlink()


def make_and_lock(run_dir: Path) -> tuple[list[Path], FileLock | None]:
    """Make the folder and lock it; returns the folders made, and the lock, or None if another process has it."""
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    if run_dir.exists() and not run_dir.is_dir():
        raise InputError(f"{run_dir} is a file; give the name of a folder: --run-dir runs/NAME.")
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run_dir / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        return made, None
    except OSError as error:
        raise InputError(f"{run_dir} can't be written ({error.strerror}); give another --run-dir.") from None
    return made, lock


def first_free(base: Path) -> tuple[list[Path], Path, FileLock]:
    """Make and lock runs/NAME, or the first of runs/NAME-2, -3 ... that is empty and not in use."""
    for number in itertools.count(1):
        path = base if number == 1 else base.with_name(f"{base.name}-{number}")
        if path.exists() and not is_free(path):
            continue
        made, lock = make_and_lock(path)
        if lock is not None:
            if is_free(path):
                break
            lock.release()  # another run came and went between the two
    if path != base:
        print(
            f"{short_path(base)} is taken (--resume goes on with the newest run); this run goes to {short_path(path)}."
        )
    return made, path, lock


def is_free(run_dir: Path) -> bool:
    """Whether a folder is empty, apart from what a run killed before it wrote anything leaves behind."""
    return run_dir.is_dir() and all(path.name in (LOCK, OWNER, JOB) for path in run_dir.iterdir())


def holds_run(run_dir: Path) -> bool:
    """Whether a run was started in it."""
    return bool(checkpoints(run_dir)) or any(run_dir.glob(EVENTS)) or (run_dir / OWNER).is_file()


def write_owner(run_dir: Path) -> None:
    """Record who holds the folder, for whoever finds it locked; this also tests that it can be written."""
    if shutil.disk_usage(run_dir).free < 50e6:
        raise InputError(f"{run_dir}: less than 50 MB are free on this disk; make room or give another --run-dir.")
    text = f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M')}"
    try:
        (run_dir / OWNER).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run_dir} can't be written ({error.strerror}); give another --run-dir.") from None


def owner(run_dir: Path) -> str:
    """Who holds the folder."""
    try:
        return (run_dir / OWNER).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return "which is just starting or ending"


def remove_leftovers(run_dir: Path, overwrite: bool) -> None:
    """Remove what a run killed while saving left; when overwriting, its checkpoints and event files too."""
    leftovers = list(run_dir.glob(".tudui_*.pth.*.tmp"))
    if overwrite:
        leftovers += [*checkpoints(run_dir), *run_dir.glob(EVENTS)]
    for path in leftovers:
        path.unlink(missing_ok=True)


def finish_epoch(run_dir: Path, epoch: int, keep: int) -> None:
    """Remove checkpoints that an epoch's new one replaces: the interrupted one, and all but the last `keep`."""
    (run_dir / INTERRUPTED).unlink(missing_ok=True)
    if keep:
        for number, path in epoch_checkpoints(run_dir).items():
            if number <= epoch - keep:
                path.unlink()
