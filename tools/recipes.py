"""Improve the lesson's recipe one change at a time, and write docs/recipes.json, .md and .png.

    python tools/recipes.py DIR                   DIR/train/<class>/* and DIR/test/<class>/*, or cifar10
    python tools/recipes.py DIR decay:0 decay:1   only these runs with these seeds, and no report: for several
                                                  terminals side by side
    python tools/recipes.py DIR short             how many pictures, and which learning rate, one short epoch needs
                                                  for the lesson's accuracy (benchmarks/accuracy.py)

Runs that are finished (runs/recipes/*.json) are read, not repeated. The first two rows are those of results.py.
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from results import DOCS, MACHINE, SEEDS

from tudui_course import doctor, plots, run
from tudui_course.data.loaders import InMemory, read_data
from tudui_course.errors import DivergedError
from tudui_course.loop import fit
from tudui_course.recipe import FAST, SEED, Recipe
from tudui_course.resume import Progress
from tudui_course.runtime import runs_dir

NORMALIZED = replace(SEED, normalize=True)
MOMENTUM = replace(NORMALIZED, momentum=0.9)
ONE_CYCLE = replace(MOMENTUM, one_cycle=True, lr=FAST.lr, clip=FAST.clip)
DECAY = replace(ONE_CYCLE, weight_decay=FAST.weight_decay)
AUGMENTED = replace(DECAY, augment=True)
SMOOTHED = replace(AUGMENTED, label_smoothing=0.1)
assert AUGMENTED == FAST
NORM_LR = 0.05  # TuduiNorm's peak learning rate; chosen by TRIALS, below

# Each keeps the changes of those before it; the first two are the runs of results.py.
LADDER = {
    "seed": "课程的配方 · the lesson's recipe",
    "shuffled": "每轮打乱 · shuffled in each epoch",
    "normalized": "归一化 · normalized pictures",
    "momentum": "Nesterov 动量 0.9 · Nesterov momentum 0.9",
    "one-cycle": "一周期学习率，裁剪梯度 · one-cycle learning rate, clipped gradients",
    "decay": "权重衰减 · weight decay",
    "augmented": "翻转与平移 · flips and shifts",
    "smoothed": "标签平滑 · label smoothing",
}


class Plan(NamedTuple):
    """What a run trains, and on how many pictures (0: all)."""

    network: str
    recipe: Recipe
    epochs: int = 10
    pictures: int = 0


RUNS = {
    "normalized": Plan("Tudui", NORMALIZED),
    "momentum": Plan("Tudui", MOMENTUM),
    "one-cycle": Plan("Tudui", ONE_CYCLE),
    "decay": Plan("Tudui", DECAY),
    "augmented": Plan("Tudui", AUGMENTED),
    "smoothed": Plan("Tudui", SMOOTHED),
    "fast-1-epoch": Plan("Tudui", FAST, 1),
    "fast-norm": Plan("TuduiNorm", replace(FAST, lr=NORM_LR)),
}
# Peak learning rates tried on KEPT_BACK training pictures, which TRIALS and SHORT don't train on; TRIALS with seed 0.
KEPT_BACK = 5_000
TRIED = {"Tudui": (0.02, 0.03, 0.05), "TuduiNorm": (0.02, 0.03, 0.05, 0.08)}
TRIALS = {f"trial-{network}-{lr}": Plan(network, replace(FAST, lr=lr)) for network in TRIED for lr in TRIED[network]}
# One epoch of few pictures; with all seeds.
SHORT = {
    f"short-{pictures}-{lr}": Plan("Tudui", replace(FAST, lr=lr), 1, pictures)
    for pictures in (15_000, 17_500, 20_000)
    for lr in (FAST.lr, 0.05, 0.07)
}


def keep_back(pictures: InMemory) -> tuple[InMemory, InMemory]:
    """Split the training set at random, always the same way: to train on, and to choose by."""
    mixed = pictures.mixed(123)
    cuts = slice(KEPT_BACK, None), slice(KEPT_BACK)
    return tuple(InMemory(mixed.images[cut], mixed.targets[cut], mixed.classes) for cut in cuts)


def train(data: str, name: str, seed: int) -> list[float]:
    """Train one run, or read what it gave: accuracy by epoch, on the test set, or on the pictures kept back.

    Where the loss diverged, there are fewer epochs.
    """
    result = runs_dir() / "recipes" / f"{Path(data).name}-{name}-seed{seed}.json"
    if not result.is_file():
        plan = (RUNS | TRIALS | SHORT)[name]
        train_set, test_set = read_data(data) if name in RUNS else keep_back(read_data(data)[0])
        model, loaders, loss_fn, optimizer, scheduler = run.assemble(
            plan.recipe, plan.network, train_set.first(plan.pictures), test_set, epochs=plan.epochs, seed=seed
        )
        progress = Progress()
        try:
            fit(model, loaders, loss_fn, optimizer, epochs=plan.epochs, scheduler=scheduler, progress=progress)
        except DivergedError as error:
            print(f"{name}, seed {seed}: {error}", flush=True)
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps([record.test.accuracy for record in progress.history]), encoding="utf-8")
    accuracies = json.loads(result.read_text(encoding="utf-8"))
    print(f"{name}, seed {seed}: {accuracies[-1:]}", flush=True)
    return accuracies


def summary(accuracies: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f}"


def ladder_table(runs: dict[str, list[list[float]]]) -> str:
    """Last accuracies of all rungs, and what each gained over the one before, as Markdown."""
    lines = [
        "| 又改了什么 · one more change | seed 0 | seed 1 | seed 2 | mean ± sd | gain |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    before = None
    for name, title in LADDER.items():
        last = [accuracies[-1] for accuracies in runs[name]]
        gain = "" if before is None else f"{statistics.mean(last) - before:+.3f}"
        lines.append(f"| {title} | {' | '.join(f'{one:.4f}' for one in last)} | {summary(last)} | {gain} |")
        before = statistics.mean(last)
    return "\n".join(lines)


def command_table(runs: dict[str, list[list[float]]]) -> str:
    """What the commands give that a learner can type, as Markdown."""
    commands = {
        "shuffled": "tudui train --data DIR",
        "fast-1-epoch": "tudui train --data DIR --recipe fast --epochs 1",
        "augmented": "tudui train --data DIR --recipe fast",
        "fast-norm": f"tudui train --data DIR --recipe fast --network TuduiNorm --lr {NORM_LR}",
    }
    lines = ["| 命令 · command | 测试正确率 · test accuracy |", "| --- | ---: |"]
    lines += [f"| `{command}` | {summary([one[-1] for one in runs[name]])} |" for name, command in commands.items()]
    return "\n".join(lines)


def trial_table(trials: dict[str, list[float]]) -> str:
    """Accuracy on the pictures kept back by network and peak learning rate, as Markdown."""
    rates = sorted({lr for rates in TRIED.values() for lr in rates})
    lines = [f"| | {' | '.join(str(lr) for lr in rates)} |", f"| --- |{' ---: |' * len(rates)}"]
    for network in TRIED:
        cells = [f"{trials[f'trial-{network}-{lr}'][-1]:.4f}" if lr in TRIED[network] else "" for lr in rates]
        lines.append(f"| `{network}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(runs: dict[str, list[list[float]]], path: Path) -> None:
    """Test accuracy of each rung: a dot for each seed, a line for the mean."""
    figure, ax = plots.plt.subplots(figsize=(8, 3.6), layout="constrained")
    names = [title.split(" · ")[1] for title in LADDER.values()]
    last = [[accuracies[-1] for accuracies in runs[name]] for name in LADDER]
    means = [statistics.mean(values) for values in last]
    ax.plot(means, names, "|", color=plots.BLUE, markersize=18, markeredgewidth=2)
    for row, values in enumerate(last):
        ax.plot(values, [row] * len(values), "o", color=plots.ORANGE, markersize=5, alpha=0.8)
    ax.invert_yaxis()
    ax.grid(alpha=0.3)
    ax.set(xlabel="test accuracy after 10 epochs (lines: mean; dots: seeds)")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data, jobs = sys.argv[1], sys.argv[2:]
    if jobs == ["short"]:
        for name in SHORT:
            last = [train(data, name, seed)[-1] for seed in SEEDS]
            print(f"{name}: mean {statistics.mean(last):.4f}, least {min(last):.4f}")
        return
    if jobs:
        for job in jobs:
            name, seed = job.split(":")
            train(data, name, int(seed))
        return
    trials = {name: train(data, name, 0) for name in TRIALS}
    runs = {name: [train(data, name, seed) for seed in SEEDS] for name in RUNS}
    lesson = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
    runs["seed"] = [one["test_accuracy"] for one in lesson["runs"]]
    runs["shuffled"] = [one["test_accuracy"] for one in lesson["shuffled_runs"]]
    results = {
        "data": lesson["data"],
        "machine": MACHINE.format(**doctor.machine()),
        "command": f"python tools/recipes.py {'cifar10' if data == 'cifar10' else 'DIR'}",
        "ladder": list(LADDER),
        "runs": runs,
        "trials": trials,
    }
    (DOCS / "recipes.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(runs, DOCS / "recipes.png")
    tables = {
        "ladder_table": ladder_table(runs), "command_table": command_table(runs), "trial_table": trial_table(trials)
    }  # fmt: skip
    report = REPORT.format(**results, **tables, kept_back=f"{KEPT_BACK:,}", fast_lr=FAST.lr, norm_lr=NORM_LR)
    (DOCS / "recipes.md").write_text(report, encoding="utf-8")
    print(*tables.values(), sep="\n\n")


REPORT = """# 更好的配方 · A better recipe

