"""Improve the lesson's recipe one change at a time, and write docs/recipes.json, .md and .png.

    python tools/recipes.py DIR            DIR/train/<class>/* and DIR/test/<class>/*, or cifar10
    python tools/recipes.py DIR 0          train seed 0 alone and write no report: for several terminals side by side

Runs that are finished (runs/recipes/*.json) are read, not repeated. The first two rows are those of results.py.
"""

import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

from results import DOCS, SEEDS, machine

from tudui_course import plots
from tudui_course.checkpoint import MODELS
from tudui_course.data.loaders import make_loaders, read_data
from tudui_course.loop import DivergedError, Progress, fit
from tudui_course.recipe import FAST, SEED
from tudui_course.runtime import place, runs_dir, seed_everything

NORMALIZED = replace(SEED, normalize=True)
MOMENTUM = replace(NORMALIZED, momentum=0.9)
ONE_CYCLE = replace(MOMENTUM, one_cycle=True, lr=FAST.lr, clip=FAST.clip)
DECAY = replace(ONE_CYCLE, weight_decay=FAST.weight_decay)
AUGMENTED = replace(DECAY, augment=True)
SMOOTHED = replace(AUGMENTED, label_smoothing=0.1)
assert AUGMENTED == FAST

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
RUNS = {
    "normalized": ("Tudui", NORMALIZED, 10),
    "momentum": ("Tudui", MOMENTUM, 10),
    "one-cycle": ("Tudui", ONE_CYCLE, 10),
    "decay": ("Tudui", DECAY, 10),
    "augmented": ("Tudui", AUGMENTED, 10),
    "smoothed": ("Tudui", SMOOTHED, 10),
    "fast-1-epoch": ("Tudui", FAST, 1),
    "fast-norm": ("TuduiNorm", replace(FAST, lr=0.02), 10),
}


def train(data: str, name: str, seed: int) -> list[float]:
    """Train one run, or read what it gave: test accuracy, epoch by epoch; fewer where the loss diverged."""
    result = runs_dir() / "recipes" / f"{Path(data).name}-{name}-seed{seed}.json"
    if not result.is_file():
        network, recipe, epochs = RUNS[name]
        train_set, test_set = read_data(data)
        train_set = train_set.transformed(recipe.train_transform())
        test_set = test_set.transformed(recipe.test_transform())
        seed_everything(seed)
        model = place(MODELS[network](len(train_set.classes)), "cpu")
        optimizer = recipe.optimizer(model)
        loaders = make_loaders(train_set, test_set, 64, seed=seed, drop_last=True)
        scheduler = recipe.scheduler(optimizer, epochs * len(loaders[0]))
        progress = Progress()
        try:
            fit(model, loaders, recipe.loss_fn(), optimizer, epochs=epochs, scheduler=scheduler, progress=progress)
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
        "fast-norm": "tudui train --data DIR --recipe fast --network TuduiNorm --lr 0.02",
    }
    lines = ["| 命令 · command | 测试正确率 · test accuracy |", "| --- | ---: |"]
    lines += [f"| `{command}` | {summary([one[-1] for one in runs[name]])} |" for name, command in commands.items()]
    return "\n".join(lines)


def plot(runs: dict[str, list[list[float]]], path: Path) -> None:
    """Test accuracy of each rung: a dot for each seed, a bar for the mean."""
    figure, ax = plots.plt.subplots(figsize=(8, 3.6), layout="constrained")
    names = [title.split(" · ")[1] for title in LADDER.values()]
    last = [[accuracies[-1] for accuracies in runs[name]] for name in LADDER]
    ax.barh(names, [statistics.mean(values) for values in last], color=plots.BLUE, alpha=0.55)
    for row, values in enumerate(last):
        ax.plot(values, [row] * len(values), "o", color=plots.ORANGE, markersize=4)
    ax.invert_yaxis()
    ax.set(xlim=(0.5, 0.8), xlabel="test accuracy after 10 epochs (bars: mean; dots: seeds)")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    data, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:]] or SEEDS
    runs = {name: [train(data, name, seed) for seed in seeds] for name in RUNS}
    if len(sys.argv) == 3:
        return
    lesson = json.loads((DOCS / "results.json").read_text(encoding="utf-8"))
    runs["seed"] = [one["test_accuracy"] for one in lesson["runs"]]
    runs["shuffled"] = [one["test_accuracy"] for one in lesson["shuffled_runs"]]
    results = {
        "data": lesson["data"],
        "machine": machine(),
        "command": f"python tools/recipes.py {'cifar10' if data == 'cifar10' else 'DIR'}",
        "ladder": list(LADDER),
        "runs": runs,
    }
    (DOCS / "recipes.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(runs, DOCS / "recipes.png")
    tables = {"ladder_table": ladder_table(runs), "command_table": command_table(runs)}
    (DOCS / "recipes.md").write_text(REPORT.format(**results, **tables), encoding="utf-8")
    print(tables["ladder_table"], tables["command_table"], sep="\n\n")


REPORT = """# 更好的配方 · A better recipe

网络不变，还是十轮：只改训练的办法，一次改一处，后面的保留前面的。各用三个随机种子。第 11 步讲每一处为什么这样改。

> The same network and still ten epochs: only the way of training changes, one thing at a time, and each row keeps what
> the rows above it changed. Three seeds each. Step 11 explains every change.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine} |
| 命令 · command | `{command}` |

{ladder_table}

图：每一行的测试正确率，横条是三个种子的平均，点是各个种子。

> The figure: test accuracy of each row, bars for the mean of three seeds, dots for the seeds.

![Test accuracy of each recipe, from the lesson's at the top to the last change at the bottom](recipes.png)

## 敲一条命令就有 · With one command

{command_table}

配方里的数照常见的值取；学习率在另留的 5,000 张训练图片上各试了几个（第 11 步），没有在测试集上挑过。

> The figures of the recipe are customary ones; a few learning rates were tried on 5,000 pictures kept back from the
> training set (step 11). Nothing was chosen on the test set.
"""


if __name__ == "__main__":
    main()
