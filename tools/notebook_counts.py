"""Print what each notebook consists of: python tools/notebook_counts.py [NOTEBOOK ...]; all of them by default."""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Counts(NamedTuple):
    """Of one notebook; printed are the lines that its code cells have put out, pictures and empty lines left out."""

    code: int  # cells
    text: int  # cells
    printed: int
    truths: int  # printed lines with True or False in them
    figures: int
    longest: int  # lines of the longest code cell
    tolerances: int  # cells whose numbers may differ


def count(path: Path) -> Counts:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    printed = [line for output in outputs for line in lines(output)]
    return Counts(
        code=len(code),
        text=sum(cell["cell_type"] == "markdown" for cell in cells),
        printed=len(printed),
        truths=sum(bool(re.search(r"\b(True|False)\b", line)) for line in printed),
        figures=sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs),
        longest=max((len(source(cell).splitlines()) for cell in code), default=0),
        tolerances=sum(any("tolerance" in tag for tag in cell["metadata"].get("tags", [])) for cell in code),
    )


def source(cell: dict) -> str:
    return "".join(cell["source"])


def lines(output: dict) -> list[str]:
    """What a reader sees of an output as text: printed, or the value at the cell's end; not "<Figure size ...>"."""
    data = output.get("data", {})
    shown = [] if any(kind.startswith("image/") for kind in data) else data.get("text/plain", [])
    return [line for line in ("".join(output.get("text", [])) + "".join(shown)).splitlines() if line.strip()]


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    counted = {path.stem: count(path) for path in paths}
    if len(paths) > 1:
        whole = Counts(*map(sum, zip(*counted.values(), strict=True)))
        counted["all"] = whole._replace(longest=max(row.longest for row in counted.values()))
    width = max(map(len, counted))
    print(" " * width, *(f"{name:>10}" for name in Counts._fields))
    for name, row in counted.items():
        print(f"{name:{width}}", *(f"{number:10}" for number in row))


if __name__ == "__main__":
    main()
