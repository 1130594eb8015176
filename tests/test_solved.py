"""Solved exercises are remembered, whatever the disk, the console or a second notebook does."""

import importlib
import io
import json
import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tudui_course.checks import progress, step_00
from tudui_course.checks.solved import progress_file, remember, solved

module = importlib.import_module("tudui_course.checks.solved")  # the package has a function of this name
NAMES = [f"{notebook:02d}.{number}" for notebook in range(10) for number in (1, 2, 3)]


def test_notebooks_solved_at_once_lose_nothing():
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(remember, NAMES))
    assert solved() == NAMES


def test_only_the_file_and_its_lock_are_left():
    remember("00.1")
    assert {path.name for path in progress_file().parent.iterdir()} == {"progress.json", "progress.json.lock"}


def test_a_full_disk_keeps_what_was_there_and_disturbs_nobody(capsys):
    remember("00.2")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # every write to a file fails, as on a full disk
    try:
        step_00.q1.check(2.303)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capsys.readouterr().out.startswith("✓ 00.1")
    assert solved() == ["00.2"]
    assert {path.name for path in progress_file().parent.iterdir()} == {"progress.json", "progress.json.lock"}


@pytest.mark.parametrize("content", ["", "{", "7", '{"00.1": 1}', '["00.1", 3]'])
def test_a_damaged_file_is_begun_anew(content):
    progress_file().write_text(content, encoding="utf-8")
    remember("00.2")
    assert "00.2" in json.loads(progress_file().read_text(encoding="utf-8"))


def test_a_folder_that_cannot_be_made_disturbs_nobody(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUDUI_PROGRESS", str(tmp_path / "file" / "progress.json"))
    step_00.q1.check(2.303)
    assert capsys.readouterr().out.startswith("✓ 00.1") and solved() == []


def test_the_null_device_is_left_alone(monkeypatch):
    monkeypatch.setenv("TUDUI_PROGRESS", os.devnull)
    before = Path(os.devnull).stat()
    remember("00.1")
    assert Path(os.devnull).stat().st_mode == before.st_mode and not Path(f"{os.devnull}.lock").exists()
    assert solved() == []


@pytest.mark.parametrize(
    ("encoding", "marks"), [("ascii", "vxo?"), ("gbk", "vx○?"), ("cp1252", "vxo?"), ("utf-8", "✓✗○?")]
)
def test_any_console_can_print_it(encoding, marks, monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", console)
    step_00.q1.check(2.303)
    step_00.q1.check(0.1)
    step_00.q1.check(...)
    step_00.q1.hint()
    step_00.q1.solution()
    progress()
    console.flush()
    lines = console.buffer.getvalue().decode(encoding).splitlines()
    assert [line[0] for line in lines[:8:2]] == list(marks)
    assert "Your answer is 0.1. That is p" in lines[3]
    assert lines[-1].endswith("exercises solved") and any(
        line.startswith(f"00  {'✓ ○' if encoding == 'utf-8' else 'v o'}") for line in lines
    )


def test_a_message_that_quotes_half_a_character_is_printed(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", console)
    step_00.q1.check("\udc80")
    step_00.q2.check(lambda losses: [].index("\udc80"))
    console.flush()
    assert console.buffer.getvalue().decode("utf-8").count("00.") == 2


def test_what_was_solved_in_the_checkout_counts_in_a_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.delenv("TUDUI_PROGRESS")
    monkeypatch.delenv("TUDUI_HOME")
    monkeypatch.setattr(module.platformdirs, "user_data_dir", lambda name: str(tmp_path / "data"))
    monkeypatch.setattr(module, "home", lambda: tmp_path / "checkout")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "progress.json").write_text('["01.1"]')
    remember("02.2")
    assert solved() == ["01.1", "02.2"]
    monkeypatch.setattr(module, "home", lambda: tmp_path / "data")  # an installed package
    assert solved() == ["01.1", "02.2"]
