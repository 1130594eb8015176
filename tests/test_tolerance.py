"""Numbers of a notebook's output compared within a cell's tolerance: what passes, what fails, which tags may be."""

import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import nbformat.v4 as nb
import nbval_tolerance
import pytest
from nbval_tolerance import NUMBER, settle, texts, tolerance

ROOT = Path(__file__).resolve().parent.parent

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ABSOLUTE, RELATIVE = ["tolerance-0.03"], ["tolerance-10%"]


# ---- through nbval itself ----


def printed(stored, new, tags):
    """A cell that prints the new text, with the stored one recorded."""
    output = nb.new_output("stream", name="stdout", text=stored + "\n")
    return nb.new_code_cell(f"print({new!r})", outputs=[output], metadata={"tags": tags}, execution_count=1)


def shown(kind, stored, new, tags):
    """A cell that ends in a value of which the kernel shows this kind of text."""
    data = {kind: stored} if kind == "text/plain" else {"text/plain": "page", kind: stored}
    fresh = data | {kind: new}
    source = f"from IPython.display import display\ndisplay({fresh!r}, raw=True)"
    output = nb.new_output("display_data", data=data)
    return nb.new_code_cell(source, outputs=[output], metadata={"tags": tags}, execution_count=1)


LOG = "epoch 6: loss 0.166, accuracy 0.94\nepoch 7: loss 1.2e-01"
PAGE = "<table><tr><td>loss</td><td>0.166</td></tr></table>"
PASS = {
    "the same": printed(LOG, LOG, ABSOLUTE),
    "within an absolute one": printed(LOG, LOG.replace("0.166", "0.184").replace("1.2e-01", "0.1"), ABSOLUTE),
    "exactly at its edge": printed("0.94", "0.97", ABSOLUTE),
    "within a relative one": printed("loss 20.0, -5.0", "loss 22.0, -5.5", RELATIVE),
    "text/plain": shown("text/plain", "tensor([0.5000, 2.3026])", "tensor([0.5100, 2.2926])", ABSOLUTE),
    "text/html": shown("text/html", PAGE, PAGE.replace("0.166", "0.150"), ABSOLUTE),
    "addresses, as ever": printed("<x at 0x7f0000000001> 0.5", "<x at 0x7f0000000002> 0.51", ABSOLUTE),
    "no tag, the same": printed(LOG, LOG, []),
}
FAIL = {
    "beyond an absolute one": printed(LOG, LOG.replace("0.166", "0.197"), ABSOLUTE),
    "beyond a relative one": printed("loss 20.0, 5.0", "loss 20.0, 5.6", RELATIVE),
    "another sign": printed("0.5", "-0.5", ABSOLUTE),
    "another word": printed(LOG, LOG.replace("accuracy", "precision"), ABSOLUTE),
    "a number more": printed("0.5", "0.5 0.5", ABSOLUTE),
    "a number less": printed("0.5 0.5", "0.5", ABSOLUTE),
    "nan": printed("loss 0.166", "loss nan", ABSOLUTE),
    "inf": printed("loss 0.166", "loss inf", RELATIVE),
    "inf, written out": printed("loss 1e300", "loss 1e400", RELATIVE),
    "a missing line": printed(LOG, LOG.splitlines()[0], ABSOLUTE),
    "a missing line without numbers": printed("start\n0.5", "0.5", ABSOLUTE),
    "another whole number": printed("epoch 6: 0.5", "epoch 7: 0.5", RELATIVE),
    "a large whole number": printed("145578 of 0.5", "145579 of 0.5", RELATIVE),
    "whole instead of decimal": printed("0.99", "1", ABSOLUTE),
    "another version": printed("torch 2.6.0 0.5", "torch 2.6.1 0.5", RELATIVE),
    "text/plain beyond": shown("text/plain", "tensor([0.5000])", "tensor([0.5400])", ABSOLUTE),
    "text/html beyond": shown("text/html", PAGE, PAGE.replace("0.166", "0.300"), ABSOLUTE),
    "text/html, another cell": shown("text/html", PAGE, PAGE.replace("loss", "cost"), ABSOLUTE),
    "nothing": nb.new_code_cell(
        "pass", outputs=[nb.new_output("stream", text="0.5\n")], metadata={"tags": ABSOLUTE}, execution_count=1
    ),
    "no tag": printed(LOG, LOG.replace("0.166", "0.167"), []),
    "another tag": printed(LOG, LOG.replace("0.166", "0.167"), ["tolerance0.03"]),
    "two tags": printed(LOG, LOG.replace("0.166", "0.167"), ABSOLUTE + RELATIVE),
}


