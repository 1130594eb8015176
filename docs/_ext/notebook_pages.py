"""What notebooks need to become pages: their language, links between pages, and a text for each figure."""

import json
import re

from docutils import nodes
from sphinx.transforms import SphinxTransform

LINK = re.compile(r"(\]\()((?:\.\./)?(?:notebooks|docs|tudui_course|README|tests|tools)[^)\s]*)(\))")
FIGURE = re.compile(r"\bfigures?\b", re.IGNORECASE)
DRAWING = re.compile(r"\b(plot|curve|chart|grid|histogram|diagram)s?\b", re.IGNORECASE)


def read_source(app, docname: str, source: list[str]) -> None:
    """Fit a page to its new place: links as the repository has them, and the language that recording strips."""
    if app.env.doc2path(docname).suffix != ".ipynb":
        source[0] = fit_links(source[0], docname)
        return
    notebook = json.loads(source[0])
    notebook["metadata"]["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = fit_links("".join(cell["source"]), docname)
    source[0] = json.dumps(notebook)


def fit_links(text: str, docname: str) -> str:
    return LINK.sub(lambda found: found[1] + page_of(found[2], "../" * docname.count("/")) + found[3], text)


def page_of(target: str, up: str) -> str:
    """Where the site has a file of the repository: the docs' folder is its root, a module's page is in api/."""
    path = re.sub(r"^\.\./", "", target)
    if path.startswith("docs/"):
        return up + path.removeprefix("docs/")
    if path.startswith("README"):
        return up + "index.md"
    if module := re.match(r"tudui_course/([\w/]+)\.py", path):
        return f"{up}api/{module[1].replace('/', '.')}.md"
    if path.startswith("tudui_course"):
        return up + "api.md"
    return up + path if path.startswith("notebooks/") else target


class DescribeFigures(SphinxTransform):
    """Give each figure without a text one: the sentence before it that speaks of it, or else the heading it is under.

    A cell can bring its own in its metadata: {"mystnb": {"image": {"alt": "..."}}}.
    """

    default_priority = 400  # before titles are split

    def apply(self, **options: object) -> None:
        heading, sentence = "", ""
        for node in self.document.findall():
            if isinstance(node, nodes.title):
                heading, sentence = node.astext(), ""
            elif isinstance(node, nodes.block_quote):
                sentence = about_a_figure(node)
            elif isinstance(node, nodes.image) and not node.get("alt"):
                node["alt"] = describe(heading, sentence)


def about_a_figure(node: nodes.Element) -> str:
    """The last sentence that says figure, or else the last that names a kind of drawing, or nothing."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(node.astext().split()))
    return next((text for word in (FIGURE, DRAWING) for text in reversed(sentences) if word.search(text)), "")


def describe(heading: str, sentence: str) -> str:
    chinese, _, english = heading.partition(" · ")
    return f"上面的代码画出的图：{chinese}。{sentence or f'Figure produced by the code above: {english or chinese}.'}"


def setup(app) -> dict:
    app.connect("source-read", read_source)
    app.add_transform(DescribeFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
