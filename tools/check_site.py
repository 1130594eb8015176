"""Check the built site, without a network or a browser: python tools/check_site.py [FOLDER], build/site by default.

Every internal link and anchor leads somewhere, every picture has a text, nothing is fetched from another host, every
page has the language switch and is marked in both languages, and the search index knows words of both.
"""

import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from build_site import PAGES

# Attributes whose address the browser fetches by itself; of <link> only what is rel=stylesheet, icon and the like.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "link": ("href",),
}
NOT_FETCHED = {"canonical", "index", "search", "next", "prev", "author", "copyright", "help", "license"}
SEARCHES = ("检查点", "批次", "损失", "张量", "checkpoint", "batch", "loss", "tensor")
PROSE = {f"{page}.html" for page in PAGES} - {"api.html"}
OTHER_HOST = re.compile(r"\s*(https?:)?//")
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""")


class Page(HTMLParser):
    """What a page says of itself: ids, links, what it fetches, pictures without text, classes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.without_text: list[str] = []
        self.classes: set[str] = set()
        self.feed(html)
        self.fetched += IN_STYLES.findall(html)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        values = {name: value or "" for name, value in attributes}
        self.classes |= set(values.get("class", "").split())
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img" and not values.get("alt", "").strip():
            self.without_text.append(values.get("src", "")[:80])
        if not (tag == "link" and set(values.get("rel", "").split()) & NOT_FETCHED):
            self.fetched += [values[name] for name in FETCHED.get(tag, ()) if name in values]


def faults(folder: Path) -> list[str]:
    """All that is wrong with the site, a line each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    if not pages:
        return [f"{folder} holds no pages: run make site"]
    found = []
    for path, page in pages.items():
        name = path.relative_to(folder).as_posix()
        found += [f"{name}: {fault}" for fault in [*page_faults(path, page), *link_faults(path, pages, folder)]]
    for path in folder.rglob("*.css"):
        hosts = IN_STYLES.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(folder)}: fetches {host}" for host in hosts]
    return found + search_faults(folder / "searchindex.js")


def page_faults(path: Path, page: Page) -> list[str]:
    found = [f"fetches {address} from another host" for address in page.fetched if OTHER_HOST.match(address)]
    found += [f"the picture {source} has no text" for source in page.without_text]
    if "language-switch" not in page.classes or not any("language.js" in address for address in page.fetched):
        found.append("no language switch")
    if is_prose(path) and not {"zh", "en"} <= page.classes:
        found.append("not marked in both languages")
    return found


def is_prose(path: Path) -> bool:
    return path.parent.name == "notebooks" or path.name in PROSE


def link_faults(path: Path, pages: dict[Path, Page], folder: Path) -> list[str]:
    found = []
    for link in [*pages[path].links, *pages[path].fetched]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_relative_to(folder) or not target.is_file():
            found.append(f"{link} leads nowhere")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            found.append(f"{link}: no such place on that page")
    return found


def search_faults(path: Path) -> list[str]:
    if not path.is_file():
        return ["no search index"]
    text = path.read_text(encoding="utf-8")
    terms = json.loads(text[text.index("{") : text.rindex("}") + 1])["terms"]
    return [f"a search for {words} finds nothing" for words in SEARCHES if not set(keys(words)) <= set(terms)]


def keys(words: str) -> list[str]:
    """What the index has to know: Chinese in pairs of characters (docs/_ext/bilingual.py), an English word as it is."""
    return [words] if words.isascii() else [first + second for first, second in itertools.pairwise(words)]


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).resolve().parent.parent / "build" / "site").resolve()
    found = faults(folder)
    print("\n".join(found) or f"The site is in {folder}: open index.html there.")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
