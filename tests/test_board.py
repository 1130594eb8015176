"""TensorBoard: curves without gaps or doubles, and servers that are one's own and end with the notebook."""

import errno
import importlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tudui_course import board
from tudui_course.errors import CourseWarning


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """An empty folder where TensorBoard keeps its entries, for these tests and the processes they start."""
    folder = tmp_path_factory.mktemp("entries")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("TUDUI_HEADLESS", "1")
        patch.setattr(tempfile, "tempdir", None)  # read TMPDIR again
        yield folder / ".tensorboard-info"
    tempfile.tempdir = None


@pytest.fixture(scope="module")
def runs(entries, tmp_path_factory):
    """Two folders of runs, with the curves `first` and `second`; their servers are stopped in the end."""
    folders = [tmp_path_factory.mktemp(tag) for tag in ("first", "second")]
    for folder in folders:
        board.open_writer(folder, [(folder.name[:-1], 1.0, 0)]).close()
    yield folders
    for folder in folders:
        board.stop(folder)


@pytest.fixture
def kernel(runs):
    """Another process that shows the second folder, as another notebook would, and waits."""
    code = f"from tudui_course import board; board.show({str(runs[1])!r}); print('shown', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert b"TensorBoard is running" in process.stdout.readline()
        assert process.stdout.readline().strip() == b"shown"
        yield process
        process.kill()


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value


# ---- event files ----


def test_what_was_written_is_read_back(tmp_path):
    with board.open_writer(tmp_path) as writer:
        for step in (100, 200, 300):
            writer.add_scalar("train_loss", 3 - step / 100, step)
        writer.add_scalar("test_loss", 0.5, 1)
    assert board.read_scalars(tmp_path) == {"train_loss": [(100, 2.0), (200, 1.0), (300, 0.0)], "test_loss": [(1, 0.5)]}


def test_more_points_than_tensorboard_keeps_by_default_are_read_back(tmp_path):
    with board.open_writer(tmp_path, [("loss", 1.0, step) for step in range(20_000)]):
        pass
    assert len(board.read_scalars(tmp_path)["loss"]) == 20_000


def test_a_resumed_run_has_no_point_twice_and_none_missing(tmp_path):
    with board.open_writer(tmp_path) as writer:  # killed after step 5; its last checkpoint knows steps 1 to 3
        for step in range(1, 6):
            writer.add_scalar("train_loss", 10.0 * step, step)
    known = [("train_loss", 10.0 * step, step) for step in range(1, 4)]
    for _ in range(2):  # and killed again at once
        writer = board.open_writer(tmp_path, known)
        assert board.read_scalars(tmp_path) == {"train_loss": [(1, 10.0), (2, 20.0), (3, 30.0)]}
        writer.close()
    with board.open_writer(tmp_path, known) as writer:
        writer.add_scalar("train_loss", 4.5, 4)
    assert board.read_scalars(tmp_path) == {"train_loss": [(1, 10.0), (2, 20.0), (3, 30.0), (4, 4.5)]}
    assert len(list(tmp_path.iterdir())) == 1


def test_points_keep_their_times_across_a_resume(tmp_path):
    """As a checkpoint gives them; one of format version 1 knows no times."""
    before = time.time()
    points = [("train_loss", 2.0, 100, 1_600_000_000.25), ("train_loss", 1.5, 200, 1_600_000_060.5), ("old", 1.0, 0)]
    for _ in range(2):
        board.open_writer(tmp_path, points).close()
        events = EventAccumulator(str(tmp_path)).Reload()
        assert [event.wall_time for event in events.Scalars("train_loss")] == [1_600_000_000.25, 1_600_000_060.5]
        assert before <= events.Scalars("old")[0].wall_time <= time.time()