def test_nbval_passes_what_lies_within_and_fails_all_else(tmp_path):
    """The command that everybody types, in a folder with this project's settings and one notebook."""
    for name in ("conftest.py", "pyproject.toml", "tools/nbval_tolerance.py", "tools/nbval_sanitize.cfg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "notebooks").mkdir()
    notebook = nb.new_notebook(cells=[*PASS.values(), *FAIL.values()])
    (tmp_path / "notebooks" / "tiny.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--nbval", "notebooks/", "-v", "--color=no", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    outcomes = re.findall(r"::Cell \d+ (PASSED|FAILED)", run.stdout)
    assert dict(zip([*PASS, *FAIL], outcomes, strict=True)) == dict.fromkeys(PASS, "PASSED") | dict.fromkeys(
        FAIL, "FAILED"
    ), run.stdout
    for remark in (
        "stdout, decimal number 1: stored 0.166, new 0.197, 0.031 apart, beyond tolerance-0.03",
        "stdout, decimal number 2: stored 5.0, new 5.6, 0.6 apart, beyond tolerance-10%",
        "text/html, decimal number 1: stored 0.166, new 0.300, 0.134 apart, beyond tolerance-0.03",
        "stdout, 1 decimal numbers stored, 0 new",
    ):
        assert remark in run.stdout


# ---- its parts ----


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("loss 2.304 -> 0.166", ["2.304", "0.166"]),
        ("-1.5 +2.5 0.1-0.2", ["-1.5", "+2.5", "0.1", "0.2"]),
        ("1e-05 2.5E+3 1e5", ["1e-05", "2.5E+3", "1e5"]),
        ("损失0.5，正确率93.1%，1.5x 2.5 s", ["0.5", "93.1", "1.5", "2.5"]),
        ("tensor([2., 3.5000])", ["3.5000"]),
        ("lr=0.1, eps=1e-08)", ["0.1", "1e-08"]),
        ("12 of 64. nan inf -inf", []),
        ("2.6.0 127.0.0.1 conv1.0 v1.2 a1e5f 0x1e5 1e5f", []),
    ],
)
def test_which_numbers_count_as_decimal(text, numbers):
    assert NUMBER.findall(text) == numbers


def test_a_number_within_its_tolerance_becomes_the_stored_one():
    assert settle("a 0.51 b 0.60", "a 0.50 b 0.50", "t", Decimal("0.01"), False) == (
        "a 0.50 b 0.60",
        ["decimal number 2: stored 0.50, new 0.60, 0.10 apart, beyond t"],
    )
    assert settle("0.51", "none", "t", Decimal(1), False) == ("0.51", ["0 decimal numbers stored, 1 new"])
    assert settle("-90.0", "-100.0", "t", Decimal("0.1"), True) == ("-100.0", [])
    assert settle("0.01", "0.00", "t", Decimal("0.2"), True)[0] == "0.01"  # a part of nothing is nothing


def test_tags_are_read_or_refused():
    assert tolerance(["x", "tolerance-0.03"]) == ("tolerance-0.03", Decimal("0.03"), False)
    assert tolerance(["tolerance-10%"]) == ("tolerance-10%", Decimal("0.1"), True)
    for tags in ([], ["tolerance"], ["tolerance-"], ["Tolerance-0.1"], ["tolerance-0.1", "tolerance-1%"]):
        assert tolerance(tags) is None


# ---- the course's own tags ----


def faults(cell) -> str:
    """What is wrong with a code cell's tolerance tag; "" where nothing is."""
    tags = cell["metadata"].get("tags", [])
    if not any("toler" in tag.lower() for tag in tags):
        return ""
    if not (allowed := tolerance(tags)) or sum("toler" in tag.lower() for tag in tags) > 1:
        return f"{tags}: one tag like tolerance-0.03 or tolerance-10% is meant"
    tag, width, relative = allowed
    if not 0 < width <= (Decimal("0.2") if relative else Decimal("0.1")):
        return f"{tag}: at most 0.1 or 20%, and not 0"
    if "nbval-ignore-output" in tags:
        return f"{tag}: nothing is compared here anyway"
    stored = ["".join(place[key]) for _, place, key in texts(cell["outputs"])]
    return "" if any(map(NUMBER.search, stored)) else f"{tag}: no decimal number in the output"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_tolerances_are_narrow_rightly_spelt_and_needed(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [(cell["id"], faults(cell)) for cell in cells if cell["cell_type"] == "code" and faults(cell)] == []


@pytest.mark.parametrize(
    ("tags", "stored", "fault"),
    [
        ([], "0.5", ""),
        (["tolerance-0.1"], "0.5", ""),
        (["tolerance-20%"], "1e-05", ""),
        (["tolerance-0.11"], "0.5", "at most"),
        (["tolerance-21%"], "0.5", "at most"),
        (["tolerance-0"], "0.5", "at most"),
        (["tolerance-0.1", "tolerance-1%"], "0.5", "one tag"),
        (["tolerance-0.1", "tolerence-0.1"], "0.5", "one tag"),
        (["tolerance0.1"], "0.5", "one tag"),
        (["tolerance-.1"], "0.5", "one tag"),
        (["Tolerance-0.1"], "0.5", "one tag"),
        (["nbval-tolerance-0.1"], "0.5", "one tag"),
        (["tolerance-0.1", "nbval-ignore-output"], "0.5", "anyway"),
        (["tolerance-0.1"], "12 of 64, nan", "no decimal"),
    ],
)
def test_other_tags_are_refused(tags, stored, fault):
    found = faults(printed(stored, stored, tags))
    assert fault in found and bool(fault) == bool(found)


def test_it_stays_small():
    assert len(Path(nbval_tolerance.__file__).read_text(encoding="utf-8").splitlines()) < 70
