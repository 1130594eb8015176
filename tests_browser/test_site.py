"""The course as web pages (make site), as a browser shows them, in a folder of a server as on GitHub Pages."""

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin

import pytest

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
AXE = ROOT / "build" / "browser" / "node_modules" / "axe-core" / "axe.min.js"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
NOTEBOOK = "notebooks/05_no_grad_and_tensorboard.html"

pytestmark = pytest.mark.skipif(not PAGES, reason="there is no site: make site")


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing in the terminal."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The address of the site."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(SITE, folder / "course")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/course/"
    server.shutdown()


@pytest.fixture(scope="module")
def reader(open_page):
    """One page that goes through the whole site."""
    return open_page()


@pytest.fixture
def newcomer(open_page, site):
    """A page in a profile that has never seen the site."""
    page, _ = open_page()
    page.goto(site)
    return page


def too_wide(page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")


def barriers(page) -> list[str]:
    """What axe-core finds serious or critical."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    return [
        f"{each['impact']}: {each['help']} ({each['id']}): {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_page(site, reader, name):
    page, watch = reader
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(site + name)
    assert watch.take() == []
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert too_wide(page) <= 0
    assert barriers(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert too_wide(page) <= 0, "at the width of a telephone"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", NOTEBOOK, "search.html?q=loss"])
@pytest.mark.parametrize("width", [1280, 390])
def test_looks(site, open_page, picture, name, width, scheme):
    page, watch = open_page(width, 900, color_scheme=scheme)
    page.goto(site + name)
    if "search" in name:
        page.locator("#search-results li").first.wait_for()
    picture(page, f"site-{Path(name).name.partition('.')[0]}-{width}-{scheme}")
    assert watch.take() == []
    assert barriers(page) == []
    assert too_wide(page) <= 0


def test_every_link_leads_somewhere(site, reader):
    page, _ = reader
    links, ids = {}, {}
    for name in PAGES:
        page.goto(site + name)
        ids[site + name] = set(page.evaluate("() => [...document.querySelectorAll('[id]')].map(each => each.id)"))
        links[name] = page.evaluate("() => [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
    broken = []
    for name, targets in links.items():
        for target in targets:
            address, anchor = urldefrag(urljoin(site + name, target))
            if not address.startswith(site):
                continue
            known = ids.get(address + "index.html" if address.endswith("/") else unquote(address))
            if known is None and not (SITE / unquote(address.removeprefix(site))).is_file():
                broken.append(f"{name} -> {target}")
            elif known is not None and anchor and unquote(anchor) not in known:
                broken.append(f"{name} -> {target} (no such place)")
    assert broken == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_language_is_chosen_and_remembered(site, newcomer, picture, width):
    page = newcomer
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(site + NOTEBOOK)
    assert pressed(page) == ["both"]
    assert seen(page) == {"zh", "en"}

    button(page, "English").click()
    assert pressed(page) == ["en"] and seen(page) == {"en"} and page.locator("html").get_attribute("lang") == "en"
    picture(page, f"site-english-{width}")
    page.reload()
    assert pressed(page) == ["en"] and seen(page) == {"en"}, "not remembered after reload"
    page.goto(site + "index.html")
    assert pressed(page) == ["en"] and seen(page) == {"en"}, "not remembered on another page"
    assert too_wide(page) <= 0

    button(page, "中文").focus()
    page.keyboard.press("Enter")
    assert pressed(page) == ["zh"] and seen(page) == {"zh"} and page.locator("html").get_attribute("lang") == "zh-CN"
    picture(page, f"site-chinese-{width}")
    assert barriers(page) == []


def button(page, name):
    return page.locator(".language-switch:visible button", has_text=name)


def pressed(page) -> list[str]:
    """The choices shown as pressed, by the switch that can be seen."""
    found = page.locator(".language-switch:visible button[aria-pressed='true']")
    return [each.get_attribute("data-choice") for each in found.all()]


def seen(page) -> set[str]:
    """The languages of the text that can be seen."""
    return {name for name in ("zh", "en") if page.locator(f"article .{name}:visible").count()}


@pytest.mark.parametrize("words", ["checkpoint", "检查点"])
def test_search_finds_in_both_languages(newcomer, picture, words):
    page = newcomer
    page.locator("input.sidebar-search").fill(words)
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    results.first.wait_for()
    page.wait_for_timeout(500)
    picture(page, f"site-search-{'en' if words.isascii() else 'zh'}")
    assert any("06_checkpoints" in each.get_attribute("href") for each in results.all())


def test_the_search_says_so_when_there_is_nothing(newcomer):
    page = newcomer
    page.locator("input.sidebar-search").fill("xyzzyx")
    page.keyboard.press("Enter")
    page.locator("article", has_text="Nothing found").wait_for()