def test_an_event_file_that_is_held_open_costs_a_warning_and_no_point(tmp_path, monkeypatch):
    """As on Windows, while a TensorBoard shows it."""
    with board.open_writer(tmp_path) as writer:
        for step in range(1, 6):
            writer.add_scalar("train_loss", 10.0 * step, step)
    (old,) = tmp_path.iterdir()

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "in use by another process", str(path))

    known = [("train_loss", 10.0 * step, step) for step in range(1, 4)]
    with monkeypatch.context() as patch, pytest.warns(CourseWarning, match=rf"{old} could not be removed \(in use"):
        patch.setattr(os, "unlink", refuse)
        patch.setattr(Path, "unlink", refuse)
        writer = board.open_writer(tmp_path, known)
    writer.add_scalar("train_loss", 4.5, 4)
    writer.close()
    assert old.exists() and len(list(tmp_path.iterdir())) == 2
    assert board.read_scalars(tmp_path) == {"train_loss": [(1, 10.0), (2, 20.0), (3, 30.0), (4, 4.5)]}
    board.open_writer(tmp_path, known).close()
    assert len(list(tmp_path.iterdir())) == 1, "removed by the next one"


FULL = """
import resource, sys
from tudui_course.board import open_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    with open_writer(sys.argv[1], [("train_loss", 1.0, step) for step in range(int(sys.argv[2]))]) as writer:
        for step in range(2000):
            writer.add_scalar("train_loss", 1.0, step)
            writer.flush()
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files stands for the full disk")
@pytest.mark.parametrize("known", [0, 500])
def test_a_full_disk_is_one_sentence_and_what_was_there_is_intact(tmp_path, known):
    """During training, and while the points of the run so far are written."""
    board.open_writer(tmp_path, [("train_loss", 7.0, 1)]).close()
    command = [sys.executable, "-c", FULL, str(tmp_path), str(known)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == (
        f"StorageError the curves can't be written into {tmp_path} (File too large): make room, or choose another "
        "folder; checkpoints that were saved before are intact.\n"
    )
    assert done.stderr == ""
    if known:
        assert board.read_scalars(tmp_path) == {"train_loss": [(1, 7.0)]}
    board.open_writer(tmp_path, [("train_loss", 7.0, 1)]).close()
    assert board.read_scalars(tmp_path) == {"train_loss": [(1, 7.0)]}


def test_other_files_of_the_folder_stay(tmp_path):
    (tmp_path / "tudui_0.pth").write_bytes(b"weights")
    board.open_writer(tmp_path).close()
    board.open_writer(tmp_path).close()
    assert (tmp_path / "tudui_0.pth").read_bytes() == b"weights"


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_event_files_says_what_to_do(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"{folder} holds no TensorBoard files: train first"):
        board.read_scalars(tmp_path / folder)


# ---- servers ----


def test_two_notebooks_show_their_own_folders(runs, kernel, capsys):
    board.show(runs[0])
    assert capsys.readouterr().out == "TensorBoard is running. In JupyterLab its page appears here.\n"
    assert board.served_tags(runs[0]) == ["first"]
    assert board.served_tags(runs[1]) == ["second"]
    first, second = (board.find_server(folder) for folder in runs)
    assert (first.pid, first.port) != (second.pid, second.port)
    assert psutil.Process(second.pid).ppid() == kernel.pid or sys.platform == "win32"

    board.show(runs[0])
    assert board.find_server(runs[0]) == first, "a second show() uses the server that is there"

    board.stop(runs[0])
    assert not psutil.pid_exists(first.pid) and board.find_server(runs[0]) is None
    assert board.served_tags(runs[1]) == ["second"], "the other one goes on"
    board.stop(runs[0])  # nothing to stop, nothing to say


def test_two_notebooks_that_show_one_folder_have_a_server_each(runs, kernel):
    """Or the second one's page would go with the first one's kernel."""
    theirs = board.find_server(runs[1])
    board.show(runs[1])
    ours = board.find_server(runs[1])
    assert ours.pid != theirs.pid and board.find_server(runs[1], own=True) == ours
    kernel.kill()
    assert until(lambda: not psutil.pid_exists(theirs.pid))
    assert board.served_tags(runs[1]) == ["second"]
    board.stop(runs[1])
    assert not psutil.pid_exists(ours.pid)


def test_another_notebooks_server_is_not_stopped(runs, kernel):
    board.stop(runs[1])
    assert board.served_tags(runs[1]) == ["second"]


@pytest.mark.parametrize("ending", ["quietly", "killed"])
def test_the_server_ends_with_the_notebooks_kernel(runs, kernel, entries, ending):
    server = board.find_server(runs[1])
    entry = entries / f"pid-{server.pid}.info"
    assert entry.exists()
    if ending == "killed":
        kernel.kill()
    else:
        kernel.communicate(b"\n")
    assert until(lambda: not psutil.pid_exists(server.pid)), "the server outlived its notebook"
    assert not entry.exists() or sys.platform == "win32"


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher below is a shell script")
def test_a_launcher_between_notebook_and_server_does_not_keep_it_alive(runs, tmp_path):
    """As on Windows, where an environment's python.exe is a program that starts Python and waits for it."""
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\n')
    launcher.chmod(0o755)
    code = (
        f"import sys; sys.executable = {str(launcher)!r}; from tudui_course import board; board.show({str(runs[1])!r})"
    )
    code += f"; print(board.find_server({str(runs[1])!r}, own=True).pid)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    server = int(done.stdout.split()[-1])
    assert until(lambda: not psutil.pid_exists(server))


