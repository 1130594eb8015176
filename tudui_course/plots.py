"""matplotlib figures of the course; each function takes `ax=None` and returns the Axes."""

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.text import Text
from torch import Tensor, nn

from tudui_course.errors import CourseWarning

# Okabe and Ito's colours, which colour-blind readers can tell apart (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)

# Fonts with Chinese letters as Linux, macOS and Windows have them; most have Japanese and Korean ones, too.
CJK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
    "Droid Sans Fallback", "Noto Sans CJK JP", "AR PL UMing CN",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "Heiti TC", "STHeiti", "Songti SC", "Arial Unicode MS",
    "Microsoft YaHei", "DengXian", "SimHei", "SimSun", "Microsoft JhengHei", "Yu Gothic", "Malgun Gothic",
)  # fmt: skip


def show_pictures(
    images: Tensor,
    titles: Sequence[str] | None = None,
    columns: int = 8,
    ax: Axes | None = None,
    colours: Sequence[str] | None = None,
) -> Axes:
    """Draw a grid of pictures, each under its title.

    Args:
        images: (N, 3, H, W), float in [0, 1] or uint8.
        titles: N short texts, of one line or two.
        columns: pictures in a row.
        ax: where to draw; a new figure by default.
        colours: of the N titles and of frames around the pictures; no frames by default.
    """
    count, _, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    gap = max(2, height // 8) + (height // 3 if titles is not None else 0)
    pixels = images.detach().cpu().numpy()
    pixels = pixels / 255 if pixels.dtype == np.uint8 else pixels.clip(0, 1)
    sheet = np.ones((rows * (height + gap), columns * (width + 4), 3))
    ax = ax or new_axes(1.1 * columns, 1.1 * rows * (height + gap) / (width + 4))
    for index in range(count):
        top, left = (index // columns) * (height + gap) + gap, (index % columns) * (width + 4)
        sheet[top : top + height, left : left + width] = pixels[index].transpose(1, 2, 0)
        colour = colours[index] if colours is not None else "black"
        if titles is not None:
            ax.text(left + width / 2, top - 2, titles[index], ha="center", va="bottom", fontsize=8, color=colour)
        if colours is not None:
            frame = plt.Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=2)
            ax.add_patch(frame).set_clip_on(False)
    ax.imshow(sheet, interpolation="nearest")
    ax.set_axis_off()
    make_legible(ax)
    return ax


def show_answers(
    images: Tensor, answers: Tensor, targets: Tensor, classes: Sequence[str], columns: int = 8, ax: Axes | None = None
) -> Axes:
    """Draw pictures with what a network says they are: grey where it is right, red and with the truth where not.

    Args:
        images: (N, 3, H, W), float in [0, 1] or uint8.
        answers: (N,) int64, classes given by the network.
        targets: (N,) int64, true classes.
    """
    pairs = list(zip(answers.tolist(), targets.tolist(), strict=True))
    truths = ["" if answer == target else f"\ntruth: {classes[target]}" for answer, target in pairs]
    titles = [f"says {classes[answer]}{truth}" for (answer, _), truth in zip(pairs, truths, strict=True)]
    colours = ["tab:gray" if answer == target else "tab:red" for answer, target in pairs]
    return show_pictures(images, titles, columns, ax, colours)


def plot_curve(
    points: Sequence[tuple[int, float]], label: str | None = None, colour: str = BLUE, ax: Axes | None = None
) -> Axes:
    """Draw (step, value) pairs, as `board.read_scalars` gives them, as one line."""
    ax = ax or new_axes()
    steps, values = zip(*points, strict=True)
    ax.plot(steps, values, color=colour, label=label, marker="o" if len(points) < 30 else None, markersize=3)
    ax.grid(alpha=0.3)
    if label:
        ax.legend(frameon=False)
    return ax


def plot_runs(runs: Sequence[Sequence[float]], label: str, colour: str = BLUE, ax: Axes | None = None) -> Axes:
    """Draw runs that differ in their seed alone, one value an epoch from 1: the mean, in a band from least to most."""
    ax = ax or new_axes()
    values = np.asarray(runs)
    epochs = range(1, values.shape[1] + 1)
    ax.plot(epochs, values.mean(0), color=colour, label=label)
    ax.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.25, linewidth=0)
    ax.grid(alpha=0.3)
    return ax


