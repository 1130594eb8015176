"""One run a folder; what was interrupted can be begun or continued; a damaged checkpoint is passed over."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tudui_course import run, run_folder
from tudui_course.board import open_writer
from tudui_course.checkpoint import load_model, read_checkpoint, save_checkpoint
from tudui_course.errors import InputError, NotFoundError, StoppedError
from tudui_course.evaluate import evaluate_checkpoint
from tudui_course.model import Tudui
from tudui_course.settings import Settings


@pytest.fixture(scope="module")
def settings(pictures):
    return Settings(str(pictures), epochs=3, batch_size=4, order="fixed", precision="float32")


def tudui(*arguments, **options):
    """Start the command line as a process of its own."""
    command = [sys.executable, "-m", "tudui_course", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@contextlib.contextmanager
def long_run(pictures, folder):
    """A run in another process, past its first epoch."""
    flags = ["--data", pictures, "--epochs", 100_000, "--batch-size", 4, "--run-dir", folder, "--keep", 2]
    with tudui("train", *flags) as process:
        next(line for line in process.stdout if line.startswith("epoch  1"))
        try:
            yield process
        finally:
            process.kill()
            process.stdout.close()


def test_a_second_run_is_refused_by_naming_the_first_while_others_may_read(pictures, settings, tmp_path, capsys):
    with long_run(pictures, tmp_path / "run") as process:
        for mode in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(InputError, match=rf"in use by another run \(process {process.pid} on .*--run-dir\.$"):
                run.train(settings, tmp_path / "run", **mode)
        best = tmp_path / "run" / run_folder.BEST
        evaluate_checkpoint(best)
        assert "test accuracy" in capsys.readouterr().out
        assert process.poll() is None
    # Killed with -9, it holds nothing any more.
    stored = Settings.from_dict(read_checkpoint(best)["settings"])
    with run_folder.claim(tmp_path / "run", "", resume=True):
        pass
    assert stored.epochs == 100_000


def test_two_starts_at_once_get_two_folders(pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    started = [tudui("train", "--data", pictures, "--epochs", 1, "--batch-size", 4) for _ in range(3)]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended
    folders = sorted((tmp_path / "runs").iterdir())
    assert [path.name for path in folders] == [f"{pictures.name}{end}" for end in ("", "-2", "-3")]
    assert all(read_checkpoint(path / "tudui_0.pth")["progress"]["epoch"] == 1 for path in folders)


def test_threads_that_ask_at_the_same_moment_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    taken, barrier = [], threading.Barrier(8)

    def take():
        barrier.wait()
        with run_folder.claim(None, "same") as folder:
            taken.append(folder)
            (folder / "file").touch()
            time.sleep(0.05)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(taken)) == 8


def test_what_is_claimed_and_not_used_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), run_folder.claim(tmp_path / "a" / "b", "") as folder:
        assert folder.is_dir()
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with run_folder.claim(tmp_path / "mine", ""):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"] and not list((tmp_path / "mine").iterdir())


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run.train(settings, folder)
    return folder


def weights(path):
    return read_checkpoint(path)["model"]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("bad", [["tudui_1.pth"], ["tudui_1.pth", "tudui_0.pth"], [run_folder.INTERRUPTED]])
def test_resume_passes_over_what_is_damaged_and_says_so(settings, whole, tmp_path, capsys, bad):
    run.train(Settings(**{**vars(settings), "epochs": 2}), tmp_path)
    (tmp_path / run_folder.INTERRUPTED).write_bytes((tmp_path / "tudui_0.pth").read_bytes())
    for name in bad:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-100])
    if len(bad) == 2:
        (tmp_path / run_folder.INTERRUPTED).unlink()  # the best one is left
    capsys.readouterr()
    run.train(settings, tmp_path, resume=True)
    output = capsys.readouterr().out
    assert all(f"passed over {tmp_path / name} is damaged" in output for name in bad)
    assert same(weights(tmp_path / "tudui_2.pth"), weights(whole / "tudui_2.pth"))


def test_resume_refuses_a_run_of_which_nothing_is_sound(settings, tmp_path):
    (tmp_path / "tudui_0.pth").write_bytes(b"")
    with pytest.raises(InputError, match="holds no sound checkpoint; begin anew with --overwrite: "):
        run.train(settings, tmp_path, resume=True)
    assert (tmp_path / "tudui_0.pth").read_bytes() == b""
    with pytest.raises(NotFoundError, match="holds no run to resume"):
        run.train(settings, tmp_path / "nowhere", resume=True)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(settings, whole, tmp_path, capsys):
    with open_writer(tmp_path) as writer:  # as earlier versions left it, too
        writer.add_scalar("train_loss", 9.0, 100)
    run.train(settings, tmp_path, resume=True)
    assert "resumed     from its start: the run was stopped before its first checkpoint" in capsys.readouterr().out
    assert same(weights(tmp_path / "tudui_2.pth"), weights(whole / "tudui_2.pth"))


def test_a_compiled_model_is_stored_as_the_network_it_is(tmp_path):
    model = Tudui()
    for wrapped in (torch.compile(model), torch.nn.DataParallel(model)):
        loaded, content = load_model(save_checkpoint(tmp_path / "a.pth", wrapped))
        assert content["network"] == "Tudui" and same(loaded.state_dict(), model.state_dict())


def test_the_folder_is_flushed_after_the_file(tmp_path, monkeypatch):
    """Or a power cut can undo the renaming."""
    calls = []
    monkeypatch.setattr("os.fsync", lambda descriptor: calls.append(Path(f"/proc/self/fd/{descriptor}").resolve()))
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs Linux to see what is flushed")
    save_checkpoint(tmp_path / "a.pth", Tudui())
    assert calls[0].name.startswith(".a.pth") and calls[1] == tmp_path.resolve()


def test_pictures_that_were_moved_are_gone_on_with(pictures, settings, whole, tmp_path, capsys):
    shutil.copytree(pictures, tmp_path / "old")
    begun = replace(settings, data=str(tmp_path / "old"))
    run.train(replace(begun, epochs=2), tmp_path / "run")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = replace(settings, data=str(tmp_path / "new"))
    run.train(moved, tmp_path / "run", resume=True)
    told = f"moved       the pictures of {tmp_path / 'old'} are now those of {tmp_path / 'new'}"
    assert told in capsys.readouterr().out
    assert same(weights(tmp_path / "run" / "tudui_2.pth"), weights(whole / "tudui_2.pth"))
    shutil.copytree(tmp_path / "new", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "test" / "cat" / "01.png", tmp_path / "other" / "test" / "cat" / "00.png")
    with pytest.raises(InputError, match="the pictures or their classes have changed"):
        run.train(replace(moved, data=str(tmp_path / "other"), epochs=4), tmp_path / "run", resume=True)


def test_a_stopped_first_epoch_does_not_go_on_with_other_pictures(pictures, settings, tmp_path):
    """Nothing of the history could tell; earlier versions saved and stopped for ever."""
    shutil.copytree(pictures, tmp_path / "data")
    mine = replace(settings, data=str(tmp_path / "data"))
    steps = iter(range(100))
    hook = register_optimizer_step_post_hook(lambda *_: next(steps) == 3 and signal.raise_signal(signal.SIGINT))
    with pytest.raises(StoppedError):
        run.train(mine, tmp_path / "run")
    hook.remove()
    for path in list((tmp_path / "data" / "train" / "cat").iterdir())[1:]:
        path.unlink()
    with pytest.raises(InputError, match="the pictures or their classes have changed"):
        run.train(mine, tmp_path / "run", resume=True)


def test_a_folder_that_was_filled_before_it_was_locked_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    lock = run_folder.make_and_lock

    def late(path):
        made_and_lock = lock(path)
        if path.name == "same":  # another run came and went
            (path / "tudui_0.pth").touch()
        return made_and_lock

    monkeypatch.setattr(run_folder, "make_and_lock", late)
    with run_folder.claim(None, "same") as folder:
        assert folder.name == "same-2"
