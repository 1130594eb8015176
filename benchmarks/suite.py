"""What the notebooks cost in the tests: seconds by notebook, as `make test-notebooks` runs them."""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from common import ROOT


def measure(data: str, quick: bool) -> dict:
    """Run all notebooks (the first alone if `quick`) under nbval, two at a time; `data` makes no difference."""
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))[: 1 if quick else None]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-q", "--nbval", "-n", "2", "--dist", "loadfile", f"--junitxml={report}"]
        started = time.perf_counter()
        tests = subprocess.run(
            [sys.executable, "-m", "pytest", *map(str, paths), *options], cwd=ROOT, stdout=sys.stderr
        )
        total = time.perf_counter() - started
        cells = ElementTree.parse(report).iter("testcase")
    seconds: dict[str, float] = defaultdict(float)
    for cell in cells:
        seconds[cell.get("classname").removesuffix(".ipynb").split(".")[-1]] += float(cell.get("time"))
    return {"passed": tests.returncode == 0, "total": total, "seconds": dict(sorted(seconds.items()))}
