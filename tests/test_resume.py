"""A run that was stopped and resumed ends in the very bits of one that was not."""

import io
import itertools
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from torch.optim.optimizer import register_optimizer_step_post_hook

from tudui_course import cli, report, run, run_folder
from tudui_course.board import open_writer, read_scalars
from tudui_course.checkpoint import read_checkpoint, restore, save_checkpoint
from tudui_course.data.loaders import read_data
from tudui_course.errors import StoppedError
from tudui_course.loop import fit
from tudui_course.model import MODELS
from tudui_course.recipe import RECIPES
from tudui_course.settings import Settings

STEPS = 26  # of an epoch: 51 pictures in batches of 2


@pytest.fixture(scope="module")
def lesson(pictures):
    # 130 steps, so that one train_loss is logged; in the fixed order the last batch of an epoch is a smaller one.
    return Settings(str(pictures), epochs=5, batch_size=2, lr=0.05, order="fixed")


@pytest.fixture(scope="module")
def whole(lesson, tmp_path_factory):
    """The folder of a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    run.train(lesson, folder)
    return folder


def assert_same(one, other, where=""):
    """Nested values equal to the last bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{where}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def assert_same_run(folder, whole):
    """Weights, optimizer, random state, history and curves of two finished runs are equal; nothing is left over."""
    assert {path.name for path in folder.glob("*.pth")} == {path.name for path in whole.glob("*.pth")}
    assert [path.name for path in folder.glob(".*")] == [run_folder.LOCK] and len(list(folder.glob("events*"))) == 1
    for name in (max(run_folder.epoch_checkpoints(whole).values()).name, run_folder.BEST):
        ours, theirs = read_checkpoint(folder / name), read_checkpoint(whole / name)
        for content in (ours, theirs):
            content["progress"]["points"] = [
                point[:3] for point in content["progress"]["points"]
            ]  # without their times
        for part in ("model", "optimizer", "scheduler", "progress", "random", "classes"):
            assert_same(ours[part], theirs[part], part)
    assert read_scalars(folder) == read_scalars(whole)


@contextmanager
def signal_at(*steps, number=signal.SIGINT):
    """Send this process a real signal right after the given optimizer steps."""
    count = itertools.count(1)
    hook = register_optimizer_step_post_hook(lambda *_: next(count) in steps and signal.raise_signal(number))
    try:
        yield
    finally:
        hook.remove()


def test_the_whole_run_has_the_curves_it_should(whole):
    curves = read_scalars(whole)
    assert {tag: [step for step, _ in curve] for tag, curve in curves.items()} == {
        "train_loss": [100],
        "test_loss": [0, 1, 2, 3, 4],
        "test_accuracy": [0, 1, 2, 3, 4],
    }


def resumed(parts, stop, epochs):
    """Train `parts()` until `stop` optimizer steps are done, save, read, restore into new ones and train on."""
    model, loaders, loss_fn, optimizer, scheduler = parts()
    steps = []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.pth")

        def save(progress):
            save_checkpoint(path, model, optimizer, progress, scheduler=scheduler)

        fit(
            model, loaders, loss_fn, optimizer, epochs=epochs, scheduler=scheduler, save=save,
            stop=lambda: len(steps) >= stop,
        )  # fmt: skip
        checkpoint = read_checkpoint(path)
    model, loaders, loss_fn, optimizer, scheduler = parts()
    torch.rand(100)
    progress = restore(checkpoint, model, optimizer, scheduler)
    assert progress.step == stop
    history = fit(model, loaders, loss_fn, optimizer, epochs=epochs, scheduler=scheduler, progress=progress)
    return history, model, optimizer, scheduler


@given(
    part=st.floats(0, 1),
    batch_size=st.integers(5, 80),
    recipe=st.sampled_from(list(RECIPES)),
    network=st.sampled_from(list(MODELS)),
    order=st.sampled_from(["shuffled", "fixed"]),
)
@example(0.0, 70, "fast", "TuduiNorm", "shuffled")  # one step an epoch
@example(0.5, 35, "seed", "Tudui", "fixed")  # no ragged batch, stopped between two epochs
@example(0.5, 16, "fast", "TuduiNorm", "shuffled")  # the ragged batch is left out
@example(0.999, 16, "fast", "TuduiNorm", "fixed")
@hypothesis.settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_stopped_at_any_step_a_run_goes_on_to_the_bit(tiny, part, batch_size, recipe, network, order):
    epochs = 2

    def parts():
        return run.assemble(RECIPES[recipe], network, *tiny, epochs=epochs, batch_size=batch_size, seed=3, order=order)

    model, loaders, loss_fn, optimizer, scheduler = parts()
    expected = fit(model, loaders, loss_fn, optimizer, epochs=epochs, scheduler=scheduler)
    stop = 1 + int(part * (epochs * len(loaders[0]) - 1))
    history, again, again_optimizer, again_scheduler = resumed(parts, stop, epochs)
    assert history == expected
    assert_same(again.state_dict(), model.state_dict())
    assert_same(again_optimizer.state_dict(), optimizer.state_dict())
    if scheduler:
        assert again_scheduler.state_dict() == scheduler.state_dict()


