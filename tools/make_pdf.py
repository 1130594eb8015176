"""Print the course as PDFs from the built site: python tools/make_pdf.py [zh] [en] [both], into build/pdf.

Needs the extra `pdf`, and a Chromium or Chrome (131 or newer, which numbers pages); tools/get_browser.py gets one, and
a font with Chinese letters. All pages of the site's navigation become one long page, whose contents list its headings.
It is printed once to see on which page each heading lies, and again with those numbers.
"""

import html
import io
import logging
import re
import sys
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup, Tag
from get_browser import get_browser, get_font
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter

import tudui_course

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "site"
FOLDER = ROOT / "build" / "pdf"
LANGUAGES = {"zh": "zh-CN", "en": "en", "both": "zh-CN"}
OLDEST_CHROMIUM = 131
AS_LETTER = re.compile(r"^(<[0-9A-F]+>) <(2[EF][0-9A-F]{2})>$", re.MULTILINE)
PAIRS = (  # a radical and the character that looks the same: Unicode decomposes only the radicals from U+2F00 on
    "⺂乛⺃乚⺅亻⺉刂⺋㔾⺏尣⺐尢⺒巳⺓幺⺔彑⺕彐⺖忄⺘扌⺙攵⺛旡⺞歺⺟母⺠民⺡氵⺣灬⺤爫⺦丬⺨犭⺭礻⺯糹⺰纟⺱罓⺳㓁⺹耂⺺肀⺾艹⻂衤⻅见⻆角⻈讠⻉贝⻋车"
    "⻌辶⻐钅⻑長⻒镸⻓长⻔门⻖阝⻘青⻙韦⻚页⻛风⻜飞⻝食⻟飠⻠饣⻢马⻣骨⻤鬼⻥鱼⻦鸟⻧卤⻨麦⻩黄⻪黾⻫斉⻬齐⻮齿⻯竜⻰龙⻱龜⻲亀⻳龟⼾户"
)
RADICALS = dict(zip(PAIRS[::2], PAIRS[1::2], strict=True))
CONTENTS = '<span class="zh">目录</span><span class="separator"> · </span><span class="en">Contents</span>'

BOOK = """<!doctype html>
<html lang="{lang}" data-language="{language}">
<head><meta charset="utf-8"><title>{title}</title>{styles}</head>
<body data-theme="light">
<div class="cover"><p class="title">{cover}</p><p class="version">tudui_course {version}</p></div>
<article class="book-contents"><h1>{contents}</h1><ol>{entries}</ol></article>
{chapters}
</body></html>
"""
ENTRY = '<li class="{kind}"><a href="#{id}"><span>{text}</span><span class="number">{number}</span></a></li>'


def read_chapters(site: Path) -> list[Tag]:
    """The pages that the navigation names, the front page first, fitted to stand in one.

    A page that has pages of its own stays out: that is the package's reference, which is in English alone.
    """
    index = read(site / "index.html")
    links = index.select(".sidebar-tree li.toctree-l1:not(.has-children) > a")
    names = ["index.html", *(link["href"] for link in links if link["href"] != "#")]
    chapters = []
    for number, name in enumerate(names):
        article = read(site / name).select_one("article")
        article["class"] = "chapter"
        article["id"] = chapter_id(name)
        fit(article, name, names, site)
        for index, heading in enumerate(article.select("h1, h2")):
            heading["id"] = f"heading-{number}-{index}"
        chapters.append(article)
    return chapters


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def chapter_id(name: str) -> str:
    return name.removesuffix(".html").replace("/", "-")


def fit(article: Tag, name: str, names: list[str], site: Path) -> None:
    """Make a page part of the book: ids of its own, links within the book, addresses of pictures, lines of code."""
    for part in article.select(".headerlink, script"):
        part.decompose()
    for part in article.select("[id]"):
        if part is not article:
            part["id"] = f"{chapter_id(name)}--{part['id']}"
    for link in article.select("a[href]"):
        page, anchor = urldefrag(urljoin(name, link["href"]))
        if page in names:
            link["href"] = f"#{chapter_id(page)}" + (f"--{anchor}" if anchor else "")
        elif not re.match(r"[a-z]+:", page):
            del link["href"]  # a page or a picture that is on the site alone
    for picture in article.select("img"):
        if not picture["src"].startswith("data:"):
            picture["src"] = (site / name).parent.joinpath(picture["src"]).resolve().as_uri()
    for listing in article.select(".highlight pre"):
        # The highlighter closes its spans at the end of each line.
        lines = listing.decode_contents().removesuffix("\n").split("\n")
        whole = "".join(f'<span class="line">{line}\n</span>' for line in lines)
        listing.replace_with(BeautifulSoup(f"<pre>{whole}</pre>", "html.parser"))


