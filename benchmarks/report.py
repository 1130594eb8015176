"""Turn docs/bench.json into docs/bench.md (report.md.jinja holds its text and tables) and docs/bench.png.

    python benchmarks/report.py        write both anew, nothing is measured

bench.json has an entry a machine, by its name; the page shows them side by side.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jinja2
import peers
from common import ROOT, ratio

from tudui_course import plots

PEERS = {
    "lightning": "PyTorch Lightning",
    "accelerate": "Hugging Face Accelerate",
    "fastai": "fastai",
    "ignite": "PyTorch-Ignite",
}
PATHS = {
    "seed": ("原课程的读法", "the lesson's data path"),
    "ours": ("我们的读法", "our data path"),
    "layout": ("我们的读法和内存排列", "our data path and layout"),
}
TITLES = {  # a letter to speak of it, Chinese, English
    "seed": ("a ", "原课程的写法", "the lesson's way"),
    "float32": ("b ", "我们的，`float32`", "ours, `--precision float32`"),
    "auto": ("c ", "我们的，`auto`", "ours, `--precision auto`"),
    "bare-seed": ("e ", "裸循环，默认的内存排列", "bare loop, default layout"),
    "bare-float32": ("e ", "裸循环，`float32`", "bare loop, `float32`"),
    "bare-auto": ("e ", "裸循环，`auto`", "bare loop, `auto`"),
    "data-seed": ("", "只读数据，原课程的读法", "data alone, the lesson's path"),
    "data-ours": ("", "只读数据，我们的读法", "data alone, our path"),
} | {
    f"{library}-{path}": (f"d {name}", f"，{chinese}", english)
    for library, name in PEERS.items()
    for path, (chinese, english) in PATHS.items()
}


def title(name: str) -> str:
    """A variant in both languages."""
    letter, chinese, english = TITLES[name]
    return f"{letter}{chinese} · {english}"


def label(name: str) -> str:
    """A variant in English alone, for the plot: Chinese glyphs turn to boxes where no font has them."""
    letter, chinese, english = TITLES[name]
    return f"{letter}{', ' if chinese.startswith('，') else ''}{english}".replace("`", "")


def spread(one: dict | None, digits: int = 2, unit: str = "") -> str:
    """Median and, in brackets, the least and the most; nothing where nothing was measured."""
    return f"{one['median']:.{digits}f}{unit} ({one['min']:.{digits}f}–{one['max']:.{digits}f})" if one else ""


def num(value: float, digits: int = 0) -> str:
    """A figure, or nothing where there is none."""
    return f"{value:.{digits}f}" if isinstance(value, int | float) else ""


def last(runs: list[dict]) -> str:
    """The accuracy on which each run ends."""
    return ", ".join(num(run["test_accuracy"][-1], 4) for run in runs)


def verdict(one: dict | None) -> str:
    """Whether a change was quicker or slower in every round, or neither."""
    return "" if not one else "↑" if one["min"] > 1 else "↓" if one["max"] < 1 else "="


def with_import(parts: dict) -> str:
    """The ratios of the accuracy part once the import of torch is added on both sides."""
    seconds = parts["startup"]["seconds"]["import"]["median"]
    ways = (parts["accuracy"][way]["seconds"]["values"] for way in ("seed_way", "our_way"))
    return spread(ratio(*([one + seconds for one in values] for values in ways)), 1)


def goals(parts: dict) -> Iterator[tuple[str, str, bool | None]]:
    """Each goal of which a machine has figures, the figure, and whether it is reached (None: no goal, or can't be)."""
    if steps := parts.get("steps"):
        faster, limits = steps["faster_than_seed"], steps["limits"]
        native = steps["machine"]["precision"] == "bfloat16"
        reached = faster["auto"]["median"] >= 3 if native else None
        yield "c 3.0x faster than a (aim: 4.0x)", spread(faster["auto"]), reached
        yield "b 1.6x faster than a", spread(faster["float32"]), faster["float32"]["median"] >= 1.6
        for letter, name in (("b", "float32"), ("c", "auto")):
            slower = steps["slower_than_bare"][name]
            yield f"{letter} within 1.05x of its bare loop", spread(slower, 3), slower["median"] <= 1.05
        libraries = [name for name in steps["ms"] if name.split("-")[0] in PEERS]
        rivals = [name for name in libraries if not name.endswith("-layout")]
        for letter, name in (("b", "float32"), ("c", "auto")) if rivals else ():
            slower = steps[f"slower_than_{name}"]
            closest = min(rivals, key=lambda rival: slower[rival]["median"])
            figure, reached = f"{spread(slower[closest])}: {label(closest)}", slower[closest]["median"] > 1
            yield f"{letter} faster than the fastest library in its default layout", figure, reached
        if layout := [steps["slower_than_float32"][name]["median"] for name in libraries if name not in rivals]:
            yield "libraries with our layout too, times b's time", f"{min(layout):.2f}–{max(layout):.2f}", None
        figure = f"c {limits['auto']['fraction']:.0%}, b {limits['float32']['fraction']:.0%}"
        yield "fraction of the machine's limit", figure, None
    if accuracy := parts.get("accuracy"):
        reached = accuracy["reached"] and accuracy["ratio"]["median"] >= 25
        yield "25x faster to 0.546 (without importing torch)", spread(accuracy["ratio"], 1), reached
    if startup := parts.get("startup"):
        helping, first, memory = startup["seconds"]["help"], startup["first_step_after_import"], startup["memory"]
        reached = helping["median"] < 0.5 and not startup["torch_in_help"]
        yield "`tudui --help` under 0.5 s, without torch", spread(helping, 2, " s"), reached
        yield "first step within 1.5 s of importing torch", spread(first, 2, " s"), first["median"] <= 1.5
        figure = f"{memory['ratio']:.2f} ({memory['peak'] / 1e6:.0f} MB)"
        yield "peak memory under 1.6x of data and torch", figure, memory["ratio"] < 1.6
        yield "memory flat over epochs (within 1.02)", f"{memory['growth']:.3f}", memory["growth"] <= 1.02
    if tried := parts.get("tried"):
        choices = tried["precisions"]
        right = all(one["auto"] == one["faster"] for one in choices)
        shown = any(one["faster"] == "bfloat16" for one in choices) or not right
        figure = ", ".join(f"{one['isa']}: {one['auto']}" for one in choices)
        yield "auto takes the faster one", figure, right if shown else None
    if notebooks := parts.get("notebooks"):
        reached = notebooks["passed"] and notebooks["total"] <= 150
        yield "all notebooks in 150 s", f"{notebooks['total']:.0f} s", reached


def goal_cells(parts: dict) -> dict[str, str]:
    """goal -> its mark and figure."""
    return {goal: f"{'–' if yes is None else '✓' if yes else '✗'} {figure}" for goal, figure, yes in goals(parts)}


def plot(steps: dict[str, dict], path: Path) -> None:
    """Milliseconds a step of all variants, a panel a machine: bars for medians, lines from the least to the most."""
    colours = {"a": "black", "b": plots.BLUE, "c": plots.SKY, "d": plots.ORANGE, "e": plots.GREEN}
    names = [name for name in union(steps, "ms") if not name.startswith("data-")]
    size = (4 + 5 * len(steps), 0.3 * len(names) + 1)
    figure, axes = plots.plt.subplots(1, len(steps), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (machine, part) in zip(axes[0], steps.items(), strict=True):
        for name in names:
            if one := part["ms"].get(name):
                whiskers = [[one["median"] - one["min"]], [one["max"] - one["median"]]]
                colour = colours[TITLES[name][0][0]]
                ax.barh(label(name), one["median"], color=colour, alpha=0.6, xerr=whiskers, capsize=2)
        limits = {part["limits"][name]["precision"]: part["limits"][name]["ms"] for name in ("float32", "auto")}
        for (precision, ms), style in zip(limits.items(), ("--", ":"), strict=False):
            ax.axvline(ms, color=plots.RED, linestyle=style, linewidth=1, label=f"the machine's limit, {precision}")
        ax.tick_params(axis="y", labelsize=8)
        ax.set(xlabel="ms a step of 64 pictures (bars: median; lines: least to most)", title=machine)
        ax.legend(frameon=False, fontsize=8, loc="lower right")
    axes[0][0].invert_yaxis()
    figure.savefig(path, dpi=120, metadata={"Software": None})


def plot_together(together: dict[str, dict], path: Path) -> None:
    """How many times as many pictures a second many workers would train on, a panel a machine."""
    size = (1 + 4.5 * len(together), 3.6)
    figure, axes = plots.plt.subplots(1, len(together), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, (machine, part) in zip(axes[0], together.items(), strict=True):
        for (name, gains), colour in zip(part["on_paper"].items(), (plots.ORANGE, plots.BLUE), strict=True):
            ax.plot([int(workers) for workers in gains], list(gains.values()), "o-", color=colour, label=name)
        ax.axline((1, 1), (512, 512), color="tab:gray", linestyle=":", label="if talking took no time")
        ax.set(xscale="log", yscale="log", xlabel="workers, each with batches of 64", title=machine)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    axes[0][0].set_ylabel("times as many pictures a second")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def union(machines: dict[str, dict], *keys: str) -> list[str]:
    """The names under these keys that any of the machines has, in the order of the first that has them."""
    names: dict[str, None] = {}
    for one in machines.values():
        for key in keys:
            one = one.get(key, {})
        names |= dict.fromkeys(one)
    return list(names)


def page(results: dict[str, dict]) -> str:
    """All that was measured, by machine and part, as Markdown."""
    having = {
        part: {machine: parts[part] for machine, parts in results.items() if part in parts}
        for part in ("steps", "tried", "startup", "whole", "together", "accuracy", "notebooks")
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "benchmarks"), trim_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.ChainableUndefined,
    )  # fmt: skip
    helpers = {
        "title": title, "spread": spread, "verdict": verdict, "union": union, "with_import": with_import,
        "num": num, "last": last, "percent": "{:.0%}".format, "peers": PEERS, "defaults": peers.DEFAULTS,
        "trial": any(part["quick"] for parts in results.values() for part in parts.values()),
    }  # fmt: skip
    cells = {machine: goal_cells(parts) for machine, parts in results.items()}
    return environment.get_template("report.md.jinja").render(results=results, goals=cells, **helpers, **having)


def write(results: dict[str, dict], out: Path) -> None:
    """Write bench.md and, where steps were measured, bench.png beside bench.json."""
    if steps := {machine: parts["steps"] for machine, parts in results.items() if "steps" in parts}:
        plot(steps, out / "bench.png")
    if together := {machine: parts["together"] for machine, parts in results.items() if "together" in parts}:
        plot_together(together, out / "bench_together.png")
    (out / "bench.md").write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    write(json.loads((ROOT / "docs" / "bench.json").read_text(encoding="utf-8")), ROOT / "docs")
