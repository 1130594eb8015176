"""Mark Chinese and English at build time, so that a reader can hide one of them; and search in both.

The sources have Chinese first and its English in a quote under it; headings read `中文 · English`, and so do cells of
tables, or else a table has a column for each language. A mark is a class (`zh` or `en`) with the language's code. What
has no counterpart stays unmarked, and is always shown.
"""

import itertools
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)
HAN = r"\u3400-\u9fff"
WIDE = rf"[{HAN}\u3000-\u303f\uff00-\uffef“”]"  # characters that stand without spaces
CHINESE = re.compile(f"[{HAN}]")
LATIN = re.compile("[A-Za-z]")
SEPARATOR = re.compile(r"\s*·\s+")
NUMBER = re.compile(r"\d[\d.]*(?:\s+·\s+|[\s、]+)")
CLASSES = {"zh": ["zh", "language-zh-CN"], "en": ["en", "language-en"]}  # docutils turns language-* into lang="*"
SAME_IN_BOTH = (nodes.table, nodes.math_block, nodes.literal_block, nodes.image, nodes.raw)
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
                split_title(cell)
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
    """Mark each English quote, and the Chinese since the last quote, heading or code cell that it translates."""
    pending: list[nodes.Element] = []
    for child in [*parent.children, None]:
        if isinstance(child, nodes.block_quote) and not CHINESE.search(unquoted(child)):
            for node in pending:
                if is_translated(node, child):
                    mark(node, "zh")
            mark(child, "en")
            pending = []
        elif isinstance(child, PROSE + SAME_IN_BOTH):
            pending.append(child)
        elif not isinstance(child, nodes.Invisible):
            if isinstance(parent, nodes.section):
                complain(pending)
            pending = []


def complain(untranslated: list[nodes.Element]) -> None:
    """Warn, and so fail the build, of Chinese prose that no English follows."""
    for node in untranslated:
        if isinstance(node, PROSE) and CHINESE.search(node.astext()) and not has_quotes(node):
            logger.warning("no English under this Chinese: %s", node.astext()[:40], location=node)


def is_translated(node: nodes.Element, english: nodes.block_quote) -> bool:
    """Prose is translated by the quote; a table, formula, listing or picture only if the quote has one of its own."""
    if isinstance(node, nodes.paragraph) and all(isinstance(child, nodes.image) for child in node.children):
        node = node.children[0]  # a picture, whose text is in both languages
    for kind in SAME_IN_BOTH:
        if isinstance(node, kind):
            return any(english.findall(kind))
    return bool(CHINESE.search(node.astext())) and not has_quotes(node)


def has_quotes(node: nodes.Element) -> bool:
    """Whether a list or a definition brings the English of its parts within itself."""
    return not isinstance(node, nodes.block_quote) and any(node.findall(nodes.block_quote))


def unquoted(node: nodes.Element) -> str:
    """The text of a node without what stands in quotation marks or as code: English may quote Chinese words."""
    code = {id(text) for literal in node.findall(nodes.literal) for text in literal.findall(nodes.Text)}
    code |= {id(text) for listing in node.findall(nodes.literal_block) for text in listing.findall(nodes.Text)}
    text = " ".join(text for text in node.findall(nodes.Text) if id(text) not in code)
    return re.sub(r"[“「《（(][^”」》）)]*[”」》）)]|\"[^\"]*\"", "", text)


def mark(node: nodes.Element, language: str) -> None:
    node["classes"] += CLASSES[language]


def mark_columns(table: nodes.table) -> None:
    """Mark the columns of a table that has as many headed in Chinese alone as in English alone."""
    columns = list(zip(*[row.children for row in table.findall(nodes.row)], strict=False))
    marks = {language: [column for column in columns if language_of(column) == language] for language in CLASSES}
    if len(marks["zh"]) == len(marks["en"]):
        for language, marked in marks.items():
            for cell in itertools.chain(*marked):
                mark(cell, language)


def language_of(column: tuple[nodes.entry]) -> str:
    """zh or en, if the head of the column and what stands under it are in that language; or else nothing."""
    head, *body = [unquoted(cell) for cell in column]
    if CHINESE.search(head) and not LATIN.search(head) and any(map(CHINESE.search, body)):
        return "zh"
    return "en" if LATIN.search(head) and not any(map(CHINESE.search, [head, *body])) else ""


def split_title(title: nodes.Element) -> None:
    """Turn `3 中文 · English` into `3 `, a Chinese span, a separator and an English span.

    In a cell of a table the separator may also be `<br>`, and a link to the numbered page stays before both.
    """
    for index, child in enumerate(title.children):
        if is_line_break(child):
            halve(title, title.children[:index], [child], title.children[index + 1 :])
            return
        for found in SEPARATOR.finditer(child) if isinstance(child, nodes.Text) else ():
            left = [*title.children[:index], nodes.Text(child[: found.start()])]
            right = [nodes.Text(child[found.end() :]), *title.children[index + 1 :]]
            if halve(title, left, [" · "], right):
                return


def is_line_break(node: nodes.Node) -> bool:
    return isinstance(node, nodes.raw) and node.get("format") == "html" and node.astext().startswith("<br")


def halve(title: nodes.Element, left: list, separator: list, right: list) -> bool:
    """Put a title's halves into spans, if they are Chinese and English."""
    if not CHINESE.search(text_of(left)) or CHINESE.search(text_of(right)):
        return False
    title.children = []
    title += [*shared_number(left, right), span("zh", left), span("separator", separator), span("en", right)]
    return True


def shared_number(left: list, right: list) -> list[nodes.Node]:
    """Take the number off the Chinese title if the English one has none of its own, so that neither loses it."""
    if isinstance(left[0], nodes.reference | addnodes.pending_xref) and left[0].astext().isdigit():
        return [left.pop(0), nodes.Text(" ")]
    found = NUMBER.match(left[0]) if isinstance(left[0], nodes.Text) else None
    if not found or NUMBER.match(text_of(right) + " ") or found.group().strip(" ·、") in text_of(right):
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
