"""A text in Chinese and English cut down to one of them; the site folds the other language by the same rule.

Chinese comes first, its English in a quote under it. A heading has a dot between the two, and so has the cell of a
table, unless the table has a column for each language. What has no counterpart belongs to both.
"""

import itertools
import os
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

HAN = r"\u3400-\u9fff"
CHINESE = re.compile(f"[{HAN}]")
LATIN = re.compile("[A-Za-z]")
SEPARATOR = re.compile(r"\s*·\s+")
BLOCK = re.compile(r"^(?:#+ .*|```(?s:.*?)^```|\$\$(?s:.*?)\$\$|.+(?:\n.+)*)", re.MULTILINE)
KIND = re.compile(r"(?P<ends>#+ )|(?P<quote>>)|(?P<table>\|)|(?P<listing>```| {4})|(?P<formula>\$\$)|(?P<picture>!\[)|")
IN_CELLS = re.compile(rf"{SEPARATOR.pattern}|<br ?/?>")
IN_HEADS = re.compile(rf"{IN_CELLS.pattern}|(?<=[{HAN}]) (?=[A-Za-z ]+$)")  # 笔记 Notebook


class Block(NamedTuple):
    """What the rule has to know of one paragraph, list, quote, table ... of a text.

    Attributes:
        kind: prose (a paragraph or a list), quote, table, formula, listing, picture; or "ends", for what no English
            translates and none after it reaches beyond, such as a heading.
        chinese: there is Chinese in it; in a quote, outside of quotation marks and code.
        parts: the kinds in a quote.
    """

    kind: str
    chinese: bool
    parts: Collection[str] = ()


def languages(blocks: Sequence[Block]) -> list[str]:
    """zh, en, or nothing for both, of each block.

    A quote without Chinese is English; it translates the Chinese since the last one, and a table, formula, listing or
    picture only if it has one of its own.
    """
    found, pending = [""] * len(blocks), []
    for index, block in enumerate(blocks):
        if block.kind == "quote" and not block.chinese:
            for earlier in pending:
                kind, chinese, _ = blocks[earlier]
                if chinese if kind in ("prose", "quote") else kind in block.parts:
                    found[earlier] = "zh"
            found[index], pending = "en", []
        else:
            pending = [] if block.kind == "ends" else [*pending, index]
    return found


def column_languages(rows: Sequence[Sequence[str]]) -> list[str]:
    """zh, en or nothing of each column, if a table has as many headed in Chinese alone as in English alone."""
    found = [language_of(column) for column in itertools.zip_longest(*rows, fillvalue="")]
    return found if found.count("zh") == found.count("en") else [""] * len(found)


def language_of(column: Sequence[str]) -> str:
    """zh or en, if the head of the column and what stands under it are in that language; or else nothing."""
    head, *body = column
    if CHINESE.search(head) and not LATIN.search(head) and any(map(CHINESE.search, body)):
        return "zh"
    return "en" if LATIN.search(head) and not any(map(CHINESE.search, column)) else ""


def part_languages(parts: Sequence[str]) -> list[str]:
    """zh, en or nothing, as for a number, of each part between two dots; nothing of all, if one language is missing."""
    found = ["" if re.fullmatch(r"\d[\d.]*", part) else "zh" if CHINESE.search(part) else "en" for part in parts]
    return found if {"zh", "en"} <= set(found) else [""] * len(found)


def without_quotations(text: str) -> str:
    """A text without what stands in quotation marks or brackets: English may quote Chinese words."""
    return re.sub(r"[“「《（(][^”」》）)]*[”」》）)]|\"[^\"]*\"", "", text)


def without_code(text: str) -> str:
    """Markdown without its listings and names in backquotes."""
    return re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)


def in_language(text: str, language: str) -> str:
    """Markdown in `language` alone, "zh" or "en"."""
    blocks, kept = BLOCK.findall(text), []
    for block, found in zip(blocks, languages([describe(block) for block in blocks]), strict=True):
        if found in ("", language):
            kept.append(unquoted(block) if found == "en" else fit(block, language))
    return "\n\n".join(kept) + "\n" * text.endswith("\n")


def describe(block: str) -> Block:
    """A piece of Markdown as the rule sees it."""
    kind = KIND.match(block).lastgroup or "prose"
    if kind != "quote":
        return Block(kind, bool(CHINESE.search(block)))
    inside = unquoted(block)
    chinese = CHINESE.search(without_quotations(without_code(inside)))
    return Block(kind, bool(chinese), {describe(part).kind for part in BLOCK.findall(inside)})


def unquoted(block: str) -> str:
    """A quote as text of its own."""
    return re.sub("^> ?", "", block, flags=re.MULTILINE)


def fit(block: str, language: str) -> str:
    """Cut down what holds both languages in one line: a heading, a table, the text of a picture."""
    if heading := re.fullmatch("(#+ )(.*)", block):
        return heading[1] + half(heading[2], language)
    if block.startswith("|"):
        return fit_table(block, language)
    return re.sub(r"(?<=!\[)[^\]]*", lambda found: half(found[0], language), block)


def fit_table(block: str, language: str) -> str:
    """A table without the columns, and the halves of cells, in the other language."""
    rows = [re.split(r"(?<!\\)\|", line.strip())[1:-1] for line in block.splitlines()]
    columns = column_languages([[without_quotations(without_code(cell)) for cell in row] for row in rows])
    lines = []
    for number, row in enumerate(rows):
        separator = IN_CELLS if number else IN_HEADS
        cells = [cell.strip() for cell, found in zip(row, columns, strict=False) if found in ("", language)]
        lines.append(f"| {' | '.join(half(cell, language, separator) for cell in cells)} |")
    return "\n".join(lines)


def half(text: str, language: str, separator: re.Pattern = SEPARATOR) -> str:
    """The Chinese or the English parts of a heading, and its number; a text in one language alone stays as it is."""
    parts = separator.split(text)
    found = part_languages(parts)
    return (
        " · ".join(part for part, one in zip(parts, found, strict=True) if one in ("", language))
        if any(found)
        else text
    )


def chosen(chinese: str, english: str) -> list[str]:
    """Both, or the one that the variable TUDUI_LANGUAGE names, zh or en."""
    return {"zh": [chinese], "en": [english]}.get(os.environ.get("TUDUI_LANGUAGE", ""), [chinese, english])
