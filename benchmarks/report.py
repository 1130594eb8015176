"""Turn what was measured into docs/bench.md, with its goals, and docs/bench.png."""

import json
from pathlib import Path

import peers
from common import ratio

from tudui_course import plots

PEER_TITLES = {
    "lightning": "PyTorch Lightning",
    "accelerate": "Hugging Face Accelerate",
    "fastai": "fastai",
    "ignite": "PyTorch-Ignite",
}
PATHS = {
    "seed": ("课程的读法", "the lesson's data path"),
    "ours": ("我们的读法", "our data path"),
    "layout": ("我们的读法和内存排列", "our data path and layout"),
}
TITLES = {  # a letter to speak of it, Chinese, English
    "seed": ("a", "课程的写法", "the lesson's way"),
    "float32": ("b", "我们的，`float32`", "ours, `--precision float32`"),
    "auto": ("c", "我们的，`auto`", "ours, `--precision auto`"),
    "bare-seed": ("e", "裸循环，默认的内存排列", "bare loop, default layout"),
    "bare-float32": ("e", "裸循环，`float32`", "bare loop, `float32`"),
    "bare-auto": ("e", "裸循环，`auto`", "bare loop, `auto`"),
    "data-seed": ("", "只读数据，课程的读法", "data alone, the lesson's path"),
    "data-ours": ("", "只读数据，我们的读法", "data alone, our path"),
}
TITLES |= {
    f"{library}-{path}": ("d", f"{name}，{chinese}", english)
    for library, name in PEER_TITLES.items()
    for path, (chinese, english) in PATHS.items()
}
YES, NO, OPEN = "✓", "✗", "–"


def title(name: str) -> str:
    """The name of a variant in both languages."""
    letter, chinese, english = TITLES[name]
    return f"{letter} {chinese} · {english}".strip()


def label(name: str) -> str:
    """The name of a variant in English, for the plot: Chinese glyphs turn to boxes where no font has them."""
    letter, _, english = TITLES[name]
    library = PEER_TITLES.get(name.split("-")[0], "")
    return f"{letter} {library + ', ' if library else ''}{english}".strip().replace("`", "")


def spread(one: dict, digits: int = 2, unit: str = "") -> str:
    """Median and, in brackets, the least and the most."""
    return f"{one['median']:.{digits}f}{unit} ({one['min']:.{digits}f}–{one['max']:.{digits}f})"


def row(goal: str, figure: str, reached: bool | None) -> str:
    mark = OPEN if reached is None else YES if reached else NO
    return f"| {goal} | {figure} | {mark} |"


def step_goals(steps: dict) -> list[str]:
    """The goals on a step's time."""
    faster, bare = steps["faster_than_seed"], steps["slower_than_bare"]
    native = steps["machine"]["precision"] == "bfloat16"
    figure = spread(faster["auto"]) + ("" if native else "；没有 bfloat16 指令 · no bfloat16 instructions")
    lines = [
        row("c 比 a 快 3.0 倍（想要 4.0） · c 3.0x faster than a (aim: 4.0x)", figure,
            faster["auto"]["median"] >= 3 if native else None),
        row("b 比 a 快 1.6 倍 · b 1.6x faster than a", spread(faster["float32"]), faster["float32"]["median"] >= 1.6),
        row("b 不超过裸循环的 1.05 倍 · b within 1.05x of its bare loop", spread(bare["float32"], 3),
            bare["float32"]["median"] <= 1.05),
        row("c 不超过裸循环的 1.05 倍 · c within 1.05x of its bare loop", spread(bare["auto"], 3),
            bare["auto"]["median"] <= 1.05),
    ]  # fmt: skip
    rivals = [name for name in steps["ms"] if name.endswith(("-seed", "-ours")) and name.split("-")[0] in PEER_TITLES]
    for letter, base in (("b", "float32"), ("c", "auto")):
        goal = f"{letter} 比每个库都快（库用默认的内存排列） · {letter} faster than every library in its default layout"
        if not rivals:
            lines.append(row(goal, "一个都没装 · none is installed", None))
            continue
        ratios = steps[f"slower_than_{base}"]
        closest = min(rivals, key=lambda name: ratios[name]["median"])
        figure = f"{spread(ratios[closest])}；最快的 · the fastest is {label(closest)}"
        lines.append(row(goal, figure, ratios[closest]["median"] > 1))
    layout = [one["median"] for name, one in steps["slower_than_float32"].items() if name.endswith("-layout")]
    if layout:
        goal = "库也用我们的内存排列，时间是 b 的几倍 · libraries with our layout too, times b's time"
        lines.append(row(goal, f"{min(layout):.2f}–{max(layout):.2f}", None))
    limit = steps["limits"]["auto"]
    figure = f"c {limit['fraction']:.0%}, b {steps['limits']['float32']['fraction']:.0%}"
    lines.append(row("达到机器极限的几成 · fraction of the machine's limit", figure, None))
    return lines


