"""Mark Chinese and English at build time, so that a reader can hide one of them; and search in both.

Which is which is decided by tudui_course/language.py. A mark is a class (`zh` or `en`) with the language's code. What
has no counterpart stays unmarked, and is always shown.
"""

import itertools
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

from tudui_course.language import (
    CHINESE,
    HAN,
    IN_CELLS,
    IN_HEADS,
    SEPARATOR,
    Block,
    column_languages,
    languages,
    part_languages,
    without_quotations,
)

logger = logging.getLogger(__name__)
WIDE = rf"[{HAN}\u3000-\u303f\uff00-\uffef“”]"  # characters that stand without spaces
NUMBER = re.compile(r"\d[\d.]*[\s、]+")
CLASSES = {"zh": ["zh", "language-zh-CN"], "en": ["en", "language-en"]}  # docutils turns language-* into lang="*"
KINDS = {
    nodes.table: "table",
    nodes.math_block: "formula",
    nodes.literal_block: "listing",
    nodes.image: "picture",
    nodes.raw: "raw",
}
PROSE = (nodes.paragraph, nodes.bullet_list, nodes.enumerated_list, nodes.definition_list, nodes.block_quote)

# What the theme says on every page.
IN_ATTRIBUTES = {"Search": "搜索 · Search"}
LABELS = {
    "Next": "下一页",
    "Previous": "上一页",
    "Home": "首页",
    "On this page": "本页内容",
    "Back to top": "回到顶部",
    "Skip to content": "跳到正文",
}


class MarkLanguages(SphinxTransform):
    """Give Chinese and English nodes of a page their classes."""

    default_priority = 500

    def apply(self, **options: object) -> None:
        for title in list(self.document.findall(nodes.title)):
            split_title(title)
        for table in list(self.document.findall(nodes.table)):
            mark_columns(table)
            for cell in table.findall(in_a_cell):
                split_title(cell, IN_HEADS if isinstance(cell.parent.parent.parent, nodes.thead) else IN_CELLS)
        for parent in list(self.document.findall(holds_prose)):
            mark_children(parent)
        for text in list(self.document.findall(is_line_end)):
            siblings = text.parent.children
            before, after = siblings[text.parent.index(text) - 1], text.next_node(descend=False, siblings=True)
            if after and re.search(f"{WIDE}$", before.astext()) and re.match(WIDE, after.astext()):
                text.parent.remove(text)  # a browser would show a space


def in_a_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.paragraph) and isinstance(node.parent, nodes.entry)


def holds_prose(node: nodes.Node) -> bool:
    return isinstance(node, nodes.document | nodes.section | nodes.list_item | nodes.definition | nodes.Admonition)


def is_line_end(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Text) and node == "\n"


def mark_children(parent: nodes.Element) -> None:
    """Mark each English quote and its Chinese; warn, and so fail the build, of Chinese without English."""
    children = [child for child in parent.children if not isinstance(child, nodes.Invisible)]
    blocks = [describe(child) for child in children]
    for child, block, language in zip(children, blocks, languages(blocks), strict=True):
        if language:
            mark(child, language)
        elif block.chinese and isinstance(parent, nodes.section):
            logger.warning("no English under this Chinese: %s", child.astext()[:40], location=child)


def describe(node: nodes.Element) -> Block:
    """A part of the page as the rule sees it; a list that brings the English of its parts with it isn't Chinese."""
    if isinstance(node, nodes.paragraph) and all(isinstance(child, nodes.image) for child in node.children):
        node = node.children[0]  # a picture, whose text is in both languages
    if isinstance(node, nodes.block_quote):
        parts = {kind for same, kind in KINDS.items() if any(node.findall(same))}
        return Block("quote", bool(CHINESE.search(unquoted(node))), parts)
    if isinstance(node, PROSE):
        return Block("prose", bool(CHINESE.search(node.astext())) and not any(node.findall(nodes.block_quote)))
    return Block(next((kind for same, kind in KINDS.items() if isinstance(node, same)), "ends"), False)


def unquoted(node: nodes.Element) -> str:
    """The text of a node without what stands in quotation marks or as code: English may quote Chinese words."""
    code = {id(text) for literal in node.findall(nodes.literal) for text in literal.findall(nodes.Text)}
    code |= {id(text) for listing in node.findall(nodes.literal_block) for text in listing.findall(nodes.Text)}
    text = " ".join(text for text in node.findall(nodes.Text) if id(text) not in code)
    return without_quotations(text)


def mark(node: nodes.Element, language: str) -> None:
    node["classes"] += CLASSES[language]