def plot_confusion(matrix: Tensor, classes: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix, (C, C) counts with true classes as rows, each row as shares of that class."""
    ax = ax or new_axes(6.5, 5.5)
    shares = (matrix / matrix.sum(1, keepdim=True).clamp(min=1)).numpy()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.set(xlabel="predicted", ylabel="true")
    for row, column in np.ndindex(shares.shape):
        if f"{shares[row, column]:.2f}" != "0.00":
            colour = "white" if shares[row, column] > 0.5 else "black"
            ax.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=7)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", fraction=0.046)
    make_legible(ax)
    return ax


def plot_probabilities(top: Sequence[tuple[str, float]], ax: Axes | None = None) -> Axes:
    """Draw the most probable classes, (name, probability) as `Prediction.top` gives them, as bars from the top down."""
    ax = ax or new_axes(4, 0.5 + 0.4 * len(top))
    names, probabilities = zip(*top, strict=True)
    bars = ax.barh(range(len(top)), probabilities, color=[BLUE] + [SKY] * (len(top) - 1))
    ax.bar_label(bars, [f"{probability:.2f}" for probability in probabilities], padding=3, fontsize=8)
    ax.set_yticks(range(len(top)), names, parse_math=False)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.18), xticks=[0, 0.5, 1], xlabel="probability")
    ax.spines[["top", "right"]].set_visible(False)
    make_legible(ax)
    return ax


def draw_network(model: nn.Module, images: Tensor, ax: Axes | None = None) -> Axes:
    """Draw what becomes of a picture in a Sequential's layers, and from where a kernel takes one number of the next.

    Args:
        model: the layers.
        images: (N, C, H, W), on the device of the model.
    """
    ax = ax or new_axes(10.5, 2.2)
    x, left, right = images, 0.0, draw_step(images[0], 0.0, ax)
    for layer in model:
        before, x = x, layer(x)
        start, gap = left, right
        left = right + {nn.Flatten: 26, nn.Linear: 20}.get(type(layer), 14)  # as wide as the labels ask
        right = draw_step(x[0], left, ax, f"{by_sides(before[0])} = " if isinstance(layer, nn.Flatten) else "")
        name = type(layer).__name__
        colour = {"Conv2d": RED, "MaxPool2d": "black", "Linear": "tab:purple"}.get(name, "tab:gray")
        ax.annotate("", (left - 1, 23), (gap + 1, 23), arrowprops={"arrowstyle": "->", "color": colour})
        ax.text((left + gap) / 2, 25, name, ha="center", fontsize=9, color=colour)
        if size := getattr(layer, "kernel_size", None):
            draw_window(start, before.shape[-1], np.max(size), (left, x.shape[-1]), colour, ax)
    ax.set(xlim=(-2, right + 4), ylim=(-24, 32), aspect="equal")
    ax.set_axis_off()
    return ax


def draw_step(x: Tensor, left: float, ax: Axes, label: str = "") -> float:
    """Draw a picture as a stack of sheets, one for four channels, or a row of numbers as a line; return its right."""
    if x.ndim == 1:
        right, length = left + 4, 8 * np.log10(len(x))
        ax.plot([left + 2] * 2, [-length / 2, length / 2], color="black", linewidth=2)
    else:
        channels, height, width = x.shape
        sheets = channels if channels < 4 else channels // 4
        right = left + width + 0.6 * (sheets - 1)
        for shift in 0.6 * np.arange(sheets)[::-1]:  # from the back to the front
            corner = left + shift, shift - height / 2
            ax.add_patch(plt.Rectangle(corner, width, height, facecolor="#dceaf7", edgecolor="gray", linewidth=0.7))
    ax.text((left + right) / 2, -23, label + by_sides(x), ha="center", fontsize=9)
    return right


def draw_window(left: float, side: int, kernel: int, target: tuple[float, int], colour: str, ax: Axes) -> None:
    """Draw a kernel on a picture, and rays from its corners to the pixel that it makes in the next picture."""
    x, y = left + side / 2, -0.1 * side
    pixel_x, pixel_y = target[0] + target[1] / 2, -0.1 * target[1]
    corner = x - kernel / 2, y - kernel / 2
    ax.add_patch(plt.Rectangle(corner, kernel, kernel, fill=False, edgecolor=colour, linewidth=1.5, zorder=3))
    ax.add_patch(plt.Rectangle((pixel_x - 0.5, pixel_y - 0.5), 1, 1, color=colour, zorder=4))
    for end in (y - kernel / 2, y + kernel / 2):
        ax.plot([x + kernel / 2, pixel_x], [end, pixel_y], color=colour, linewidth=0.8)


def by_sides(x: Tensor) -> str:
    """A tensor's shape as one writes it in a figure, 3\u00d732\u00d732."""
    return "\u00d7".join(map(str, x.shape))


def draw_padding(size: int, kernel: int, padding: int, ax: Axes | None = None) -> Axes:
    """Draw a picture's pixels, its ring of padding, a kernel in its first and last place, and a dot for each place.

    The picture is equally large for every padding up to that which keeps its size.
    """
    ax = ax or new_axes(3, 3)
    ends = range(-padding, size + padding)
    for row, column in itertools.product(ends, ends):
        inside = all(0 <= place < size for place in (row, column))
        colour = "#c6dbef" if inside else "#dddddd"
        ax.add_patch(plt.Rectangle((column, row), 1, 1, facecolor=colour, edgecolor="white"))
    last = size + padding - kernel
    for start, style in ((-padding, "-"), (last, "--")):
        ax.add_patch(plt.Rectangle((start, start), kernel, kernel, fill=False, edgecolor=RED, lw=2, linestyle=style))
    places = np.arange(-padding, last + 1) + kernel / 2
    ax.plot(*(axis.ravel() for axis in np.meshgrid(places, places)), ".", color=RED)
    margin = max(padding, kernel // 2) + 0.2
    ax.set(xlim=(-margin, size + margin), ylim=(size + margin, -margin), aspect="equal")
    ax.set_title(f"padding {padding}: {size} -> {len(places)}")
    ax.set_axis_off()
    return ax


def draw_chain(values: Sequence[str], slopes: Sequence[float], ax: Axes | None = None) -> Axes:
    """Draw a chain of operations, and the gradients that backward finds on its way from the last to the first.

    Args:
        values: what stands in each box, one line or several.
        slopes: of each box by the one before it; one less than there are boxes.
    """
    ax = ax or new_axes(9, 2.4)
    gradient = 1.0
    for place in reversed(range(len(values))):
        box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": "black"}
        ax.text(3 * place, 0, values[place], ha="center", va="center", fontsize=11, bbox=box)
        ax.text(3 * place, -1.45, f"gradient {gradient:g}", ha="center", color="tab:red")
        if place:
            ends = 3 * place - 2.15, 3 * place - 0.95
            ax.annotate("", (ends[1], 0.3), (ends[0], 0.3), arrowprops={"arrowstyle": "->", "color": "tab:blue"})
            ax.annotate("", (ends[0], -0.3), (ends[1], -0.3), arrowprops={"arrowstyle": "->", "color": "tab:red"})
            ax.text(sum(ends) / 2, -0.8, f"\u00d7 {slopes[place - 1]:g}", ha="center", color="tab:red")
            gradient *= slopes[place - 1]
    ax.text(1.5, 0.9, "forward", color="tab:blue", ha="center")
    ax.text(1.5, -1.95, "backward", color="tab:red", ha="center")
    ax.set(xlim=(-1.3, 3 * len(values) - 1.7), ylim=(-2.1, 1.3))
    ax.set_axis_off()
    return ax


def new_axes(width: float = 6.4, height: float = 3.6) -> Axes:
    """Axes in a new figure of this size, in inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1]


def make_legible(artist: Artist) -> None:
    """Let the texts of a figure or of Axes take letters that their font lacks from another one; say what none has."""
    nowhere = set()
    for text in artist.findobj(Text):
        if lacking := letters_lacking(text.get_text(), text.get_fontfamily()):
            text.set_fontfamily([*text.get_fontfamily(), *cjk_fonts()])
            nowhere |= letters_lacking("".join(lacking), cjk_fonts())
    if nowhere:
        letters = "".join(sorted(nowhere)[:20])
        sentence = (
            f"no font here has {letters}: little boxes stand in. Install one that has them (for Chinese or Korean "
            "on Debian, Ubuntu and Colab: apt install fonts-noto-cjk), and start Python anew."
        )
        warnings.warn(sentence, CourseWarning, stacklevel=3)


def letters_lacking(text: str, families: Iterable[str]) -> set[str]:
    """The letters of a text that none of these fonts has."""
    letters = {letter for letter in text if letter > "~"}
    for family in families if letters else ():
        font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=[family])))
        letters = {letter for letter in letters if not font.get_char_index(ord(letter))}
    return letters


@functools.cache
def cjk_fonts() -> list[str]:
    """Those of `CJK_FONTS` that are here; matplotlib's own list, made once, knows none that was installed since."""
    manager = font_manager.fontManager
    if not any(font.name in CJK_FONTS for font in manager.ttflist):
        for path in {*font_manager.findSystemFonts()} - {font.fname for font in manager.ttflist}:
            with contextlib.suppress(Exception):  # a font that matplotlib can't use
                manager.addfont(path)
    here = {font.name for font in manager.ttflist}
    return [name for name in CJK_FONTS if name in here]
