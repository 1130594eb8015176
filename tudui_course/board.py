"""TensorBoard: write curves without gaps or doubles, read them back, show them in a notebook."""

import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tudui_course.errors import CourseWarning, NotFoundError, StorageError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

EVENTS = "events.out.tfevents.*"  # as in run_folder, which would bring torch into the server


def open_writer(log_dir: Path | str, points: Sequence[tuple] = ()) -> "SummaryWriter":
    """Open a SummaryWriter whose curves hold exactly `points`, whatever an earlier, interrupted run had written.

    The points are written to a new event file, and only then the older ones removed: a run resumed from a
    checkpoint continues from that checkpoint's points, so no step is missing and none appears twice.

    Args:
        log_dir: made if missing.
        points: (tag, value, step, time in seconds since 1970) of the run so far; the time defaults to now.

    Raises:
        StorageError: the points can't be written; the older files are kept. The writer may raise it later too.
    """
    from torch.utils.tensorboard import SummaryWriter  # here: the server, below, does without torch

    silence_writers()
    log_dir = Path(log_dir)
    older = set(log_dir.glob(EVENTS))
    try:
        with in_a_sentence(log_dir):
            # purge_step tells TensorBoard to forget what it has read, and readers to ignore what an older file holds.
            writer = SummaryWriter(str(log_dir), purge_step=0 if older else None)
            for tag, value, step, *when in points:
                writer.add_scalar(tag, value, step, *when)
            writer.flush()
    except StorageError:
        for path in set(log_dir.glob(EVENTS)) - older:
            with contextlib.suppress(OSError):  # Windows, where the writer's thread still has it open
                path.unlink(missing_ok=True)
        raise
    for path in older:
        try:
            path.unlink()
        except OSError as error:  # Windows, while a TensorBoard has it open; its points no longer count
            sentence = f"{path} could not be removed ({error.strerror}): remove it when TensorBoard is closed."
            warnings.warn(sentence, CourseWarning, stacklevel=2)
    for name in ("add_scalar", "flush", "close"):
        setattr(writer, name, in_a_sentence(log_dir)(getattr(writer, name)))
    return writer