def mark_columns(table: nodes.table) -> None:
    """Mark the cells of a table that has columns for each language."""
    rows = [row.children for row in table.findall(nodes.row)]
    columns = column_languages([[unquoted(cell) for cell in row] for row in rows])
    for row in rows:
        for cell, language in zip(row, columns, strict=False):
            if language:
                mark(cell, language)


def split_title(title: nodes.Element, separator: re.Pattern = SEPARATOR) -> None:
    """Turn `3 中文 · English` into `3 `, a Chinese span, a separator and an English span.

    In a cell of a table the separator may also be `<br>`, and a link to the numbered page stays before both.
    """
    parts, between = [[]], [" · "]
    for child in title.children:
        if is_line_break(child):
            parts.append([])
            between = [child]
        elif isinstance(child, nodes.Text):
            first, *others = separator.split(child)
            parts[-1] += [nodes.Text(first)] * bool(first)
            parts += [[nodes.Text(text)] for text in others]
        else:
            parts[-1].append(child)
    found = part_languages([text_of(part) for part in parts])
    if any(found):
        pairs = list(zip(parts, found, strict=True))
        left, right = (joined([part for part, one in pairs if one == language]) for language in CLASSES)
        title.children = []
        title += [nodes.Text(f"{text_of(part)} · ") for part, one in pairs if not one]
        title += [*shared_number(left, right), span("zh", left), span("separator", between), span("en", right)]


def is_line_break(node: nodes.Node) -> bool:
    return isinstance(node, nodes.raw) and node.get("format") == "html" and node.astext().startswith("<br")


def joined(parts: list[list]) -> list[nodes.Node]:
    """The nodes of several parts, with dots between the parts."""
    return [node for part in parts for node in (nodes.Text(" · "), *part)][1:]


def shared_number(left: list, right: list) -> list[nodes.Node]:
    """Take the number off the Chinese title if the English one has none of its own, so that neither loses it."""
    if isinstance(left[0], nodes.reference | addnodes.pending_xref) and left[0].astext().isdigit():
        return [left.pop(0), nodes.Text(" ")]
    found = NUMBER.match(left[0]) if isinstance(left[0], nodes.Text) else None
    if not found or NUMBER.match(text_of(right) + " ") or found.group().strip(" 、") in text_of(right):
        return []
    left[0] = nodes.Text(left[0][found.end() :])
    return [nodes.Text(found.group())]


def text_of(children: list[nodes.Node]) -> str:
    return "".join(child.astext() for child in children)


def span(language: str, children: list) -> nodes.inline:
    children = [nodes.Text(child) if isinstance(child, str) else child for child in children]
    return nodes.inline("", "", *children, classes=CLASSES.get(language, [language]))


def both(chinese: str, english: str) -> str:
    """Both texts as HTML, as `split_title` makes them."""
    return (
        f'<span class="zh" lang="zh-CN">{chinese}</span><span class="separator"> · </span>'
        f'<span class="en" lang="en">{english}</span>'
    )


def label_page(app, pagename, templatename, context, doctree) -> None:
    """Put the theme's own words, and the captions of the navigation, into both languages."""

    def translate(text: str) -> str:
        english = text.strip()
        return both(LABELS[english], english) if english in LABELS else IN_ATTRIBUTES.get(english, text)

    context["_"] = context["gettext"] = translate
    context["furo_navigation_tree"] = re.sub(
        r'role="heading">(<span class="caption-text">)([^<·]+) · ([^<]+)(?=</span>)',
        lambda found: 'role="heading" aria-level="2">' + found[1] + both(found[2], found[3]),
        context.get("furo_navigation_tree", ""),
    )


class SearchBoth(SearchEnglish):
    """English words by their stem, as usual; Chinese, which has no spaces, by pairs of neighbouring characters."""

    lang = "zh-en"
    language_name = "English"  # names the stemmer
    js_splitter_code = """
var splitQuery = (query) =>
  (query.match(/[HAN]+|(?:(?![HAN])[\\p{L}\\p{N}_])+/gu) || []).flatMap((run) =>
    /^[HAN]{2}/.test(run) ? Array.from(run.slice(1), (character, index) => run[index] + character) : [run]
  );
""".replace("HAN", HAN)
    runs = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")

    def split(self, text: str) -> list[str]:
        words = []
        for run in self.runs.findall(text):
            if CHINESE.match(run):
                words += [*run, *(first + second for first, second in itertools.pairwise(run))]
            else:
                words.append(run)
        return words


def setup(app) -> dict:
    app.add_transform(MarkLanguages)
    app.add_search_language(SearchBoth)
    app.connect("html-page-context", label_page, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}
