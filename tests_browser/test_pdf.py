"""The course as PDFs (make pdf): whole, numbered, in the language chosen, with letters that can be searched for."""

import json
import re
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("notebooks/*.ipynb"))]
HAN = re.compile("[\u3400-\u9fff]")
FILES = {language: ROOT / "build" / "pdf" / f"tudui_course-{language}.pdf" for language in ("zh", "en", "both")}

pytestmark = pytest.mark.skipif(not all(map(Path.exists, FILES.values())), reason="there are no PDFs: make pdf")


@pytest.fixture(scope="module", params=FILES)
def book(request):
    """The language, the PDF, and the text of each page."""
    reader = PdfReader(FILES[request.param])
    return request.param, reader, [page.extract_text() for page in reader.pages]


def squeezed(text: str) -> str:
    """Letters alone: lines are broken anew on paper, quotation marks curled, and fi is one letter."""
    return "".join(re.findall(r"[^\W_]", unicodedata.normalize("NFKC", text)))


def titles(language: str) -> list[str]:
    """The notebooks' titles as the language has them, squeezed."""
    found = []
    for notebook in NOTEBOOKS:
        number, chinese, english = "".join(notebook["cells"][0]["source"]).splitlines()[0].strip("# ").split(" · ")
        parts = {"zh": [number, chinese], "en": [number, english], "both": [number, chinese, english]}
        found.append(squeezed("".join(parts[language])))
    return found


def paragraphs() -> dict[str, list[str]]:
    """The notebooks' plain paragraphs by their language, squeezed; those with code or links are left out."""
    found = {"zh": [], "en": []}
    for notebook in NOTEBOOKS:
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                for part in "".join(cell["source"]).split("\n\n"):
                    plain = "\n" not in part and len(part) > 60 and not re.search(r"[`*\[$|#<]", part)
                    if plain and re.match(r"> \w", part):
                        found["en"].append(squeezed(part))
                    elif plain and HAN.match(part):
                        found["zh"].append(squeezed(part))
    return found


def test_every_notebook_is_in_the_outline_and_on_that_page(book):
    language, reader, texts = book
    chapters = [item for item in reader.outline if not isinstance(item, list)]
    pages = {squeezed(item.title): reader.get_destination_page_number(item) for item in chapters}
    assert len(reader.pages) > 8 * len(NOTEBOOKS)
    for title in titles(language):
        assert title in squeezed(texts[pages[title]]), title
    assert list(pages.values()) == sorted(pages.values())


def test_pages_are_numbered_and_the_contents_say_the_number(book):
    _, reader, texts = book
    assert all(re.search(rf"(^|\D){number}$", text.strip()) or re.match(rf"{number}(\D|$)", text.strip())
               for number, text in enumerate(texts[1:], start=2))  # fmt: skip
    contents = squeezed("".join(texts[1:8]))
    chapters = [item for item in reader.outline if not isinstance(item, list)]
    for item in chapters:
        page = reader.get_destination_page_number(item) + 1
        assert f"{squeezed(item.title)}{page}" in contents, item.title


def test_only_the_language_chosen_is_printed(book):
    language, _, texts = book
    text = squeezed("".join(re.sub(r"^\d+\n|\n\d+$", "", each.strip()) for each in texts))
    for other, parts in paragraphs().items():
        assert len(parts) > 30
        printed = sum(part in text for part in parts) / len(parts)
        if language in (other, "both"):
            assert printed > 0.8, other  # a paragraph may be broken by a figure's caption or a page
        else:
            assert printed == 0, other


def test_letters_can_be_searched_for(book):
    assert re.findall("[\u2e80-\u2fdf]", "".join(book[2])) == [], "radicals, which look like the letters meant"