def goals_table(results: dict) -> str:
    """All goals of which there are figures, as Markdown."""
    lines = ["| 目标 · goal | 中位数（最小–最大） · median (least–most) | |", "| --- | --- | --- |"]
    if "steps" in results:
        lines += step_goals(results["steps"])
    if "accuracy" in results:
        accuracy = results["accuracy"]
        goal = "到 0.546 快 25 倍（不算引入 torch） · 25x faster to 0.546 (without importing torch)"
        lines.append(row(goal, spread(accuracy["ratio"], 1),
                         accuracy["reached"] and accuracy["ratio"]["median"] >= 25))  # fmt: skip
    if "startup" in results:
        startup = results["startup"]
        seconds, memory = startup["seconds"], startup["memory"]
        later = startup["first_step_after_import"]
        lines += [
            row("`tudui --help` 0.5 s 内，不引入 torch · under 0.5 s, without torch",
                spread(seconds["help"], 2, " s"),
                seconds["help"]["median"] < 0.5 and not startup["torch_in_help"]),
            row("第一步在引入 torch 之后 1.5 s 内 · first step within 1.5 s of importing torch",
                spread(later, 2, " s"), later["median"] <= 1.5),
            row("内存峰值不到数据加 torch 的 1.6 倍 · peak memory under 1.6x of data and torch",
                f"{memory['ratio']:.2f} ({memory['peak'] / 1e6:.0f} MB)", memory["ratio"] < 1.6),
            row("各轮内存不涨（1.02 以内） · memory flat over epochs (within 1.02)", f"{memory['growth']:.3f}",
                memory["growth"] <= 1.02),
        ]  # fmt: skip
    if "tried" in results:
        choices = results["tried"]["precisions"]
        figure = ", ".join(f"{one['isa']}: {one['auto']}" for one in choices)
        right = all(one["auto"] == one["faster"] for one in choices)
        if right and not any(one["faster"] == "bfloat16" for one in choices):
            figure, right = f"{figure}；没有 bfloat16 指令 · no bfloat16 instructions", None
        lines.append(row("auto 选了快的 · auto takes the faster one", figure, right))
    if "notebooks" in results:
        total, passed = results["notebooks"]["total"], results["notebooks"]["passed"]
        lines.append(row("所有 notebook 150 s · all notebooks in 150 s", f"{total:.0f} s", passed and total <= 150))
    return "\n".join(lines)


