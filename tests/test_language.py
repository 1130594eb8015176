"""One rule tells Chinese from English: for the learner's folder, for the site, and for what the checks say."""

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest

from tudui_course import checks, course
from tudui_course.checks import step_00
from tudui_course.language import CHINESE, in_language

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = course.originals()
# What the lesson's code prints, which English text explains.
PRINTED = re.compile("整体测试集上的(?:Loss|正确率)|第 [12] 轮训练(?:开始|结束)|模型已保存|训练次数")

every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def cells(name: str, language: str, outputs: str = "yes") -> list[dict]:
    content = course.adapt(NOTEBOOKS[name], name, {"language": language, "outputs": outputs})
    nbformat.validate(json.loads(content))
    return [{**cell, "source": "".join(cell["source"])} for cell in json.loads(content)["cells"]]


def texts(name: str, language: str) -> list[str]:
    return [cell["source"] for cell in cells(name, language) if cell["cell_type"] == "markdown"]


@every_notebook
@pytest.mark.parametrize("language", ["zh", "en"])
def test_only_text_cells_change(name, language):
    before, after = cells(name, "both"), cells(name, language)
    assert [cell["id"] for cell in after] == [cell["id"] for cell in before]
    for old, new in zip(before, after, strict=True):
        if old["cell_type"] == "markdown":
            assert new["source"].strip() and "\n\n\n" not in new["source"]
            new, old = {**new, "source": ""}, {**old, "source": ""}
        assert new == old


@every_notebook
def test_no_chinese_is_left_in_english_and_nothing_english_lost(name):
    for before, after in zip(texts(name, "both"), texts(name, "en"), strict=True):
        assert not CHINESE.search(PRINTED.sub("", after)), after
        quoted = re.findall("^> ?(.*)", before, flags=re.MULTILINE)
        assert [line for line in quoted if line not in after.splitlines()] == []


@every_notebook
def test_no_english_is_left_in_chinese_and_nothing_chinese_lost(name):
    for before, after in zip(texts(name, "both"), texts(name, "zh"), strict=True):
        assert not re.search(r"^\s*>", after, flags=re.MULTILINE), after
        written = [line for line in before.splitlines() if CHINESE.search(line) and not line.startswith((">", "#"))]
        assert [line for line in written if line[0] not in "|!" and line not in after.splitlines()] == []
        for heading in re.findall("^#.*", after, flags=re.MULTILINE):
            assert all(CHINESE.search(part) or part.strip("# ").isdigit() for part in heading.split(" · ")), heading


@every_notebook
@pytest.mark.parametrize("language", ["zh", "en"])
def test_links_formulas_pictures_and_listings_stay(name, language):
    shared = r"\]\((?:\.\./|\d\d_)[^)]*\)|\$\$.*?\$\$|```.*?```"
    for before, after in zip(texts(name, "both"), texts(name, language), strict=True):
        assert set(re.findall(shared, after, flags=re.DOTALL)) == set(re.findall(shared, before, flags=re.DOTALL))


def test_without_outputs_the_code_stays():
    name = "03_training_loop.ipynb"
    for old, new in zip(cells(name, "both"), cells(name, "both", "no"), strict=True):
        assert new == {**old, "outputs": [], "execution_count": None} if old["cell_type"] == "code" else new == old


@pytest.mark.parametrize(
    ("text", "chinese", "english"),
    [
        ("# 03 · 训练循环 · The loop", "# 03 · 训练循环", "# 03 · The loop"),
        ("## `a`：猜 · `a`: guess · 练习 · Exercise", "## `a`：猜 · 练习", "## `a`: guess · Exercise"),
        ("## DataLoader", "## DataLoader", "## DataLoader"),
        ("一\n\n- 二\n\n> One.\n>\n> - Two", "一\n\n- 二", "One.\n\n- Two"),
        ("一\n\n$$x$$\n\n> above", "一\n\n$$x$$", "$$x$$\n\nabove"),
        ("一\n\n$$x$$\n\n> One:\n>\n> $$y$$", "一\n\n$$x$$", "One:\n\n$$y$$"),
        ("一\n\n```\n> a\n\n# b\n```\n\n> One", "一\n\n```\n> a\n\n# b\n```", "```\n> a\n\n# b\n```\n\nOne"),
        ("![图 · a figure](a.png)", "![图](a.png)", "![a figure](a.png)"),
        ("它说：\n\n> 你好\n\n> It says “你好” and `你好`.", "它说：\n\n> 你好", "It says “你好” and `你好`."),
        ("| 名 Name | 义 | sense |\n| - | - | - |\n| 一 · one | 好 | good |", "| 名 | 义 |\n| - | - |\n| 一 | 好 |",
         "| Name | sense |\n| - | - |\n| one | good |"),
        ("| 一 | 二 |\n| - | - |\n| 好 | `a\\|b` |\n\n> | 1 | 2 |\n> | - | - |\n> | good | x |\n>\n> End.",
         "| 一 | 二 |\n| - | - |\n| 好 | `a\\|b` |", "| 1 | 2 |\n| - | - |\n| good | x |\n\nEnd."),
    ],
)  # fmt: skip
def test_the_rule(text, chinese, english):
    assert in_language(text, "zh") == chinese
    assert in_language(text, "en") == english


def test_the_site_folds_what_the_folder_leaves_out():
    """Both read Markdown in their own way: what is shown must be the same."""
    pytest.importorskip("sphinx", reason="the extra site is not installed: make site installs it")
    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    import bilingual
    import docutils.core
    from docutils import nodes
    from myst_parser.docutils_ import Parser

    def shown(text: str, language: str) -> str:
        settings = {"doctitle_xform": False, "report_level": 5, "myst_enable_extensions": ["dollarmath"]}
        text = re.sub(r"!\[[^\]]*", "![", text)  # a picture's own text is in both languages on the site
        document = docutils.core.publish_doctree(text, parser=Parser(), settings_overrides=settings)
        bilingual.MarkLanguages(document).apply()
        other = {"zh": "en", "en": "zh"}[language]
        hidden = [node for node in document.findall(nodes.Element) if {other, "separator"} & {*node.get("classes", [])}]
        for node in hidden:
            node.parent.remove(node)
        return re.sub(r"\W+", " ", document.astext())

    for name in NOTEBOOKS:
        for language in ("zh", "en"):
            both, alone = ("\n\n***\n\n".join(texts(name, one)) for one in ("both", language))
            assert shown(alone, language) == shown(both, language), name


@pytest.mark.parametrize(("language", "lines"), [("zh", 1), ("en", 1), ("both", 2), ("", 2)])
def test_the_checks_speak_the_language_chosen(language, lines, monkeypatch, capsys):
    monkeypatch.setenv("TUDUI_LANGUAGE", language)
    for say in (step_00.q1.hint, lambda: step_00.q1.check(0.1), lambda: step_00.q1.check(...)):
        say()
        out = capsys.readouterr().out
        assert len(out.splitlines()) == lines and bool(CHINESE.search(out)) == (language != "en"), out
    checks.progress()
    assert ("exercises solved" in capsys.readouterr().out) == (language != "zh")