def test_the_server_is_found_wherever_pip_puts_its_programs(runs, tmp_path):
    """Colab, pip install --user, conda on Windows: programs lie elsewhere than python; none is needed."""
    lonely = tmp_path / "bin" / "python"
    lonely.parent.mkdir()
    lonely.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    lonely.chmod(0o755)
    code = f"import sys; sys.executable = {str(lonely)!r}; from tudui_course import board; board.show({str(runs[1])!r})"
    environment = os.environ | {"PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert "TensorBoard is running" in done.stdout


def test_a_killed_server_is_started_anew(runs, entries):
    """Killed as by an out-of-memory killer: its entry stays, and it stays this process's child, unburied."""
    board.show(runs[0])
    dead = board.find_server(runs[0])
    psutil.Process(dead.pid).kill()
    assert until(lambda: psutil.Process(dead.pid).status() == psutil.STATUS_ZOMBIE if sys.platform == "linux" else True)
    assert board.find_server(runs[0]) is None
    board.show(runs[0])
    assert board.find_server(runs[0]).pid != dead.pid
    assert board.served_tags(runs[0]) == ["first"]
    assert not (entries / f"pid-{dead.pid}.info").exists()


def test_entries_of_dead_servers_are_forgotten(entries, tmp_path):
    """One whose process is gone, and one whose number another process bears now."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    now = int(time.time())
    for pid, start in ((gone.pid, now), (os.getpid(), int(psutil.Process().create_time()) - 3600)):
        write_entry(entries, pid, start, tmp_path)
    assert board.find_server(tmp_path) is None
    board.forget_dead_servers()
    assert not [path for path in entries.iterdir() if str(tmp_path) in path.read_text()]


def write_entry(entries: Path, pid: int, start: int, log_dir: Path) -> None:
    from tensorboard import manager, version

    fields = {"version": version.VERSION, "start_time": start, "pid": pid, "port": 6006, "path_prefix": ""}
    fields |= {"logdir": str(log_dir), "db": "", "cache_key": manager.cache_key(str(log_dir), [], {})}
    entries.mkdir(exist_ok=True)
    (entries / f"pid-{pid}.info").write_text(json.dumps(fields))


def test_asking_where_nothing_runs_says_what_to_do(entries, tmp_path):
    with pytest.raises(RuntimeError, match=r"no TensorBoard is running for .*: call board\.show\(log_dir\) first"):
        board.served_tags(tmp_path)


def test_a_proxy_is_not_asked_for_this_machine(runs, monkeypatch):
    board.show(runs[0])
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert board.served_tags(runs[0]) == ["first"]


def test_a_server_that_cannot_start_is_reported(entries, tmp_path, monkeypatch):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").write_text("raise ImportError('a broken TensorBoard')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        RuntimeError, match=r"TensorBoard didn't start \(ImportError: a broken TensorBoard\).*tudui doctor"
    ):
        board.show(tmp_path)


def test_a_server_that_never_answers_is_ended(entries, tmp_path, monkeypatch):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").write_text(
        f"import os, time; print(os.getpid(), file=open({str(tmp_path / 'pid')!r}, 'w'), flush=True); time.sleep(60)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"TensorBoard didn't start \(no answer within 5 s\)"):
        board.start_server(tmp_path, wait=5)
    pid = int((tmp_path / "pid").read_text())
    assert until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


class Shown:
    """What a notebook shows: `notebook.display` as TensorBoard has it, without a browser."""

    def __init__(self, monkeypatch):
        module = importlib.import_module("tensorboard.notebook")  # `import` alone gives a stand-in, loaded later
        display = importlib.import_module("IPython.display")
        self.html = []
        monkeypatch.delenv("TUDUI_HEADLESS")
        monkeypatch.setattr(module, "_get_context", lambda: module._CONTEXT_IPYTHON)
        monkeypatch.setattr(display, "display", lambda shown: self.html.append(shown.data))


def test_on_this_machine_the_frame_takes_the_servers_port(runs, monkeypatch, capsys):
    shown = Shown(monkeypatch)
    board.show(runs[0])
    port = board.find_server(runs[0]).port
    assert f"const port = {port};" in shown.html[0] and 'new URL("/", window.location)' in shown.html[0]
    assert f"http://localhost:{port}/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("variables", "page"),
    [
        ({"TENSORBOARD_PROXY_URL": "/proxy/%PORT%/"}, "/proxy/{port}/"),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/li/"}, "/user/li/proxy/{port}/"),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/user/li/", "TENSORBOARD_PROXY_URL": "/tb/%PORT%/"}, "/tb/{port}/"),
    ],
)
def test_behind_a_proxy_the_frame_takes_the_proxys_address_and_says_so(runs, monkeypatch, capsys, variables, page):
    shown = Shown(monkeypatch)
    monkeypatch.setenv("TENSORBOARD_PROXY_URL", "")  # so that it is put back afterwards
    monkeypatch.delenv("TENSORBOARD_PROXY_URL")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    board.show(runs[0])
    page = page.format(port=board.find_server(runs[0]).port)
    assert f'new URL("{page}", window.location)' in shown.html[0] and "const port = 0;" in shown.html[0]
    assert f"The page comes through {page} (TENSORBOARD_PROXY_URL)" in capsys.readouterr().out


def test_the_frame_has_the_height_asked_for(runs, monkeypatch):
    notebook = importlib.import_module("tensorboard.notebook")  # `import` alone gives a stand-in, loaded later
    shown = []
    monkeypatch.delenv("TUDUI_HEADLESS")
    monkeypatch.setattr(notebook, "display", lambda **options: shown.append(options))
    board.show(runs[0], height=450)
    assert shown == [{"port": board.find_server(runs[0]).port, "height": 450}]


def test_frames_have_names_of_their_own_after_the_same_seed(runs, monkeypatch):
    """TensorBoard draws a frame's name from `random`; two frames of one name are filled into the first."""
    notebook = importlib.import_module("tensorboard.notebook")
    names = []
    monkeypatch.delenv("TUDUI_HEADLESS")
    monkeypatch.setattr(notebook, "display", lambda **options: names.append(random.getrandbits(64)))
    following = []
    for _ in range(2):
        random.seed(0)
        board.show(runs[0])
        following.append(random.random())
    assert names[0] != names[1]
    assert following == [random.Random(0).random()] * 2, "showing changes what the notebook draws next"


def test_the_server_is_light():
    """It runs beside every notebook; importing torch would cost it half a gigabyte and some seconds."""
    code = "import sys; from tudui_course.board import serve; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_page_is_served_to_this_machine_only(runs):
    board.show(runs[0])
    port = board.find_server(runs[0]).port
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert b"TensorBoard" in opener.open(f"http://127.0.0.1:{port}/").read()
    listening = psutil.Process(board.find_server(runs[0]).pid).net_connections("inet")
    assert {each.laddr.ip for each in listening if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
