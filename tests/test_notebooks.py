"""What every notebook keeps to; that its outputs are right is nbval's business (make test-notebooks)."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# JupyterLab keeps what was saved last in hidden folders.
NOTEBOOKS = sorted(path for path in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2,}")
CODE_WORDS = re.compile(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<[^>]*>")  # what is the same in both languages

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[dict]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found if cell["cell_type"] == kind]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def output_text(cell: dict) -> str:
    """All text of a cell's outputs, pictures left out."""
    texts = []
    for output in cell["outputs"]:
        texts += [output.get("text", ""), output.get("evalue", ""), output.get("traceback", "")]
        texts += [value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join("".join(text) for text in texts)


def test_ci_runs_every_notebook():
    """make test-notebooks collects the folder; nothing may lie deeper, be hidden, or be left out."""
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(len(NOTEBOOKS))]
    assert all(path.parent == ROOT / "notebooks" for path in NOTEBOOKS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "-m pytest notebooks -q --nbval" in makefile and "--ignore" not in makefile


@every_notebook
def test_every_text_cell_has_chinese_first_and_english_after_it(path):
    for cell in cells(path, "markdown"):
        lines = cell["source"].splitlines()
        quoted = " ".join(line for line in lines if line.startswith(">"))
        heading = " ".join(line for line in lines if line.startswith("#"))
        prose = " ".join(line for line in lines if not line.startswith((">", "#")))
        where = f"{path.name}, cell {cell['id']}"
        if heading:
            assert CHINESE.search(heading) and ENGLISH.search(CODE_WORDS.sub("", heading)), f"{where}: {heading}"
        if prose.strip():
            assert CHINESE.search(prose), f"{where}: no Chinese prose"
            assert ENGLISH.search(CODE_WORDS.sub("", quoted)), f"{where}: no English under the Chinese"
        assert not CHINESE.search(re.sub(r"[“「《（][^”」》）]*[”」》）]|\"[^\"]*\"|`[^`]*`", "", quoted)), (
            f"{where}: Chinese in the English part"
        )


@every_notebook
def test_every_code_cell_was_run_in_order(path):
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1)), "record it again: make record"


@every_notebook
def test_no_output_shows_a_path_of_a_machine(path):
    for cell in cells(path, "code"):
        assert not re.search(r"/(home|Users|tmp|root|work|var|private)/|[A-Z]:\\\\", output_text(cell)), cell["id"]


@every_notebook
def test_no_cell_is_skipped_and_few_are_ignored(path):
    code = cells(path, "code")
    assert not [cell["id"] for cell in code if "nbval-skip" in tags(cell) or "NBVAL_SKIP" in cell["source"]]
    printing = [cell for cell in code if cell["outputs"]]
    ignored = [cell for cell in code if ignores_output(cell)]
    assert len(ignored) <= 0.15 * len(printing)


@every_notebook
def test_each_ignored_cell_is_followed_by_one_that_asserts(path):
    code = cells(path, "code")
    for cell, following in zip(code, [*code[1:], None], strict=True):
        if ignores_output(cell):
            assert following and "assert" in following["source"] and not ignores_output(following), cell["id"]


def ignores_output(cell: dict) -> bool:
    return "nbval-ignore-output" in tags(cell) or "NBVAL_IGNORE_OUTPUT" in cell["source"]


@every_notebook
def test_a_failing_cell_is_meant_to_fail(path):
    """An error among the stored outputs is one that the text announces (tag raises-exception)."""
    for cell in cells(path, "code"):
        failed = any(output["output_type"] == "error" for output in cell["outputs"])
        assert failed == ("raises-exception" in tags(cell)), cell["id"]


@every_notebook
def test_nothing_is_written_to_stderr(path):
    for cell in cells(path, "code"):
        assert not [output for output in cell["outputs"] if output.get("name") == "stderr"], cell["id"]


@every_notebook
def test_it_is_small_and_its_kernel_is_everybodys(path):
    assert path.stat().st_size < 400_000
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"] == {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


@every_notebook
def test_recording_it_again_would_change_no_byte(path, tmp_path):
    """What the recorder strips is already gone, so the next recording shows only real changes."""
    sys.path.insert(0, str(ROOT / "tools"))
    import record

    copy = Path(shutil.copy(path, tmp_path))
    record.normalise(copy)
    assert copy.read_bytes() == path.read_bytes(), "record it again: make record"


@every_notebook
def test_links_to_other_notebooks_and_files_lead_somewhere(path):
    for cell in cells(path, "markdown"):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", cell["source"]):
            if not re.match(r"https?:|attachment:", target):
                assert (path.parent / target).exists(), f"{cell['id']}: {target}"


@every_notebook
def test_it_imports_the_package_and_keeps_its_cells_short(path):
    code = cells(path, "code")
    assert any("from tudui_course" in cell["source"] for cell in code)
    assert sum(len(cell["source"].splitlines()) > 16 for cell in code) <= 2
    assert not any("class Tudui" in cell["source"] and "textwrap" not in cell["source"] for cell in code[:3])


def test_nbval_notices_another_number(tmp_path):
    """The comparison bites: the same notebook with one stored digit changed fails."""
    copy = Path(shutil.copy(ROOT / "notebooks" / "02_model_shape_test.ipynb", tmp_path))
    copy.write_text(copy.read_text(encoding="utf-8").replace("torch.Size([64, 10])", "torch.Size([64, 11])", 1))
    command = [sys.executable, "-m", "pytest", "--nbval", str(copy), "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1 and "torch.Size([64, 11])" in run.stdout
