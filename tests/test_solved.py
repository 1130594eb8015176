"""Solved exercises are remembered, whatever the disk, the console or a second notebook does."""

import base64
import datetime
import importlib
import io
import json
import os
import re
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from tudui_course.board import open_writer
from tudui_course.checks import all_exercises, progress, step_00, summary
from tudui_course.checks.solved import progress_file, remember, solved
from tudui_course.errors import InputError, StorageError

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
        step_00.q1.check(10.82)
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
    step_00.q1.check(10.82)
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
    step_00.q1.check(10.82)
    step_00.q1.check(2.303)
    step_00.q1.check(...)
    step_00.q1.hint()
    step_00.q1.solution()
    progress()
    console.flush()
    lines = console.buffer.getvalue().decode(encoding).splitlines()
    assert [line[0] for line in lines[:8:2]] == list(marks)
    assert "Your answer is 2.303. That is the loss for ten" in lines[3]
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


# ---- the page to show ----

POINTS = [("train_loss", 2.3, 1, 0.0), ("train_loss", 0.5, 2, 0.0), ("test_accuracy", 0.25, 0, 0.0)]


def rows_of(path: Path) -> dict[str, tuple[str, str]]:
    """What the page's table says of each notebook: its marks, and how many are solved."""
    rows = re.findall("<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", path.read_text(encoding="utf-8"))
    return {title[:2]: (marks, count) for title, marks, count in rows}


def test_the_page_says_what_is_solved_and_nothing_else(tmp_path, capsys):
    names = [exercise.name for exercise in all_exercises()]
    for name in ("00.2", "03.1", "03.4", "98.7"):  # the last one was in an earlier version of the course
        remember(name)
    summary(tmp_path / "page.html")
    text, rows = (tmp_path / "page.html").read_text(encoding="utf-8"), rows_of(tmp_path / "page.html")
    assert list(rows) == sorted({name[:2] for name in names})
    assert rows["03"] == ("✓○○✓○", "2 / 5") and set(rows["05"][0]) == {"○"}
    assert sum(marks.count("✓") for marks, _ in rows.values()) == 3
    assert f"做对 3 / {len(names)} 题 · 3 of {len(names)} exercises solved" in text
    assert datetime.date.today().isoformat() in text and "No curve of one's own yet" in text and "<img" not in text
    assert "训练循环 · " in text  # titles in both languages
    assert capsys.readouterr().out.endswith("page.html\n")


def test_the_page_holds_the_run_s_own_curve_and_needs_nothing_beside_it(tmp_path):
    open_writer(tmp_path / "run", POINTS).close()
    summary(tmp_path / "page.html", tmp_path / "run")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    picture = re.search('src="data:image/png;base64,([^"]+)"', text)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (960, 360)
    assert "training loss: 2.300 → 0.500<br>测试正确率 · test accuracy: 0.250 → 0.250" in text
    assert not re.search(r"https?:|<script|<link", text)
    assert str(tmp_path) not in text


def test_the_page_is_well_formed(tmp_path):
    opened = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            if tag not in ("br", "img", "meta"):
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    open_writer(tmp_path / "run", POINTS).close()
    summary(tmp_path / "page.html", tmp_path / "run")
    Parser().feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert opened == []


def test_a_later_page_replaces_an_earlier_one_and_no_other_file(tmp_path):
    path = tmp_path / "page.html"
    summary(path)
    remember("00.1")
    summary(path)
    assert rows_of(path)["00"][0].startswith("✓")
    for other in ("notes.html", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "notes.html").write_text("mine", encoding="utf-8")
        with pytest.raises(InputError, match=f"{other} is there and is no summary"):
            summary(tmp_path / other)
    assert (tmp_path / "notes.html").read_text(encoding="utf-8") == "mine"


def test_a_page_that_cannot_be_written_gets_a_sentence_and_leaves_the_earlier_one(tmp_path):
    with pytest.raises(StorageError, match="can't be written"):
        summary(tmp_path / "no folder" / "page.html")
    summary(tmp_path / "page.html")
    before = (tmp_path / "page.html").read_text(encoding="utf-8")
    remember("00.1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(StorageError):
            summary(tmp_path / "page.html")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == before
    assert {one.name for one in tmp_path.iterdir()} <= {"page.html", "progress.json", "progress.json.lock"}


def test_the_cell_that_writes_the_page_can_be_run_again(tmp_path):
    for _ in range(2):
        from tudui_course.checks import summary

        summary(tmp_path / "mine.html")
    assert (tmp_path / "mine.html").exists()
