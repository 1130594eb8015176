"""One page that shows what has been solved, and a curve of one's own: an HTML file that needs nothing beside it."""

import base64
import datetime
import html
import io
import json
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

from tudui_course import plots
from tudui_course.board import EVENTS, read_scalars
from tudui_course.course import originals
from tudui_course.errors import InputError, StorageError
from tudui_course.runtime import write_whole

MARK = '<meta name="generator" content="tudui_course summary">'
CURVES = {  # tag: name, colour, the top of the axis
    "train_loss": ("训练损失 · training loss", "tab:blue", None),
    "test_accuracy": ("测试正确率 · test accuracy", "tab:orange", 1),
}
PAGE = Path(__file__).with_suffix(".html")


def write_summary(path: Path, marks: dict[str, list[bool]], run: Path | str | None = None) -> None:
    """Write the page, whole or not at all, as `checks.summary` says; `marks` has each notebook's, by number, "03"."""
    try:
        if path.exists() and not (path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")):
            raise InputError(f"{path} is there and is no summary of this course; give the page another name.")
        write_whole(path, page(marks, run).encode())
    except OSError as error:
        raise StorageError(f"{path} can't be written ({error.strerror}); give another folder.") from None


def page(marks: dict[str, list[bool]], run: Path | str | None) -> str:
    """The page's HTML; arguments as for `write_summary`."""
    cells = {name[:2]: json.loads(content)["cells"][0]["source"] for name, content in originals().items()}
    names = {number: "".join(source).splitlines()[0].lstrip("# ") for number, source in cells.items()}
    rows = [
        f"<tr><td>{html.escape(names.get(number, number))}</td><td>{''.join('✓' if mark else '○' for mark in row)}</td>"
        f"<td>{sum(row)} / {len(row)}</td></tr>"
        for number, row in marks.items()
    ]
    done, total = sum(map(sum, marks.values())), sum(map(len, marks.values()))
    return Template(PAGE.read_text(encoding="utf-8")).substitute(
        mark=MARK, date=datetime.date.today(), done=done, total=total, curve=curve(run), rows="\n".join(rows)
    )


def curve(run: Path | str | None) -> str:
    """A figure of a run's curves with its caption, or a sentence that there is none."""
    curves = read_scalars(run) if run is not None and any(Path(run).glob(EVENTS)) else {}
    shown = [tag for tag in CURVES if tag in curves]
    if not shown:
        return "<p>还没有自己的曲线。 · No curve of one's own yet.</p>"
    figure = Figure(figsize=(8, 3), dpi=120, layout="constrained")
    for ax, tag in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        name, colour, top = CURVES[tag]
        plots.plot_curve(curves[tag], None, colour, ax)
        ax.set(xlabel="step, as logged", ylabel=name.split(" · ")[1], ylim=(0, top))
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    data = base64.b64encode(picture.getvalue()).decode()
    ends = "".join(f"{CURVES[tag][0]}: {curves[tag][0][1]:.3f} → {curves[tag][-1][1]:.3f}<br>" for tag in shown)
    return f'<p><img alt="{" and ".join(shown)}" src="data:image/png;base64,{data}"></p>\n<p class="small">{ends}</p>'
