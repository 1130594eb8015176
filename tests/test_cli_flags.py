"""Whatever is typed: an exit code that is known, one sentence where something is wrong, never a traceback."""

import sys

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tudui_course import cli, doctor, run
from tudui_course.settings import Settings

EXIT_CODES = {0, 1, 2, 130, 143}
NUMBERS = st.sampled_from(
    ["0", "1", "2", "-1", "1e400", "nan", "1.5", "0x10", "²", "99999999999999999999", "1_0", " 1"]
)
TEXTS = st.one_of(
    st.text(max_size=8), st.sampled_from(["", "-", "--", "~", ".", "..", "/dev/null", "con", "\ud800", "猫"])
)
FEW = st.sampled_from(["1", "2"])  # what takes long is tried with few


def flags(pictures, checkpoint):
    """Strategies for the flags of each command: what is right, what is nearly right, and anything."""
    data = st.sampled_from([str(pictures), str(pictures.parent), "cifar10"]) | TEXTS
    files = st.sampled_from([str(checkpoint), str(checkpoint.parent), __file__]) | TEXTS
    devices = st.sampled_from(["auto", "cpu", "cuda:99", "meta", "xla", "cpu:1"]) | TEXTS
    train = {
        "--data": data, "--network": st.sampled_from(["Tudui", "TuduiNorm"]) | TEXTS,
        "--recipe": st.sampled_from(["seed", "fast"]) | TEXTS, "--epochs": FEW | TEXTS, "--batch-size": NUMBERS | TEXTS,
        "--lr": NUMBERS | TEXTS, "--seed": NUMBERS | TEXTS, "--order": st.just("fixed") | TEXTS, "--device": devices,
        "--precision": st.sampled_from(["auto", "float32", "bfloat16", "bf16"]) | TEXTS, "--limit": NUMBERS | TEXTS,
        "--run-dir": st.sampled_from(["here", "a/b", str(pictures), str(checkpoint)]) | TEXTS,
        "--resume": st.none(), "--overwrite": st.none(), "--keep": NUMBERS | TEXTS,
    }  # fmt: skip
    evaluate = {"": files, "--data": data, "--device": devices, "--batch-size": NUMBERS | TEXTS}
    predict = {"": files, " ": files, "--device": devices, "--json": st.none(), "--figure": TEXTS}
    convert = {"": files, " ": TEXTS, "--overwrite": st.none()}
    return {"train": train, "evaluate": evaluate, "predict": predict, "convert": convert, "doctor": {}}


@st.composite
def command_lines(draw, of):
    """A command, a few of its flags with values, and now and then a word that belongs nowhere."""
    command = draw(st.sampled_from(list(of)))
    line = [command]
    for flag in draw(st.lists(st.sampled_from([*of[command], "--help", "word"]), max_size=5, unique=True)):
        value = draw(of[command].get(flag, st.none()))
        line += [flag] if flag.strip() else []
        line += [value] if value is not None else []
    return line


@pytest.fixture(scope="module")
def checkpoint(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run.train(Settings(str(pictures), epochs=1, batch_size=17), folder)
    return folder / "tudui_0.pth"


def exit_code(line, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tudui", *line])
    try:
        return cli.main() or 0
    except SystemExit as exit_:
        return exit_.code or 0


@hypothesis.settings(
    max_examples=120, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(choice=st.data())
def test_any_flags_with_any_values(choice, pictures, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "examine", lambda: True)
    before = checkpoint.read_bytes()
    line = choice.draw(command_lines(flags(pictures, checkpoint)))
    hypothesis.assume(line[:2] != ["train"] and (line[0] != "train" or "--data" in line))  # all Pictograms take long
    code = exit_code(line, monkeypatch)
    _, errors = capsys.readouterr()
    assert code in EXIT_CODES and "Traceback" not in errors
    assert code == 0 or errors.strip()
    assert checkpoint.read_bytes() == before
