"""JupyterLab as `make lab` opens it for somebody who has never used it."""

import json
import re
import time
from pathlib import Path

import psutil
import pytest
from lab import ROOT, Lab, choose, errors, ink, run_all, show_cell, text_of, wait_until_ready, write_and_run

from conftest import free_port
from tudui_course.board import read_scalars

HARMLESS = (
    # Chromium's console; JupyterLab asks for files that need not be there.
    r"/api/contents/.*\.ipynb_checkpoints",
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    running = Lab(tmp_path_factory.mktemp("lab"), free_port())
    yield running
    running.stop()


@pytest.fixture(scope="module")
def start_here(lab, open_page):
    """The address that `make lab` opens, in a browser that has never seen JupyterLab."""
    page, watch = open_page(1440, 1000)
    page.goto(lab.url)
    wait_until_ready(page, "notebooks/00_start_here.ipynb")
    return page, watch


@pytest.fixture(scope="module")
def board(start_here):
    """Notebook 05 after Run All, opened as one opens it: with a double click in the file browser."""
    page, watch = start_here
    page.locator(".jp-DirListing-itemName", has_text="05_").dblclick()
    page.locator(".lm-TabBar-tab.lm-mod-current", has_text="05_").wait_for()
    wait_until_ready(page, "notebooks/05_no_grad_and_tensorboard.ipynb")
    run_all(page)
    return page, watch


def test_it_opens_on_the_first_notebook(start_here, picture):
    page, watch = start_here
    page.wait_for_timeout(3000)  # what pops up, pops up a while later
    picture(page, "lab-first-look")
    assert page.locator(".lm-TabBar-tab.lm-mod-current", has_text="00_start_here.ipynb").count() == 1
    assert page.locator(".jp-Launcher").count() == 0
    assert page.locator(".jp-Dialog").count() == 0, page.locator(".jp-Dialog").all_inner_texts()
    assert page.locator(".Toastify__toast").count() == 0, page.locator(".Toastify__toast").all_inner_texts()
    assert watch.take(harmless=HARMLESS) == []


def test_the_file_browser_shows_the_notebooks_and_nothing_else(start_here, lab):
    page, _ = start_here
    names = page.locator(".jp-DirListing-itemName").all_inner_texts()
    assert names == sorted(path.name for path in lab.notebooks.iterdir() if path.suffix == ".ipynb")


def test_the_launcher_offers_python_3_alone(start_here, picture):
    page, watch = start_here
    page.keyboard.press("ControlOrMeta+Shift+l")
    page.locator(".jp-Launcher").wait_for()
    picture(page, "lab-launcher")
    kernels = page.locator(".jp-Launcher-section", has_text="Notebook").locator(".jp-LauncherCard-label")
    assert {label.strip() for label in kernels.all_inner_texts()} == {"Python 3 (ipykernel)"}
    page.locator(".lm-TabBar-tab", has_text="Launcher").locator(".lm-TabBar-tabCloseIcon").click()
    assert watch.take(harmless=HARMLESS) == []


def test_its_terminal_finds_the_command(start_here, lab):
    page, watch = start_here
    page.keyboard.press("ControlOrMeta+Shift+l")
    page.locator(".jp-Launcher .jp-LauncherCard", has_text="Terminal").click()
    page.locator(".jp-Terminal .xterm-screen").wait_for()
    page.wait_for_timeout(2000)  # the shell's prompt
    page.keyboard.type('tudui --help > "$TUDUI_HOME/help.txt"; pwd > "$TUDUI_HOME/where.txt"\n')
    where = lab.home / "where.txt"
    deadline = time.monotonic() + 30
    while not (where.exists() and where.read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert "The complete PyTorch training routine" in (lab.home / "help.txt").read_text()
    assert Path(where.read_text().strip()).samefile(ROOT)
    page.keyboard.type("exit\n")
    page.locator(".jp-Terminal").wait_for(state="detached")
    assert watch.take(harmless=HARMLESS) == []


def test_the_first_notebook_runs_to_its_end(start_here, picture):
    page, watch = start_here
    run_all(page)
    assert errors(page) == []
    for cell in ("doctor", "curve", "q1"):
        show_cell(page, cell)
        page.wait_for_timeout(300)
        picture(page, f"lab-00-{cell}")
    assert "○ 00.1" in text_of(page, "q1") and "0 of" in text_of(page, "progress")
    assert watch.take(harmless=HARMLESS) == []


def test_an_exercise_is_judged_wrong_then_right_and_remembered(start_here, lab, picture):
    """After Run All of the test above."""
    page, watch = start_here
    wrong = write_and_run(page, "q1", "answer = math.log(1 / 50_000)\n\nexercises.q1.check(answer)")
    assert wrong.startswith("✗ 00.1") and "The sign is missing" in wrong and "差一个负号" in wrong
    assert "✓" not in write_and_run(page, "progress", "progress()")
    right = write_and_run(page, "q1", "answer = math.log(50_000)\n\nexercises.q1.check(answer)")
    assert right.startswith("✓ 00.1") and "✗" not in right
    progress = write_and_run(page, "progress", "progress()")
    assert "00  ✓ ○" in progress and "1 of" in progress
    assert json.loads((lab.home / "progress.json").read_text()) == ["00.1"]
    picture(page, "lab-00-progress")
    assert watch.take(harmless=HARMLESS) == []


def test_tensorboard_draws_the_curves_in_the_notebook(board, lab, picture):
    page, watch = board
    assert errors(page) == []
    folder = lab.home / "runs" / "05_no_grad_and_tensorboard"
    runs = {run: read_scalars(folder / run) for run in ("by_hand", "package")}
    show_cell(page, "show").wait_for_selector("iframe")
    frame = page.frame_locator(".jp-OutputArea-output iframe")
    frame.locator("scalar-card").first.wait_for()
    picture(page, "lab-05-tensorboard")
    for run, curves in runs.items():
        for tag, points in curves.items():
            card = frame.locator("scalar-card", has=page.locator(f".tag[title='{tag}']"))
            if not card.count():  # TensorBoard folds all but the first two groups
                frame.locator(".group-toolbar", has_text=tag).click()
            card.scroll_into_view_if_needed()
            last_step = page.locator("tb-data-table-content-cell", has_text=re.compile(rf"^\s*{points[-1][0]}\s*$"))
            row = card.locator("tb-data-table-content-row", has_text=run).filter(has=last_step)
            row.wait_for()
            assert ink(card.locator("line-chart .series-view")) > 300, tag
    tags = {tag for curves in runs.values() for tag in curves}
    assert set(frame.locator(".group-title").all_inner_texts()) == {"Pinned", *tags}, "another folder's curves"
    assert watch.take(harmless=HARMLESS) == []


def test_tensorboard_ends_with_the_kernel(board, lab):
    page, _ = board
    entries = list((lab.temp / ".tensorboard-info").glob("*.info"))
    servers = [json.loads(path.read_text())["pid"] for path in entries]
    assert servers and all(map(psutil.pid_exists, servers))
    choose(page, "Kernel", "Shut Down Kernel")
    deadline = time.monotonic() + 20
    while any(map(psutil.pid_exists, servers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(psutil.pid_exists, servers))
    assert not any(path.exists() for path in entries)


def test_the_server_has_nothing_to_complain_about(lab):
    lines = lab.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("[E ") or "Traceback" in line] == []