def styles(site: Path) -> str:
    """The front page's style sheets, in their order, and what it sets by itself (the theme's colours)."""
    index = read(site / "index.html")
    for link in index.select("head link[rel=stylesheet]"):
        link["href"] = (site / link["href"].partition("?")[0]).as_uri()
    return "".join(map(str, index.select("head link[rel=stylesheet], head style")))


def bind(chapters: list[Tag], language: str, numbers: dict[str, int]) -> str:
    """The book as HTML; numbers: the page of each heading by its id, as far as it is known."""
    entries = [
        ENTRY.format(
            kind="opens" if heading.name == "h1" else "section",
            id=heading["id"],
            text=heading.decode_contents(),
            number=numbers.get(heading["id"], ""),
        )
        for chapter in chapters
        for heading in chapter.select("h1, h2")
    ]
    cover = chapters[0].select_one("h1")
    return BOOK.format(
        lang=LANGUAGES[language],
        language=language,
        title=html.escape(text_in(cover, language)),
        styles=styles(SITE),
        cover=cover.decode_contents(),
        version=tudui_course.__version__,
        contents=CONTENTS,
        entries="".join(entries),
        chapters="\n".join(map(str, chapters)),
    )


def text_in(heading: Tag, language: str) -> str:
    """A heading's text in the language chosen."""
    hidden = {"zh": ".en, .separator", "en": ".zh, .separator", "both": "none"}[language]
    copy = BeautifulSoup(str(heading), "html.parser")
    for part in copy.select(hidden):
        part.decompose()
    return " ".join(copy.get_text().split())


def make(chapters: list[Tag], language: str, to_pdf: Callable[[str], bytes]) -> bytes:
    """Print until the page numbers in the contents are those that the headings have."""
    numbers: dict[str, int] = {}
    for _ in range(5):
        pdf = to_pdf(bind(chapters, language, numbers))
        found = pages_of(pdf)
        if found == numbers:
            return finish(pdf, chapters, language, found)
        numbers = found
    raise RuntimeError("the page numbers in the contents move the headings each time: see .number in print.css")


def pages_of(pdf: bytes) -> dict[str, int]:
    """The page of each heading that the contents lead to, counted from 1."""
    reader = PdfReader(io.BytesIO(pdf))
    places = reader.named_destinations
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in places.items()
        if name.startswith("/heading-")
    }


def finish(pdf: bytes, chapters: list[Tag], language: str, numbers: dict[str, int]) -> bytes:
    """Give the PDF its outline, by the headings, and mend what is copied and searched for."""
    writer = PdfWriter(clone_from=io.BytesIO(pdf))
    for chapter in chapters:
        opening, *others = chapter.select("h1, h2")
        page = numbers[opening["id"]] - 1
        parent = writer.add_outline_item(title=text_in(opening, language), page_number=page, is_open=False)
        for heading in others:
            page = numbers[heading["id"]] - 1
            writer.add_outline_item(title=text_in(heading, language), page_number=page, parent=parent)
    writer.page_mode = "/UseOutlines"
    writer.add_metadata({"/Creator": f"tudui_course {tudui_course.__version__}"})
    fonts = (font.get_object() for page in writer.pages for font in page["/Resources"].get("/Font", {}).values())
    for font in {id(font): font for font in fonts if "/ToUnicode" in font}.values():
        letters = font["/ToUnicode"].get_object()
        letters.set_data(AS_LETTER.sub(unified, letters.get_data().decode("ascii")).encode("ascii"))
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def unified(found: re.Match) -> str:
    """A line of a font's table, with a character where Chromium has put the radical that is drawn in the same way."""
    radical = chr(int(found[2], 16))
    return f"{found[1]} <{ord(RADICALS.get(radical) or unicodedata.normalize('NFKC', radical)):04X}>"


def main() -> None:
    languages = sys.argv[1:] or list(LANGUAGES)
    if unknown := set(languages) - set(LANGUAGES):
        sys.exit(f"{sorted(unknown)[0]!r} is no choice: zh, en or both.")
    if not (SITE / "index.html").exists():
        sys.exit("There is no site in build/site to print: run make site, or make pdf, which does both.")
    get_font()
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # Chromium counts its objects otherwise
    FOLDER.mkdir(parents=True, exist_ok=True)
    chapters = read_chapters(SITE)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=get_browser(), args=["--no-sandbox"])
        if int(browser.version.partition(".")[0]) < OLDEST_CHROMIUM:
            sys.exit(f"Chromium {browser.version} can't number pages: version {OLDEST_CHROMIUM} or newer is needed.")
        page = browser.new_page()

        def to_pdf(book: str) -> bytes:
            path = Path(folder, "book.html")
            path.write_text(book, encoding="utf-8")
            page.goto(path.as_uri())
            return page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)

        for language in languages:
            path = FOLDER / f"tudui_course-{language}.pdf"
            path.write_bytes(make(chapters, language, to_pdf))
            print(f"{path.relative_to(ROOT)}: {len(PdfReader(path).pages)} pages")
        browser.close()


if __name__ == "__main__":
    main()
