"""Measure the course's speed beside the lesson's script and other libraries; write docs/bench.json, .md and .png.

    python benchmarks/bench.py                                   the usual parts, on the embedded pictures
    python benchmarks/bench.py --data DIR --part accuracy        time to an accuracy (about half an hour)
    python benchmarks/bench.py --part notebooks                  what the notebooks cost in the tests
    python benchmarks/bench.py --quick --part all                a smoke trial, into build/bench

bench.json keeps what it holds of other machines (CPU, cores, instructions), and of parts that aren't run. Leave the
machine alone meanwhile.
"""

import argparse
import json
import time
from pathlib import Path

import accuracy
import report
import startup
import steps
import suite
import together
import tried
import whole
from common import ROOT, machine, name

from tudui_course.data.loaders import NAMES

PARTS = {
    "steps": steps,
    "tried": tried,
    "startup": startup,
    "whole": whole,
    "together": together,
    "accuracy": accuracy,
    "notebooks": suite,
}
USUAL = ("steps", "tried", "startup", "whole", "together")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="pictograms", help="pictograms, cifar10 or a folder (default: %(default)s)")
    parser.add_argument("--part", nargs="+", choices=[*PARTS, "all"], default=USUAL, help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few steps and rounds; the figures mean nothing")
    parser.add_argument("--out", type=Path, help="folder of the report (default: docs, with --quick build/bench)")
    options = parser.parse_args()
    out = options.out or (ROOT / "build" / "bench" if options.quick else ROOT / "docs")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "bench.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = options.data if options.data in NAMES else "DIR"
    for part in PARTS if "all" in options.part else options.part:
        print(f"{part} ...", flush=True)
        started = time.perf_counter()
        facts = machine()
        measured = PARTS[part].measure(options.data, options.quick)
        taken = time.perf_counter() - started
        parts = results.setdefault(name(facts), {})
        parts[part] = {"machine": facts, "data": data, "quick": options.quick, "took_seconds": taken, **measured}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"{part}: {taken:.0f} s", flush=True)
    report.write(results, out)
    for goal, figure in report.goal_cells(results[name(machine())]).items():
        print(f"{figure:60s} {goal}")
    print(out / "bench.md")


if __name__ == "__main__":
    main()