@pytest.mark.parametrize("step", [1, 13, STEPS, 100])
def test_stopped_once(lesson, whole, tmp_path, step):
    with signal_at(step), pytest.raises(StoppedError, match=f"Stopped at step {step} ") as stopped:
        run.train(lesson, tmp_path)
    assert stopped.value.exit_code == 130
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def test_stopped_again_and_again(lesson, whole, tmp_path):
    steps = [1, 5, STEPS, STEPS + 1, 60, 61, 99, 101, 4 * STEPS]
    for earlier, step in itertools.pairwise([0, *steps]):
        with (
            signal_at(step - earlier, number=signal.SIGTERM),
            pytest.raises(StoppedError, match=f"{step} ") as stopped,
        ):
            run.train(lesson, tmp_path, resume=earlier > 0)
        assert stopped.value.exit_code == 143
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def test_a_stop_in_the_last_step_finishes_the_run(lesson, whole, tmp_path):
    with signal_at(5 * STEPS):
        assert len(run.train(lesson, tmp_path)) == 5
    assert_same_run(tmp_path, whole)


def test_more_epochs_continue_a_finished_run(lesson, whole, tmp_path):
    run.train(replace(lesson, epochs=2), tmp_path)
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def test_one_cycle_ends_with_its_last_epoch(pictures, tmp_path):
    fast = Settings(str(pictures), epochs=2, batch_size=17, recipe="fast")
    run.train(fast, tmp_path)
    with pytest.raises(ValueError, match="begun with epochs 2, not 3"):
        run.train(replace(fast, epochs=3), tmp_path, resume=True)


def test_a_second_signal_stops_at_once_without_saving(lesson, tmp_path):
    with signal_at(3), signal_at(3), pytest.raises(KeyboardInterrupt):
        run.train(lesson, tmp_path)
    assert read_checkpoint(tmp_path / run_folder.INTERRUPTED)["progress"]["step"] == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Interrupting(io.RawIOBase):
    """A file in the middle of whose first write a signal comes."""

    def __init__(self):
        self.written = b""

    def writable(self):
        return True

    def write(self, data):
        if not self.written:
            signal.raise_signal(signal.SIGINT)
        self.written += bytes(data)
        return len(data)


def test_a_signal_that_comes_while_a_line_is_printed(lesson, tmp_path, monkeypatch):
    """Python refuses to print in the middle of a print ("reentrant call")."""
    file = Interrupting()
    monkeypatch.setattr(report, "print_start", lambda *_, **__: None)  # the first line is then the first epoch's
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(file)))
    with pytest.raises(StoppedError, match=f"Stopped at step {STEPS} "):
        run.train(lesson, tmp_path)
    assert b"once more stops at once, without saving" in file.written


def test_the_command_that_continues_keeps_as_many_checkpoints(lesson, tmp_path):
    with signal_at(3), pytest.raises(StoppedError, match=r" --keep 2$"):
        run.train(lesson, tmp_path, keep=2)


