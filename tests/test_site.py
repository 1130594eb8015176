"""The site's sources, its marks for the two languages, and the check of what was built.

Building takes half a minute, so make test leaves it out: make site builds and checks, and
`pytest tests/test_site.py -m site` (with the extras site and browser) builds and looks at what only it can see;
tests_browser/test_site.py tries everything else in a browser.
"""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
sys.path[:0] = [str(ROOT / "tools"), str(DOCS / "_ext")]
import build_site  # noqa: E402
import check_site  # noqa: E402

CHINESE = re.compile(r"[\u4e00-\u9fff]")
OURS = [DOCS / f"{name}.md" for name in build_site.PAGES if name != "results"]


# ---- the sources ----


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_page_has_each_heading_and_each_part_in_both_languages(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for part in re.split(r"^(?=#)", text, flags=re.MULTILINE)[1:]:
        heading, _, rest = part.partition("\n")
        chinese, _, english = heading.partition(" · ")
        assert CHINESE.search(chinese) and re.search("[a-z]{2}", english) and not CHINESE.search(english), heading
        lines = [line.strip() for line in rest.splitlines() if line.strip() and not line.startswith(("|", "    ", "!"))]
        quoted = [line for line in lines if line.startswith(">")]
        assert bool(quoted) == (len(quoted) < len(lines)), f"{heading}: one language only"
        assert not CHINESE.search(re.sub("`[^`]*`", "", "".join(quoted))), f"{heading}: Chinese in the English part"


def test_the_glossary_is_sorted_and_explains_each_term_twice():
    entries = (DOCS / "glossary.md").read_text(encoding="utf-8").partition("\n\n## ")[0].split("\n\n")[3:]
    terms, english_parts = entries[::2], entries[1::2]
    assert len(terms) == len(english_parts) >= 40
    names = []
    for term, english_part in zip(terms, english_parts, strict=True):
        found = re.fullmatch(r"(.+) · (.+)\n: (.+)", term)
        assert found and CHINESE.search(found[1]) and CHINESE.search(found[3]), term
        assert re.match(r"  > [A-Z`“(]", english_part), english_part
        names.append(found[2].strip("`").lower())
    assert names == sorted(names)


def test_the_front_page_leads_to_every_notebook():
    linked = re.findall(r"\]\(\.\./notebooks/([\w.]+)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert linked == sorted(path.name for path in ROOT.glob("notebooks/*.ipynb"))


def test_pages_are_made_for_the_package_but_not_for_the_judges():
    assert {"tudui_course.loop", "tudui_course.data", "tudui_course.checks.base"} <= set(build_site.modules())
    assert not [name for name in build_site.modules() if "step_" in name or "__" in name]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "homework.txt").write_text("mine")
    run = subprocess.run([sys.executable, ROOT / "tools" / "build_site.py", tmp_path], capture_output=True, text=True)
    assert run.returncode == 1 and "something else" in run.stderr
    assert (tmp_path / "homework.txt").read_text() == "mine"


# ---- the check ----

PAGE = """<html><head><script src="language.js"></script>{head}</head><body><div class="language-switch"></div>
<p class="zh" id="top">批次</p><p class="en">batch</p>{body}</body></html>"""


@pytest.fixture
def small_site(tmp_path):
    def make(head: str = "", body: str = "", words: tuple[str, ...] = check_site.SEARCHES) -> Path:
        (tmp_path / "index.html").write_text(PAGE.format(head=head, body=body), encoding="utf-8")
        (tmp_path / "language.js").write_text("")
        terms = {key: 0 for word in words for key in check_site.keys(word)}
        (tmp_path / "searchindex.js").write_text(f"Search.setIndex({json.dumps({'terms': terms})})", encoding="utf-8")
        return tmp_path

    return make


def test_the_check_passes_a_good_site(small_site):
    body = '<a href="#top">up</a><a href="https://example.org/">out</a><img src="language.js" alt="a curve">'
    assert check_site.faults(small_site(body=body)) == []


@pytest.mark.parametrize(
    "head, body, fault",
    [
        ("", '<a href="nowhere.html">x</a>', "nowhere.html leads nowhere"),
        ("", '<a href="../secret.html">x</a>', "leads nowhere"),
        ("", '<a href="index.html#missing">x</a>', "no such place"),
        ("", '<img src="language.js">', "has no text"),
        ("", '<img src="language.js" alt=" ">', "has no text"),
        ("", '<img src="https://example.org/a.png" alt="a">', "fetches https://example.org/a.png"),
        ('<script src="//example.org/a.js"></script>', "", "fetches //example.org/a.js"),
        ('<link rel="stylesheet" href="https://example.org/a.css">', "", "fetches https://example.org/a.css"),
        ('<link rel="preload" href="https://example.org/a.woff2">', "", "fetches"),
        ("<style>@import 'https://example.org/a.css';</style>", "", "fetches"),
        ("", '<p style="background: url(https://example.org/a.png)">x</p>', "fetches"),
    ],
)
def test_the_check_names_each_fault(head, body, fault, small_site):
    found = check_site.faults(small_site(head, body))
    assert len(found) == 1 and fault in found[0]


def test_the_check_wants_both_languages(small_site):
    folder = small_site(words=("checkpoint", "batch", "loss", "tensor"))
    assert "a search for 检查点 finds nothing" in check_site.faults(folder)
    (folder / "index.html").write_text("<html><p class=en>English only</p></html>")
    assert {"index.html: no language switch", "index.html: not marked in both languages"} <= set(
        check_site.faults(folder)
    )


def test_no_page_at_all_is_a_fault(tmp_path):
    assert "holds no pages" in check_site.faults(tmp_path)[0]


# ---- the marks ----


def kind_of(part) -> str:
    classes = getattr(part, "attributes", {}).get("classes", [])
    return next((kind for kind in ("zh", "en", "separator") if kind in classes), "")


@pytest.fixture
def marked():
    """Parse Markdown as the site does; returns (zh, en or nothing; tag; text) of each part of the page."""
    pytest.importorskip("sphinx", reason="the extra site is not installed: make site installs it")
    import bilingual
    import docutils.core
    from myst_parser.docutils_ import Parser

    def parse(text: str) -> list[tuple[str, str, str]]:
        settings = {"doctitle_xform": False, "report_level": 5, "myst_enable_extensions": ["dollarmath"]}
        document = docutils.core.publish_doctree(text, parser=Parser(), settings_overrides=settings)
        bilingual.MarkLanguages(document).apply()
        section = document.children[0]
        parts = [*section[0].children, *section.children[1:]]
        return [(kind_of(part), part.tagname, part.astext()) for part in parts]

    return parse


def test_headings_are_split_and_keep_their_number(marked):
    assert [kind for kind, _, _ in marked("# 批次 · A batch")] == ["zh", "separator", "en"]
    assert marked("# 03 · `step`：走一步 · `step`: one step") == [
        ("", "#text", "03 · "),
        ("zh", "inline", "step：走一步"),
        ("separator", "inline", " · "),
        ("en", "inline", "step: one step"),
    ]
    assert marked("# 3. 批次 · 3. A batch")[0] == ("zh", "inline", "3. 批次")
    assert [kind for kind, _, _ in marked("# 训练时呢？· And in training?")] == ["zh", "separator", "en"]
    assert marked("# 782 从哪里来 · Where 782 comes from")[0] == ("zh", "inline", "782 从哪里来")
    assert marked("# DataLoader · PyTorch") == [("", "#text", "DataLoader · PyTorch")]


def test_chinese_is_marked_only_where_english_follows(marked):
    text = "# T\n\n一。\n\n- 二\n\n> One.\n>\n> - Two\n\n三。\n\n```\ncode\n```\n\n> Three.\n\n没有译文。"
    assert [(kind, tag) for kind, tag, _ in marked(text)[1:]] == [
        ("zh", "paragraph"),
        ("zh", "bullet_list"),
        ("en", "block_quote"),
        ("zh", "paragraph"),
        ("", "literal_block"),
        ("en", "block_quote"),
        ("", "paragraph"),
    ]


def test_a_table_or_formula_stays_unless_the_english_has_its_own(marked):
    table = "| 一 | 二 |\n| --- | --- |\n| 1 | 2 |\n"
    assert [kind for kind, _, _ in marked(f"# T\n\n中文。\n\n{table}\n> English.\n")[1:]] == ["zh", "", "en"]
    quoted = "\n".join(f"> {line}" for line in table.replace("一", "a").replace("二", "b").splitlines())
    assert [kind for kind, _, _ in marked(f"# T\n\n{table}\n{quoted}\n")[1:]] == ["zh", "en"]
    assert [kind for kind, _, _ in marked("# T\n\n中文：\n\n$$\na\n$$\n\n> English:\n>\n> $$\n> a\n> $$\n")[1:]] == [
        "zh", "zh", "en",
    ]  # fmt: skip


def cells(text: str) -> list[str]:
    """The language of each cell and, after it, of the parts of its paragraph; myst must parse as `marked` does."""
    import bilingual
    import docutils.core
    from docutils import nodes
    from myst_parser.docutils_ import Parser

    settings = {"doctitle_xform": False, "report_level": 5}
    document = docutils.core.publish_doctree(text, parser=Parser(), settings_overrides=settings)
    bilingual.MarkLanguages(document).apply()
    entries = document.findall(nodes.entry)
    return [" ".join([kind_of(entry) or "-", *filter(None, map(kind_of, entry[0].children))]) for entry in entries]


def test_a_tables_columns_and_cells_are_folded(marked):
    table = "| n | 是什么 | what it is |\n| --- | --- | --- |\n| 数据 · data | 好 | good |\n| 一<br>one | 坏 | bad |\n"
    assert cells(table) == ["-", "zh", "en", "- zh separator en", "zh", "en", "- zh separator en", "zh", "en"]
    assert cells("# T\n\n| 一 | 二 | n |\n| --- | --- | --- |\n| 好 | 坏 | 1 |\n") == ["-"] * 6


def test_a_picture_is_shown_in_both_languages(marked):
    assert [kind for kind, _, _ in marked("# T\n\n![图 picture](a.png)\n\n中文。\n\n> English.\n")[1:]] == [
        "",
        "zh",
        "en",
    ]


def test_english_may_quote_chinese_and_a_chinese_quotation_is_not_english(marked):
    assert marked("# T\n\n课程。\n\n> It prints “训练开始” and `你好`.\n")[2][0] == "en"
    assert marked("# T\n\n他说：\n\n> 先看数据，再看代码。\n")[2][0] == ""


def test_a_list_with_its_english_inside_keeps_both(marked):
    assert [kind for kind, _, _ in marked("# T\n\n- 一\n\n  > One\n\n- 二\n\n  > Two\n\n三。\n\n> Three.\n")[1:]] == [
        "", "zh", "en",
    ]  # fmt: skip


def test_chinese_without_english_fails_the_build(marked, caplog):
    marked("# T\n\n一。\n\n> One.\n\n没有译文。\n")
    assert [record.getMessage() for record in caplog.records] == ["no English under this Chinese: 没有译文。"]


def test_a_figure_is_described_by_the_sentence_that_speaks_of_it(marked):
    import notebook_pages
    from docutils import nodes

    def about(text: str) -> str:
        return notebook_pages.about_a_figure(nodes.block_quote("", nodes.paragraph("", text)))

    assert about("A curve falls by 0.5 a step. The figure shows\nthe loss. It is low.") == "The figure shows the loss."
    assert about("Look at the picture. Both curves fall. Good.") == "Both curves fall."
    assert about("Nothing of the kind.") == ""
    assert notebook_pages.describe("看 · Look", "").endswith("Figure produced by the code above: Look.")


@pytest.mark.parametrize(
    "target, page",
    [
        ("../docs/results.md", "../results.md"),
        ("../README.md", "../index.md"),
        ("../tudui_course/data/loaders.py", "../api/data.loaders.md"),
        ("../tudui_course", "../api.md"),
        ("02_model_shape_test.ipynb", "02_model_shape_test.ipynb"),
    ],
)
def test_links_of_the_repository_lead_to_pages(marked, target, page):
    import notebook_pages

    assert notebook_pages.fit_links(f"[x]({target})", "notebooks/01_dataloader") == f"[x]({page})"


def test_chinese_lines_join_without_a_space(marked):
    assert marked("# T\n\n第一行，\n第二行 and\nEnglish\n行")[1][2] == "第一行，第二行 and\nEnglish\n行"


def test_search_splits_chinese_into_pairs_and_stems_english():
    pytest.importorskip("sphinx", reason="the extra site is not installed: make site installs it")
    from bilingual import SearchBoth

    search = SearchBoth({})
    assert search.split("保存检查点 zero_grad") == [*"保存检查点", "保存", "存检", "检查", "查点", "zero_grad"]
    assert search.stem("Checkpoints") == "checkpoint"


# ---- the built site ----


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    pytest.importorskip("myst_nb", reason="the extra site is not installed: make site installs it")
    folder = tmp_path_factory.mktemp("built") / "site"
    build = [sys.executable, ROOT / "tools" / "build_site.py", folder]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder


@pytest.fixture(scope="session")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def page(address):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make browser gets it")
    browser_path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not browser_path:
        pytest.skip("no chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.requests, page.errors = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        yield page
        assert not page.errors and all(url.startswith((address, "data:")) for url in page.requests)
        browser.close()


@pytest.mark.site
def test_every_stored_picture_is_on_its_page(site):
    for notebook in ROOT.glob("notebooks/*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        stored = [
            output for cell in cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
        ]
        html = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert html.count("<img ") >= len(stored), notebook.name


@pytest.mark.site
def test_the_chosen_language_is_shown_and_remembered(page, address):
    page.goto(f"{address}/glossary.html")
    group = page.get_by_role("group", name="语言 · Language")
    chinese, english = page.locator("article p.zh").first, page.locator("article blockquote.en").first
    assert chinese.is_visible() and english.is_visible()
    group.get_by_role("button", name="English").focus()
    page.keyboard.press("Enter")
    assert group.get_by_role("button", name="English").get_attribute("aria-pressed") == "true"
    assert english.is_visible() and not chinese.is_visible()
    assert page.title() == "Glossary - tudui_course"
    page.goto(f"{address}/promises.html", wait_until="commit")
    assert page.evaluate("document.documentElement.dataset.language") == "en"
    assert page.locator("h1").inner_text().startswith("Promises and limits")
    page.get_by_role("button", name="中文").click()
    assert page.title() == "承诺与局限 - tudui_course"
    assert page.locator("html").get_attribute("lang") == "zh-CN"


@pytest.mark.site
def test_without_scripts_both_languages_show(page, address):
    context = page.context.browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{address}/glossary.html")
    assert plain.locator("article p.zh").first.is_visible()
    assert plain.locator("article blockquote.en").first.is_visible()
    assert not plain.locator(".language-switch").last.is_visible()