def steps_table(steps: dict) -> str:
    """Milliseconds a step and ratios of all variants, as Markdown."""
    lines = [
        "| 写法 · variant | ms | 比 a 快几倍 · times as fast as a | 是 b 的几倍 · times b's time |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, ms in steps["ms"].items():
        faster, slower = steps["faster_than_seed"][name], steps["slower_than_float32"][name]
        lines.append(f"| {title(name)} | {spread(ms, 1)} | {spread(faster)} | {spread(slower)} |")
    return "\n".join(lines)


def defaults_table(steps: dict) -> str:
    """What the libraries do beside training, as Markdown."""
    lines = ["| 库 · library | 版本 · version | 默认还做什么 · what its defaults do besides |", "| --- | --- | --- |"]
    for name, version in steps["versions"].items():
        lines.append(f"| {PEER_TITLES[name]} | {version} | {peers.DEFAULTS[name]} |")
    lines += [f"| {package} | 没装 · not installed | |" for package in steps["missing"]]
    return "\n".join(lines)


def limits_table(steps: dict) -> str:
    """Where the time of a bare step goes, as Markdown."""
    parts = []
    for name in ("float32", "auto"):
        limit = steps["limits"][name]
        ms, ours, bare = f"{limit['ms']:.1f} ms", f"{limit['fraction']:.0%}", f"{limit['fraction_of_bare']:.0%}"
        flops, rate = sum(steps["limits"]["flops"].values()) / 1e9, limit["flops_per_second"] / 1e9
        parts += [
            f"`--precision {name}`（{limit['precision']}）：一步 {flops:.2f} GFLOP，矩阵乘法每秒 {rate:.0f} GFLOP，"
            f"极限就是 {ms}；我们的一步达到它的 {ours}，裸循环达到 {bare}。",
            "",
            f"> `--precision {name}` ({limit['precision']}): {flops:.2f} GFLOP a step, {rate:.0f} GFLOP/s in a matrix "
            f"product, so the limit is {ms}; our step reaches {ours} of it, the bare loop {bare}.",
            "",
            "| 部分 · part | 占比 · share | ms | GFLOP/s |",
            "| --- | ---: | ---: | ---: |",
        ]
        for kind, one in sorted(limit["profile"].items(), key=lambda item: -item[1]["share"]):
            achieved = f"{one['rate'] / 1e9:.0f}" if one["rate"] else ""
            parts.append(f"| {kind} | {one['share']:.0%} | {one['ms']:.2f} | {achieved} |")
        parts.append("")
    return "\n".join(parts).rstrip()


def accuracy_table(accuracy: dict) -> str:
    """Both ways to the lesson's accuracy, seed by seed, as Markdown."""
    lines = [
        "| seed | a: s | a: 轮数 · epochs | a: 正确率 · accuracy | 我们 · ours: s | 正确率 · accuracy | 倍数 · ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    both = zip(accuracy["seed_way"]["runs"], accuracy["our_way"]["runs"], strict=True)
    for (one, other), times in zip(both, accuracy["ratio"]["values"], strict=True):
        lines.append(
            f"| {one['seed']} | {one['seconds']:.0f} | {len(one['test_accuracy'])} | {one['test_accuracy'][-1]:.4f} "
            f"| {other['seconds']:.1f} | {other['test_accuracy'][-1]:.4f} | {times:.1f} |"
        )
    return "\n".join(lines)


def import_line(results: dict) -> str:
    """The ratios of the accuracy part once the import of torch is added on both sides, under the table."""
    if "startup" not in results:
        return ""
    seconds = results["startup"]["seconds"]["import"]["median"]
    theirs, mine = (results["accuracy"][way]["seconds"]["values"] for way in ("seed_way", "our_way"))
    ratios = ratio([one + seconds for one in theirs], [one + seconds for one in mine])
    given = spread(ratios, 1)
    return (
        f"\n\n两边各加上引入 torch 的 {seconds:.1f} s，倍数是 {given}。"
        f"\n\n> With {seconds:.1f} s for importing torch on both sides the ratio is {given}."
    )


def startup_table(startup: dict) -> str:
    """Start-up and memory, as Markdown."""
    seconds, memory = startup["seconds"], startup["memory"]
    epochs = ", ".join(f"{size / 1e6:.0f}" for size in memory["by_epoch"])
    whole = "整个进程的峰值，连收尾和退出 · peak of the whole process, its end included"
    return "\n".join(
        [
            "| | |",
            "| --- | --- |",
            f"| `import torch, torchvision` | {spread(seconds['import'], 2, ' s')} |",
            f"| `tudui --help` | {spread(seconds['help'], 2, ' s')} |",
            f"| `tudui train` 到第一步 · to its first step | {spread(seconds['first_step'], 2, ' s')} |",
            f"| torch 的内存 · torch's memory | {memory['torch'] / 1e6:.0f} MB |",
            f"| 图片 · the pictures | {memory['pictures'] / 1e6:.0f} MB |",
            f"| 各轮的峰值 · peak in each epoch | {epochs} MB |",
            f"| {whole} | {memory['peak'] / 1e6:.0f} MB |",
        ]
    )


def tried_table(tried: dict) -> str:
    """What was tried, and what it gave, as Markdown."""
    lines = [
        "| 改动 · change | 每 64 张图的 ms · ms for 64 pictures | 快几倍 · times as fast |",
        "| --- | ---: | ---: |",
    ]
    for name, ms in tried["ms"].items():
        lines.append(f"| {name} | {spread(ms, 1)} | {spread(tried['faster_than_float32'][name])} |")
    if tried["compiling_seconds"]:
        seconds = f"{tried['compiling_seconds']:.0f} s"
        lines += ["", f"torch.compile 编译用了 {seconds}。", "", f"> Compiling took torch.compile {seconds}."]
    lines += [
        "",
        "| ONEDNN_MAX_CPU_ISA | float32: ms | bfloat16: ms | `auto` |",
        "| --- | ---: | ---: | --- |",
    ]
    lines += [
        f"| {one['isa']} | {one['ms']['float32']:.1f} | {one['ms']['bfloat16']:.1f} | {one['auto']} |"
        for one in tried["precisions"]
    ]
    return "\n".join(lines)


def notebooks_table(notebooks: dict) -> str:
    """Seconds by notebook, as Markdown."""
    lines = ["| notebook | s |", "| --- | ---: |"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in notebooks["seconds"].items()]
    return "\n".join([*lines, f"| 一共，两个同时 · all, two at a time | {notebooks['total']:.0f} |"])


def machines_table(results: dict) -> str:
    """On what machine each part was measured, and when, as Markdown."""
    lines = [
        "| 部分 · part | 数据 · data | 机器 · machine | 开始时的平均负载 · load average at its start | 日期 · date |",
        "| --- | --- | --- | ---: | --- |",
    ]
    for part, one in results.items():
        facts = one["machine"]
        cpu = f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads, {facts['instructions']}"
        load = "" if facts["load"] is None else f"{facts['load']:.1f}"
        data = f"{one['data']}{'; --quick' if one['quick'] else ''}"
        system = f"{facts['system']}, torch {facts['torch']}"
        lines.append(f"| {part} | {data} | {cpu}; {system} | {load} | {facts['date']} |")
    return "\n".join(lines)


def plot(steps: dict, path: Path) -> None:
    """Milliseconds a step of all variants: bars for medians, lines from the least to the most."""
    colours = {"a": "black", "b": plots.BLUE, "c": plots.SKY, "d": plots.ORANGE, "e": plots.GREEN}
    names = [name for name in steps["ms"] if not name.startswith("data-")]
    figure, ax = plots.plt.subplots(figsize=(9, 0.3 * len(names) + 1), layout="constrained")
    for position, name in enumerate(names):
        one = steps["ms"][name]
        whiskers = [[one["median"] - one["min"]], [one["max"] - one["median"]]]
        ax.barh(position, one["median"], color=colours[TITLES[name][0]], alpha=0.6, xerr=whiskers, capsize=2)
    ax.set_yticks(range(len(names)), [label(name) for name in names], fontsize=8)
    limits = {steps["limits"][name]["precision"]: steps["limits"][name]["ms"] for name in ("float32", "auto")}
    for (precision, ms), style in zip(limits.items(), ("--", ":"), strict=False):
        text = f"all FLOPs at the rate of a matrix product, {precision}"
        ax.axvline(ms, color=plots.RED, linestyle=style, linewidth=1, label=text)
    ax.invert_yaxis()
    ax.set(xlabel="ms a step of 64 pictures (bars: median; lines: least to most)")
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def write(results: dict, out: Path) -> None:
    """Write bench.md and, where steps were measured, bench.png beside bench.json."""
    trial = TRIAL if any(one["quick"] for one in results.values()) else ""
    sections = [HEAD.format(trial=trial, goals=goals_table(results), machines=machines_table(results))]
    if "steps" in results:
        plot(results["steps"], out / "bench.png")
        steps = results["steps"]
        sections.append(STEPS.format(
            **{key: steps[key] for key in ("steps", "rounds")}, steps_table=steps_table(steps),
            defaults=defaults_table(steps), limits=limits_table(steps),
        ))  # fmt: skip
    if "accuracy" in results:
        accuracy = results["accuracy"]
        sections.append(
            ACCURACY.format(table=accuracy_table(accuracy) + import_line(results), command=accuracy["command"])
        )
    for part, text, table in (
        ("startup", STARTUP, startup_table),
        ("tried", TRIED, tried_table),
        ("notebooks", NOTEBOOKS, notebooks_table),
    ):
        if part in results:
            sections.append(text.format(table=table(results[part])))
    (out / "bench.md").write_text("\n".join(sections), encoding="utf-8")


TRIAL = """
试跑：步数太少，数字不算数。

> A smoke trial: with so few steps the figures mean nothing.
"""

HEAD = """# 有多快 · How fast

训练一步的比较在同一个进程里：同一批图片、同一个网络、同样的批大小（64），几种写法轮流跑。比的是每一轮里的比值，
给出中位数，括号里是最小和最大。目的：没有 GPU 的笔记本上，学习的人等得最少，而循环仍然一读就懂。

> Steps are compared in one process: with the same pictures, network and batch size (64), the variants take turns. What
> counts are the ratios within a round, given as a median with the least and the most in brackets. The purpose: a
> learner on a laptop without a GPU waits least, and the loop stays readable.

## 目标与结果 · Goals and figures
{trial}
{goals}

✓ 达到，✗ 没达到，– 在这台机器上说不了，或者没有定目标。

> ✓ reached, ✗ not reached, – can't be said on this machine, or no goal was set.

## 在哪里量的 · Where it was measured

{machines}

一条命令里接着跑的部分（tried、startup），开始时的负载是前一部分留下的。

> Parts that follow another in one command (tried, startup) begin with the load that the one before left.

命令是 `make bench`；到课程的正确率要用多久，是 `python benchmarks/bench.py --data DIR --part accuracy`。

> The command is `make bench`; for the time to the lesson's accuracy, `python benchmarks/bench.py --data DIR --part
> accuracy`.
"""

STEPS = """## 一步要多久 · How long a step takes

![Milliseconds of a training step: the lesson's way, ours, four other libraries, the bare loop](bench.png)

{steps_table}

每种写法训练 {steps} 步，{rounds} 轮，轮流先后。a 是课程笔记第 9 节的循环；b 和 c 是 `tudui train` 做的全部：数据、
指标、进度条、TensorBoard、每轮两个检查点；e 只有训练的那几行，一个批次反复用。a 到 d 最后都只测试一个批次。计时的是
训练的那一次调用，准备工作（图片读进内存、建网络、建 Trainer）都不算在内。“只读数据”不训练。
一轮只有 {steps} 步，所以每轮、每次调用只做一次的事（保存、Lightning 的开场检查）比在 CIFAR-10 的 782 步里显得重。

> Each variant trains {steps} steps, {rounds} rounds, in turn. a is the loop of the lesson's note, section 9; b and c
> do all that `tudui train` does: data, metrics, progress bar, TensorBoard, two checkpoints an epoch; e is nothing but
> the lines that train, on one batch over and over. a to d test on one batch at the end. What is timed is the
> call that trains; what comes before (pictures in memory, the network, a trainer object) is left out for all. *Data
> alone* doesn't train. With only {steps} steps an epoch, what is done once an epoch or call (saving, Lightning's sanity
> check) weighs more than in CIFAR-10's 782.

{defaults}

其他库照各自的文档写，float32，用自己的默认设置。“我们的读法和内存排列”一行是公平起见：它们也能像我们一样，把图片放在
内存里整批地取，把权重按通道在后排列；剩下的差别是循环、记录和保存。

> The other libraries are used as their documentation says, in float32, with their own defaults. The rows *our data path
> and layout* are there for fairness: they too can gather whole batches from memory and lay the weights out channels
> last, as we do; what remains is the loop, its logs and its checkpoints.

## 离机器的极限多远 · How far from the machine's limit

一步的浮点运算数由 torch 数出来，除以这台机器上矩阵乘法最快的速度，就是极限。表里是裸循环的时间花在哪里。

> The floating-point operations of a step, counted by torch, over the best rate of a matrix product on this machine are
> the limit. The tables show where the time of the bare loop goes.

{limits}
"""

ACCURACY = """## 多久到课程的正确率 · Time to the lesson's accuracy

课程最后的测试正确率是 0.546。a 每轮测试一次，到了就停；我们的是一条命令：

    {command}

两者都在已经引入 torch 的同一个进程里计时，从读取已解码的图片算起，直到测试显示出那个正确率；a 像课程那样，每轮按同一个
次序看图。用多少张图片、多大的学习率，是在另留的 5,000 张训练图片上选的，不是在测试集上选的。

> The lesson ends on a test accuracy of 0.546. a tests after each epoch and stops when it is there; ours is the command
> above. Both are timed in one process that has imported torch, from reading the decoded pictures to the test that shows
> the accuracy; a trains in one fixed order, as the lesson does. How many pictures to use, and which learning rate, was
> chosen on 5,000 training pictures kept back, not on the test set.

{table}
"""

STARTUP = """## 启动与内存 · Start-up and memory

每个命令单独一个进程，轮流跑；`import` 和到第一步都不算进程退出的时间。

> Each command in a process of its own, in turn; for `import` and the first step the process's exit isn't counted.

{table}
"""

TRIED = """## 还试过什么 · What else was tried

每次只改裸循环的一处，按同样多的图片比。

> One change to the bare loop at a time, compared for the same number of pictures.

一样也没有留下。SGD 的几种写法，差别在波动之内。图片也按通道在后排列，略快一点，可是 `images.view(...)` 就会报错，而
初学的人常这样写。批大小 64 是课程的。线程数 torch 自己选得对。torch.compile 要 C++ 编译器，先要编译好几秒，这么小的网络
在这里没有更快。

> None of them was kept. The ways of writing SGD differ within the noise. Pictures laid out channels last are a little
> quicker, but then `images.view(...)` fails, which beginners write often. The batch size of 64 is the lesson's. torch
> chooses the number of threads well by itself. torch.compile needs a C++ compiler and seconds to compile, and with a
> network this small it wasn't quicker here.

{table}

ONEDNN_MAX_CPU_ISA 限定 oneDNN 最多用哪一级指令（AVX512_CORE 和 AVX2 都不含 bfloat16）：`auto` 应当总是选快的那个。

> ONEDNN_MAX_CPU_ISA names the highest level of instructions that oneDNN may use (AVX512_CORE and AVX2 are without
> bfloat16): `auto` should always take the faster one.
"""

NOTEBOOKS = """## 测试 notebook 要多久 · What the notebooks cost in the tests

{table}
"""


def main() -> None:
    """Write the report of docs/bench.json anew."""
    docs = Path(__file__).resolve().parent.parent / "docs"
    write(json.loads((docs / "bench.json").read_text(encoding="utf-8")), docs)


if __name__ == "__main__":
    main()