@contextlib.contextmanager
def in_a_sentence(log_dir: Path) -> Iterator[None]:
    """Raise StorageError, a sentence, in place of the system's own error; for a `with` block or around a method."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"the curves can't be written into {log_dir} ({reason}): make room, or choose another folder; "
            "checkpoints that were saved before are intact."
        ) from None


@functools.cache
def silence_writers() -> None:
    """Print no traceback from the threads in which TensorBoard writes: the writer raises the same errors."""
    before = threading.excepthook

    def hook(failure: threading.ExceptHookArgs) -> None:
        if not (isinstance(failure.exc_value, OSError) and type(failure.thread).__module__.startswith("tensorboard.")):
            before(failure)

    threading.excepthook = hook


def read_scalars(log_dir: Path | str) -> dict[str, list[tuple[int, float]]]:
    """Read the curves back from the event files: for each tag its (step, value), in the order of steps.

    Raises:
        NotFoundError: there are no event files.
    """
    if not list(Path(log_dir).glob(EVENTS)):
        raise NotFoundError(f"{log_dir} holds no TensorBoard files: train first, or give the folder of a run.")
    events = EventAccumulator(str(log_dir), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def show(log_dir: Path | str, height: int = 600) -> None:
    """Show TensorBoard in the notebook, as `%tensorboard --logdir LOG_DIR` does, and three things more.

    A dead server's leftover entry is not taken for a live server; the server comes from this environment; and it is
    this notebook's own and ends with its kernel. With TUDUI_HEADLESS set (recording, CI) the server still starts, but
    a sentence replaces the frame.

    If Jupyter and the browser run on different machines, the page has to come through Jupyter: with the package
    jupyter-server-proxy installed there, and TENSORBOARD_PROXY_URL set, for example to "/proxy/%PORT%/". On a
    JupyterHub that value is the default.

    Args:
        log_dir: folder of a run, or a folder of runs to compare.
        height: of the frame, in pixels.

    Raises:
        RuntimeError: TensorBoard didn't start; the message has its output.
    """
    from tensorboard import notebook

    forget_dead_servers()
    server = find_server(log_dir, own=True) or start_server(log_dir)
    if os.environ.get("TUDUI_HEADLESS"):
        print("TensorBoard is running. In JupyterLab its page appears here.")
        return
    if hub := os.environ.get("JUPYTERHUB_SERVICE_PREFIX"):
        os.environ.setdefault("TENSORBOARD_PROXY_URL", f"{hub}proxy/%PORT%/")
    # The frame's name is random. With the same seed two frames would share a name, and both pages would go into
    # the first; besides, the notebook's own random numbers must not depend on what it shows.
    state = random.getstate()
    random.seed()
    notebook.display(port=server.port, height=height)
    random.setstate(state)
    if proxy := os.environ.get("TENSORBOARD_PROXY_URL"):
        page = proxy.replace("%PORT%", str(server.port))
        print(f"The page comes through {page} (TENSORBOARD_PROXY_URL), which takes jupyter-server-proxy.")
    elif "google.colab" not in sys.modules:  # Colab passes it on by itself
        print(
            f"The page is http://localhost:{server.port}/ on this machine; if Jupyter runs on another one than your "
            "browser, install jupyter-server-proxy there and set TENSORBOARD_PROXY_URL=/proxy/%PORT%/"
        )


def start_server(log_dir: Path | str, wait: float = 60):
    """Start a TensorBoard that ends with this process; returns its entry (pid, port ...).

    Raises:
        RuntimeError: it ended at once, or wasn't ready within `wait` seconds; the message has its output.
    """
    command = [sys.executable, "-m", "tudui_course.board", owner_flag(), "--logdir", str(Path(log_dir).resolve())]
    command += ["--host", "127.0.0.1", "--port", "0"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        deadline = time.monotonic() + wait
        while process.poll() is None and time.monotonic() < deadline:
            if server := find_server(log_dir, own=True):
                return server
            time.sleep(0.1)
        process.kill()
        said.seek(0)
        last = (said.read().decode(errors="replace").strip().splitlines() or [f"no answer within {wait:g} s"])[-1]
    raise RuntimeError(f"TensorBoard didn't start ({last}); `tudui doctor` says why.")


def served_tags(log_dir: Path | str) -> list[str]:
    """Ask the running TensorBoard of `log_dir`, as given to `show`, which curves it shows; waits up to 30 s for some.

    Raises:
        RuntimeError: no TensorBoard of this folder is running.
    """
    server = find_server(log_dir)
    if server is None:
        raise RuntimeError(f"no TensorBoard is running for {log_dir}: call board.show(log_dir) first.")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # proxies can't reach this machine
    page = f"http://127.0.0.1:{server.port}/data/plugin/scalars/tags"
    tags, deadline = set(), time.monotonic() + 30
    while not tags and time.monotonic() < deadline:
        with opener.open(page, timeout=30) as reply:
            tags = {tag for run in json.load(reply).values() for tag in run}
        time.sleep(0.1)
    return sorted(tags)


def stop(log_dir: Path | str) -> None:
    """End the TensorBoard that this process started for the folder, if running, and no other."""
    if server := find_server(log_dir, own=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(server.pid)
            process.terminate()
            process.wait(10)
        forget_dead_servers()


def find_server(log_dir: Path | str, own: bool = False):
    """TensorBoard's entry (pid, port ...) for a live server of this folder, preferably (or only) our own, or None."""
    from tensorboard import manager

    folder = Path(log_dir).resolve()
    found = [entry for entry in manager.get_all() if is_alive(entry) and entry.logdir and Path(entry.logdir) == folder]
    ours = [entry for entry in found if is_own(entry)]
    return next(iter(ours if own else ours + found), None)


def is_own(entry) -> bool:
    """Whether this process started this entry's server; on Windows a launcher may stand between."""
    try:
        return owner_flag() in psutil.Process(entry.pid).cmdline()
    except psutil.Error:
        return False


def owner_flag() -> str:
    """What this process gives the servers that it starts."""
    return f"--owner={os.getpid()}"


def forget_dead_servers() -> None:
    """Remove entries that killed TensorBoards left in the temporary folder, or a dead port would be shown again."""
    from tensorboard import manager

    for entry in manager.get_all():
        if not is_alive(entry):
            Path(manager._get_info_dir(), f"pid-{entry.pid}.info").unlink(missing_ok=True)


def is_alive(entry) -> bool:
    """Whether this entry's server is running: not ended, not a zombie, its process id not reused."""
    try:
        process = psutil.Process(entry.pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() < entry.start_time + 60
    except psutil.NoSuchProcess:
        return False


def serve() -> None:
    """Run TensorBoard until its owner is gone: python -m tudui_course.board --owner=PID, and TensorBoard's flags."""
    from tensorboard import main

    # Not simply the parent: on Windows a launcher stands between, which outlives the notebook's kernel.
    owner = psutil.Process(int(sys.argv.pop(1).removeprefix("--owner=")))

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE:
                time.sleep(1)
        signal.raise_signal(signal.SIGTERM)  # TensorBoard removes its entry and exits

    threading.Thread(target=watch, daemon=True).start()
    main.run_main()


if __name__ == "__main__":
    serve()