def test_signal_handlers_are_put_back(lesson, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run.train(replace(lesson, epochs=1), tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_resumed_run_does_not_depend_on_what_was_drawn_meanwhile(lesson, whole, tmp_path):
    with signal_at(40), pytest.raises(StoppedError):
        run.train(lesson, tmp_path)
    torch.manual_seed(1234)
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def start(*arguments):
    """`tudui` as a user starts it, its output piped."""
    command = [sys.executable, "-m", "tudui_course", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def long_settings(lesson):
    return replace(lesson, epochs=16)


@pytest.fixture(scope="module")
def long_whole(long_settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    run.train(long_settings, folder)
    return folder


def flags(lesson, folder):
    named = [[f"--{name.replace('_', '-')}", value] for name, value in asdict(lesson).items()]
    return ["train", "--run-dir", folder, *itertools.chain(*named)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_from_outside(long_settings, long_whole, tmp_path, monkeypatch, number, code):
    folder = tmp_path / "a run"  # its name has to be quoted
    with start(*flags(long_settings, folder)) as process:
        next(line for line in process.stdout if line.startswith("epoch  2"))
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Finishing this step and saving" in output
    first, command = errors.splitlines()
    step = int(re.fullmatch(r"Stopped at step (\d+) \(epoch \d+ of 16\) and saved\. Continue with:", first)[1])
    assert 2 * STEPS <= step < 16 * STEPS
    program, *arguments = shlex.split(command)
    assert Path(shutil.which(program)) == Path(sys.executable).with_name("tudui") and arguments[0] == "train"
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    cli.main()
    assert_same_run(folder, long_whole)


def test_kill_9_from_outside(long_settings, long_whole, tmp_path):
    with start(*flags(long_settings, tmp_path)) as process:
        next(line for line in process.stdout if line.startswith("epoch  3"))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    run.train(long_settings, tmp_path, resume=True)
    assert_same_run(tmp_path, long_whole)


# Kills itself at the n-th call of a function, before it is carried out.
KILLED = """
import os, signal, sys
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook
from tudui_course import run
from tudui_course.settings import Settings

data, folder, resume, name, count = sys.argv[1:]
calls = 0

def kill(*_):
    global calls
    calls += 1
    if calls == int(count):
        os.kill(os.getpid(), signal.SIGKILL)

def killing(function):
    return lambda *args, **kwargs: (kill(), function(*args, **kwargs))[1]

if name == "step":
    register_optimizer_step_post_hook(kill)
elif name == "unlink":
    Path.unlink = killing(Path.unlink)
else:
    setattr(os, name, killing(getattr(os, name)))
run.train(Settings(data, epochs=5, batch_size=2, lr=0.05, order="fixed"), folder, resume=resume == "resume")
"""


def kill_at(lesson, folder, resume, name, count):
    command = [sys.executable, "-c", KILLED, lesson.data, str(folder), resume, name, str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("fsync", 1),  # before there is any checkpoint
        ("step", 2),  # in the first epoch
        ("step", 100),  # in the middle of an epoch, just before a point is logged
        ("fsync", 7),  # with a checkpoint half way to the disk
        ("replace", 3),  # before the first epoch's checkpoint is there, but after the best's
    ],
)
def test_kill_9_at_a_step_and_while_saving(lesson, whole, tmp_path, name, count):
    kill_at(lesson, tmp_path, "begin", name, count)
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def test_kill_9_while_a_resumed_run_rewrites_its_curves(lesson, whole, tmp_path):
    with signal_at(110), pytest.raises(StoppedError):
        run.train(lesson, tmp_path)
    before = read_scalars(tmp_path)
    assert [step for step, _ in before["train_loss"]] == [100]
    kill_at(lesson, tmp_path, "resume", "unlink", 1)
    assert len(list(tmp_path.glob("events*"))) == 2
    assert read_scalars(tmp_path) == before  # not even now a point stands twice
    run.train(lesson, tmp_path, resume=True)
    assert_same_run(tmp_path, whole)


def test_points_after_the_last_checkpoint_are_taken_back(tmp_path):
    points = [("train_loss", 2.5, 100), ("test_loss", 2.25, 0), ("train_loss", 2.0, 200)]
    with open_writer(tmp_path) as writer:
        for tag, value, step in [*points, ("train_loss", 9.0, 300)]:
            writer.add_scalar(tag, value, step)
    (events,) = tmp_path.glob("events*")
    events.write_bytes(events.read_bytes()[:-3])  # as a killed run may leave it
    with open_writer(tmp_path, points) as writer:
        writer.add_scalar("train_loss", 1.5, 300)
    assert read_scalars(tmp_path) == {
        "train_loss": [(100, 2.5), (200, 2.0), (300, 1.5)],
        "test_loss": [(0, 2.25)],
    }


def test_curves_that_are_not_there_are_a_mistake_with_a_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="train first"):
        read_scalars(tmp_path)


@pytest.mark.parametrize("part", ["train", "test"])
def test_data_that_changed_meanwhile_are_refused(lesson, pictures, tmp_path, part):
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    changed = replace(lesson, data=str(data), epochs=2)
    run.train(replace(changed, epochs=1), tmp_path / "run")
    (data / part / "cat" / "00.png").unlink()
    assert len(read_data(str(data))[part == "test"]) == {"train": 50, "test": 14}[part]
    with pytest.raises(ValueError, match="the pictures or their classes have changed"):
        run.train(changed, tmp_path / "run", resume=True)
