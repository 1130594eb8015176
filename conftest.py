"""For every test run, the notebooks' kernels included (they inherit these): quiet and repeatable."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "tools"))
pytest_plugins = ["nbval_tolerance"]  # numbers that differ from machine to machine, where a cell's tag says how far

HEADLESS = {
    "OMP_NUM_THREADS": "1",  # the same sums on any number of cores; and two jobs of one thread beat one of two
    "TQDM_DISABLE": "1",  # a progress bar's times would differ in every run
    "TUDUI_HEADLESS": "1",  # TensorBoard starts, a sentence stands in for its frame
    "TUDUI_LANGUAGE": "both",
    "TUDUI_PROGRESS": os.devnull,
}
os.environ.update(HEADLESS)


def pytest_terminal_summary(terminalreporter):
    """Where tests fail, name the notebooks that somebody has worked in: their stored outputs are no longer ours."""
    failed = [report.nodeid for report in terminalreporter.stats.get("failed", [])]
    if not any("test_notebooks" in name or ".ipynb" in name for name in failed):
        return
    command = ["git", "diff", "--name-only", "HEAD", "--", "notebooks"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except FileNotFoundError:  # no git
        return
    if done.stdout.strip():
        terminalreporter.section("changed notebooks")
        terminalreporter.write_line(
            f"Changed since the last commit: {', '.join(done.stdout.split())}. The tests compare the course's own "
            "notebooks with their stored outputs, so your work in them makes tests fail. To test the course, put your "
            "work aside with `git stash`, and take it back with `git stash pop`. If you maintain them: make record."
        )