网络不变，还是十轮：只改训练的办法，一次改一处，后面的保留前面的。各用三个随机种子。第 11 本笔记讲每一处为什么这样改。

> The same network and still ten epochs: only the way of training changes, one thing at a time, and each row keeps what
> the rows above it changed. Three seeds each. Notebook 11 explains every change.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine} |
| 命令 · command | `{command}` |

{ladder_table}

图：每一行的测试正确率，竖线是三个种子的平均，点是各个种子。

> The figure: test accuracy of each row, lines for the mean of three seeds, dots for the seeds.

![Test accuracy of each recipe, from the lesson's at the top to the last change at the bottom](recipes.png)

## 敲一条命令就有 · With one command

最后一行换了网络：带 BatchNorm 的 `TuduiNorm`。

> The last row has another network: `TuduiNorm`, with BatchNorm.

{command_table}

## 学习率是怎么选的 · How the learning rates were chosen

配方里的数照常见的值取，只有最高学习率是试出来的：训练图片里留出 {kept_back} 张，不拿来训练，只用来比较。下表是
在这些图片上的正确率，十轮，种子 0。选定的是 `Tudui` {fast_lr}（`--recipe fast` 的默认值），`TuduiNorm` {norm_lr}。
只有一个种子、5,000 张图，相差不到 0.01 的说明不了什么；选定的只是表里最高的。测试集上什么也没有挑。（`TuduiNorm`
的学习率起先是 0.02，在测试集上得 0.793 ± 0.001；选它的几次试跑只到第五轮。）

> The figures of the recipe are customary ones; only the peak learning rate was tried out: {kept_back} of the training
> pictures were kept back, not trained on, only compared by. The table has the accuracy on them after ten epochs,
> seed 0. Chosen: {fast_lr} for `Tudui` (the default of `--recipe fast`), {norm_lr} for `TuduiNorm`. It is one seed
> and 5,000 pictures, so differences under 0.01 say little; what was chosen is merely the highest. Nothing was chosen on
> the test set. (`TuduiNorm` had 0.02 at first: 0.793 ± 0.001 on the test set; the trials that chose it went no further
> than the fifth epoch.)

{trial_table}
"""


if __name__ == "__main__":
    main()
