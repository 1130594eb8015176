"""What every notebook keeps to; that its outputs are right is nbval's business (make test-notebooks)."""

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import record
from notebook_counts import count

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


def test_recording_them_again_would_change_no_byte(tmp_path):
    """What the recorder strips is already gone, so the next recording shows only real changes."""
    copies = [Path(shutil.copy(path, tmp_path)) for path in NOTEBOOKS]
    record.normalise(*copies)
    changed = [
        path.name for path, copy in zip(NOTEBOOKS, copies, strict=True) if copy.read_bytes() != path.read_bytes()
    ]
    assert not changed, "record them again: make record"


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


# ---- the notebooks written anew ----

NOT_WRITTEN = [r"^_ =", "# fmt: skip", "# noqa", "strict=True", "or DATA !="]  # in code that teaches


def words_not_to_use() -> dict[str, str]:
    """From each word that docs/glossary.md doesn't want to what stands for it there."""
    words = {}
    section = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").partition("## 用词 · Words")[2]
    for row in re.findall(r"^\|(.+)\|$", section, flags=re.MULTILINE)[2:]:
        use, avoid, say, avoid_english = (cell.strip() for cell in row.split("|"))
        words |= {word: use for word in avoid.split("、") if word != "—"}
        words |= {word: say for word in avoid_english.split(", ") if word != "—"}
    return words


def written_words(path: Path) -> str:
    """A notebook's prose in one line: text cells without code and links, and the comments of its code."""
    texts = [re.sub("```.*?```", " ", cell["source"], flags=re.DOTALL) for cell in cells(path, "markdown")]
    texts = [CODE_WORDS.sub(" ", re.sub("^> ?", "", text, flags=re.MULTILINE)) for text in texts]
    texts += [" ".join(re.findall(r"# .*", cell["source"])) for cell in cells(path, "code")]
    return " ".join(" \n ".join(texts).split())


def unwanted_words(prose: str) -> list[str]:
    """Each word not to use that stands in the prose, outside of a longer one to use (笔记本 in 笔记本电脑)."""
    words, found = words_not_to_use(), []
    for use in {use for uses in words.values() for use in uses.split("、")}:
        if CHINESE.search(use) and any(word in use for word in words):
            prose = prose.replace(use, " ")
    for word, use in words.items():
        pattern = word if CHINESE.search(word) else rf"(?i)\b{word}\b"
        found += [f"{word}: say {use}"] * bool(re.search(pattern, prose))
    return found


def broken_rules(path: Path) -> list[str]:
    """What a notebook written anew does not keep to."""
    counts, broken = count(path), unwanted_words(written_words(path))
    if counts.figures < 2:
        broken.append(f"{counts.figures} figures: at least 2")
    if counts.truths > 4:
        broken.append(f"{counts.truths} printed lines with True or False: at most 4")
    long = [cell for cell in cells(path, "code") if len(cell["source"].splitlines()) > 12]
    if len(long) > 2:
        broken.append(f"{len(long)} code cells of more than 12 lines: at most 2")
    for cell in long:
        if len(cell["source"].splitlines()) > 20 or "exercises." not in cell["source"]:
            broken.append(f"{cell['id']}: more than 12 lines, or an exercise's more than 20")
    for cell in cells(path, "code"):
        found = [rule for rule in NOT_WRITTEN if re.search(rule, cell["source"], flags=re.MULTILINE)]
        broken += [f"{cell['id']}: {rule}" for rule in found]
    return broken


@every_notebook
def test_it_keeps_to_the_rules(path):
    assert broken_rules(path) == []


def test_numbers_and_figures_where_truths_could_stand():
    counts = [count(path) for path in NOTEBOOKS]
    assert sum(one.truths for one in counts) <= 40 and sum(one.figures for one in counts) >= 45


def made_notebook(path: Path, text: str, code: list[str], printed: str, figures: int) -> Path:
    """A notebook for the rules: one text cell; code cells, the last of which has put out some lines and figures."""
    outputs = [nbformat.v4.new_output("stream", text=printed)]
    outputs += [nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": "<Figure>"})] * figures
    written = [nbformat.v4.new_code_cell(source) for source in code]
    written[-1].outputs = outputs
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), *written])
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


EXERCISE = "def f(): ...\n\n\nexercises.q1.check(f)" + "\n# more" * 16


def test_the_rules_let_a_good_notebook_pass(tmp_path):
    text = (
        "在笔记本电脑上做三件事，`教程`\n\n> In a terminal, `on a terminal`, a figure,\n\n```\nthe tutorial\n```\n\n"
        "[link](figures)"
    )
    code = ["x = 1\n" * 12, EXERCISE, EXERCISE, "print(1)"]
    assert broken_rules(made_notebook(tmp_path / "good.ipynb", text, code, "True\n" * 4, 2)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"figures": 1}, "1 figures"),
        ({"printed": "a True\n" * 5}, "5 printed lines"),
        ({"code": ["x = 1\n" * 13]}, "more than 12 lines"),
        ({"code": [EXERCISE + "\n# one more"]}, "more than 20"),
        ({"code": [EXERCISE] * 3}, "3 code cells"),
        ({"code": ["x = 1\n_ = f()"]}, "^_ ="),
        ({"code": ["x = 1  # fmt: skip"]}, "fmt: skip"),
        ({"code": ["x = 1  # noqa: E501"]}, "noqa"),
        ({"code": ["zip(a, b, strict=True)"]}, "strict=True"),
        ({"code": ['assert x or DATA != "pictograms"']}, "or DATA !="),
        ({"code": ["x = 1  # 教程"]}, "教程: say 原课程"),
        ({"text": "在笔记本里"}, "笔记本: say 笔记"),
        ({"text": "它做三件，"}, "做三件: say"),
        ({"text": "> All of it works on a\n> terminal"}, "on a terminal: say in a terminal"),
        ({"text": "> Figures above"}, "figures: say numbers"),
    ],
)
def test_the_rules_name_what_breaks_them(change, expected, tmp_path):
    good = {"text": "好 > good", "code": ["print(1)"], "printed": "1", "figures": 2}
    (found,) = broken_rules(made_notebook(tmp_path / "bad.ipynb", **(good | change)))
    assert expected in found


def test_the_counts_are_right(tmp_path):
    text, code = "words", ["a\nb\nc", "print(1)"]
    path = made_notebook(tmp_path / "some.ipynb", text, code, "loss 0.5\n\nTrue False\nTruely\n", 3)
    assert count(path) == (2, 1, 3, 1, 3, 3, 0)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["cells"][-1]["metadata"]["tags"] = ["tolerance-0.01"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert count(path).tolerances == 1
