"""Improve the lesson's recipe one change at a time, and write docs/recipes.json, .md and .png.

    python tools/recipes.py DIR                   DIR/train/<class>/* and DIR/test/<class>/*, or cifar10
    python tools/recipes.py DIR decay augmented   only these rows, and no report: for several terminals side by side
    python tools/recipes.py DIR short             how many pictures, and which learning rate, one short epoch needs
                                                  for the lesson's accuracy (benchmarks/accuracy.py)

Runs that are finished (runs/recipes/*.json) are read, not repeated.
"""

import functools
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from results import DOCS, JPEG, MACHINE, SEEDS

from tudui_course import doctor, plots, run
from tudui_course.data.loaders import read_data
from tudui_course.errors import DivergedError
from tudui_course.loop import evaluate, fit
from tudui_course.model import Views
from tudui_course.recipe import FAST, SEED, Recipe
from tudui_course.resume import Progress
from tudui_course.runtime import choose_device, choose_precision, runs_dir

NORMALIZED = replace(SEED, normalize=True)
MOMENTUM = replace(NORMALIZED, momentum=0.9)
ONE_CYCLE = replace(MOMENTUM, one_cycle=True)
CLIPPED = replace(ONE_CYCLE, clip=FAST.clip)
DECAY = replace(CLIPPED, weight_decay=FAST.weight_decay)
AUGMENTED = replace(DECAY, augment=True)
SMOOTHED = replace(AUGMENTED, label_smoothing=0.1)


class Rung(NamedTuple):
    """One more change than the rung before.

    Attributes:
        title: Chinese and English.
        recipe: with any learning rate.
        rates: tried on the pictures kept back; a single one is taken untried, and none means that of the rung before.
        order: of the pictures, as in `Settings`.
        network: a name in `MODELS`.
        epochs: how many.
        pictures: to train on, 0 for all. The ladder makes do with a part, or it would take hours.
    """

    title: str
    recipe: Recipe
    rates: tuple[float, ...]
    order: str = "shuffled"
    network: str = "Tudui"
    epochs: int = 10
    pictures: int = 20_000


LADDER = {
    "seed": Rung("原课程的配方 · the lesson's recipe", SEED, (0.01,), "fixed"),
    "rate": Rung("学习率重新选 · learning rate chosen anew", SEED, (0.02, 0.05), "fixed"),
    "shuffled": Rung("每轮打乱，不要不满的批次 · shuffled in each epoch, full batches only", SEED, ()),
    "normalized": Rung("归一化 · normalized pictures", NORMALIZED, (0.01, 0.02, 0.05)),
    "momentum": Rung("Nesterov 动量 0.9 · Nesterov momentum 0.9", MOMENTUM, (0.002, 0.005, 0.01)),
    "one-cycle": Rung("一周期学习率 · one-cycle learning rate", ONE_CYCLE, (0.01, 0.02, 0.04)),
    "clipped": Rung("裁剪梯度 · clipped gradients", CLIPPED, (0.02, 0.04)),
    "decay": Rung("权重衰减 · weight decay", DECAY, (0.02, 0.04)),
    "augmented": Rung("翻转与平移 · flips and shifts", AUGMENTED, (0.03, 0.05)),
    "smoothed": Rung("标签平滑 · label smoothing", SMOOTHED, (0.03, 0.05)),
}
# Beside the ladder: what can be had with other flags.
OTHERS = {
    "fast-1-epoch": Rung("", FAST, (FAST.lr,), epochs=1, pictures=0),
    "fast": Rung("", FAST, (FAST.lr,), pictures=0),
    "fast-norm": Rung("", FAST, (0.05,), network="TuduiNorm", pictures=0),
}
# One epoch of few pictures, tried with all seeds.
SHORT = {
    f"short-{pictures}": Rung("", FAST, (0.05, 0.07, 0.1), epochs=1, pictures=pictures)
    for pictures in (12_500, 15_000, 17_500)
}
DEVICE = choose_device()
VIEWS = (2, 6)
KEPT_BACK = 5_000  # training pictures that trials don't train on, but are measured by


pictures_of = functools.cache(read_data)


def result_path(data: str, kind: str, name: str, lr: float, seed: int) -> Path:
    return runs_dir() / "recipes" / f"{Path(data).name}-{kind}-{name}-{lr}-seed{seed}.json"


def views_path(result: Path) -> Path:
    return result.with_suffix(".views.json")


def in_views(parts: run.Parts) -> dict[int, float]:
    """Accuracy of a trained network that looks at each picture twice, and six times."""
    test_loader = parts.loaders[1]
    return {count: evaluate(Views(parts.model, count), test_loader, parts.loss_fn, DEVICE).accuracy for count in VIEWS}


def train(data: str, name: str, lr: float, seed: int, trial: bool) -> list[float]:
    """Train one run, or read what it gave: accuracy by epoch, on the test set or, in a trial, on pictures kept back.

    Where the loss diverged, there are fewer epochs.
    """
    kind = "trial" if trial else "run"
    result = result_path(data, kind, name, lr, seed)
    if not result.is_file():
        rung = (LADDER | OTHERS | SHORT)[name]
        train_set, test_set = pictures_of(data)
        if trial:
            train_set, test_set = train_set.split(KEPT_BACK)
        parts = run.assemble(
            replace(rung.recipe, lr=lr), rung.network, train_set.first(rung.pictures), test_set, epochs=rung.epochs,
            seed=seed, order=rung.order, device=str(DEVICE),
        )  # fmt: skip
        progress = Progress()
        try:
            fit(
                parts.model, parts.loaders, parts.loss_fn, parts.optimizer, DEVICE, epochs=rung.epochs,
                scheduler=parts.scheduler, precision=choose_precision("auto", DEVICE), progress=progress,
            )  # fmt: skip
        except DivergedError as error:
            print(f"{name}, learning rate {lr}, seed {seed}: {error}", flush=True)
        result.parent.mkdir(parents=True, exist_ok=True)
        if name in OTHERS:
            views_path(result).write_text(json.dumps(in_views(parts)), encoding="utf-8")
        result.write_text(json.dumps([record.test.accuracy for record in progress.history]), encoding="utf-8")
    accuracies = json.loads(result.read_text(encoding="utf-8"))
    print(f"{kind} {name}, learning rate {lr}, seed {seed}: {accuracies[-1:]}", flush=True)
    return accuracies


def last_of(accuracies: list[float], epochs: int) -> float:
    """The accuracy after the last epoch; 0 where the run diverged before."""
    return accuracies[-1] if len(accuracies) == epochs else 0.0


def try_rates(data: str, name: str) -> dict[float, float]:
    """Accuracy on the pictures kept back by learning rate, seed 0; nothing where there is no choice."""
    rung = (LADDER | OTHERS)[name]
    if len(rung.rates) < 2:
        return {}
    return {lr: last_of(train(data, name, lr, 0, trial=True), rung.epochs) for lr in rung.rates}


def choose(name: str, trials: dict[str, dict[float, float]]) -> float:
    """The best of the learning rates tried, the only one, or that of the rung before."""
    rates = (LADDER | OTHERS)[name].rates
    if trials[name]:
        return max(trials[name], key=trials[name].get)
    names = list(LADDER)
    return rates[0] if rates else choose(names[names.index(name) - 1], trials)


def summary(accuracies: list[float], sign: str = "") -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(accuracies):{sign}.3f} ± {statistics.stdev(accuracies):.3f}"


def ladder_table(runs: dict[str, list[list[float]]], rates: dict[str, float]) -> str:
    """Last accuracies of all rungs, and what each gained over the one before with the same seeds, as Markdown."""
    lines = [
        "| 又改了什么 · one more change | 学习率 · rate | seed 0 | seed 1 | seed 2 | mean ± sd | gain, by seed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    before = None
    for name, rung in LADDER.items():
        last = [accuracies[-1] for accuracies in runs[name]]
        gain = "" if before is None else summary([one - other for one, other in zip(last, before, strict=True)], "+")
        cells = [rung.title, f"{rates[name]:g}", *(f"{one:.4f}" for one in last), summary(last), gain]
        lines.append(f"| {' | '.join(cells)} |")
        before = last
    return "\n".join(lines)


def command_table(
    runs: dict[str, list[list[float]]], views: dict[str, list[dict[str, float]]], rates: dict[str, float]
) -> str:
    """What the commands give that a learner can type, by `--views` of `tudui evaluate`, as Markdown."""
    commands = {
        "tudui train --data DIR --recipe fast --epochs 1": "fast-1-epoch",
        "tudui train --data DIR --recipe fast": "fast",
        f"tudui train --data DIR --recipe fast --network TuduiNorm --lr {rates['fast-norm']:g}": "fast-norm",
    }
    lines = [
        "| 命令 · command | 测试正确率 · test accuracy | `--views 2` | `--views 6` |",
        "| --- | ---: | ---: | ---: |",
    ]
    for command, name in commands.items():
        cells = [summary([one[-1] for one in runs[name]])]
        cells += [summary([one[str(count)] for one in views[name]]) for count in VIEWS]
        lines.append(f"| `{command}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def trial_table(trials: dict[str, dict[float, float]]) -> str:
    """Accuracy on the pictures kept back by rung and learning rate, the highest one in bold, as Markdown."""
    lines = ["| | 学习率：正确率 · learning rate: accuracy |", "| --- | --- |"]
    for name, tried in trials.items():
        if tried:
            title = LADDER[name].title if name in LADDER else "`TuduiNorm`, `--recipe fast`"
            best = max(tried.values())
            cells = [f"{lr:g}: {'**' * (one == best)}{one:.4f}{'**' * (one == best)}" for lr, one in tried.items()]
            lines.append(f"| {title} | {', '.join(cells)} |")
    return "\n".join(lines)


def plot(runs: dict[str, list[list[float]]], path: Path) -> None:
    """Test accuracy of each rung: a dot for each seed, a line for the mean."""
    figure, ax = plots.plt.subplots(figsize=(8, 3.6), layout="constrained")
    names = [rung.title.split(" · ")[1] for rung in LADDER.values()]
    last = [[accuracies[-1] for accuracies in runs[name]] for name in LADDER]
    means = [statistics.mean(values) for values in last]
    ax.plot(means, names, "|", color=plots.BLUE, markersize=18, markeredgewidth=2)
    for row, values in enumerate(last):
        ax.plot(values, [row] * len(values), "o", color=plots.ORANGE, markersize=5, alpha=0.8)
    ax.invert_yaxis()
    ax.grid(alpha=0.3)
    ax.set(xlabel="test accuracy after 10 epochs (lines: mean; dots: seeds)")
    figure.savefig(path, dpi=120, metadata={"Software": None})


def card() -> str:
    """The name of the GPU that is trained on; "" on a CPU."""
    return f", on its {torch.cuda.get_device_name(DEVICE)}" if DEVICE.type == "cuda" else ""


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data, names = sys.argv[1], sys.argv[2:]
    if names == ["short"]:
        for name, rung in SHORT.items():
            for lr in rung.rates:
                last = [train(data, name, lr, seed, trial=True)[-1] for seed in SEEDS]
                print(f"{name}, learning rate {lr}: mean {statistics.mean(last):.4f}, least {min(last):.4f}")
        return
    trials = {name: try_rates(data, name) for name in names or LADDER | OTHERS}
    rates = {name: choose(name, trials) for name in trials}
    runs = {name: [train(data, name, rates[name], seed, trial=False) for seed in SEEDS] for name in trials}
    if names:
        return
    views = {
        name: [json.loads(views_path(result_path(data, "run", name, rates[name], seed)).read_text()) for seed in SEEDS]
        for name in OTHERS
    }
    results = {
        "data": "CIFAR-10" if data == "cifar10" else JPEG,
        "machine": MACHINE.format(**doctor.machine()) + card(),
        "precision": choose_precision("auto", DEVICE),
        "command": f"python tools/recipes.py {'cifar10' if data == 'cifar10' else 'DIR'}",
        "ladder": {name: rung.title for name, rung in LADDER.items()},
        "rates": rates,
        "runs": runs,
        "views": views,
        "trials": trials,
    }
    (DOCS / "recipes.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(runs, DOCS / "recipes.png")
    tables = {
        "ladder_table": ladder_table(runs, rates), "command_table": command_table(runs, views, rates),
        "trial_table": trial_table(trials),
    }  # fmt: skip
    pictures = f"{LADDER['seed'].pictures:,}"
    report = REPORT.format(**results, **tables, kept_back=f"{KEPT_BACK:,}", pictures=pictures)
    (DOCS / "recipes.md").write_text(report, encoding="utf-8")
    print(*tables.values(), sep="\n\n")


REPORT = """# 更好的配方 · A better recipe

网络不变，还是十轮：只改训练的办法，一次改一处，后面的保留前面的。每改一处，学习率都在留出来的图片上重新选一遍：
一处改动常常连带着改了合适的学习率，不重选就不公平。用 {pictures} 张训练图片（从全部里均匀地取），全部测试图片，
三个随机种子。第 13、14 本讲每一处为什么这样改，第 11 本讲怎样选才老实。

> The same network and still ten epochs: only the way of training changes, one thing at a time, and each row keeps what
> the rows above it changed. With each change the learning rate is chosen anew on pictures kept back: a change often
> moves the rate that suits, and a comparison at the old one wouldn't be fair. {pictures} of the training pictures,
> drawn evenly; all test pictures; three seeds. Notebooks 13 and 14 explain every change, 11 how to choose honestly.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine}, {precision} |
| 命令 · command | `{command}` |

{ladder_table}

最后一栏：同一个种子比上一行多多少，三个种子的平均和标准差；标准差比平均大的，三个种子说明不了有没有好处。

> The last column: how much more than the row above with the same seed, mean and standard deviation over three seeds.
> Where the deviation is larger than the mean, three seeds can't tell whether it helped.

图：每一行的测试正确率，竖线是三个种子的平均，点是各个种子。

> The figure: test accuracy of each row, lines for the mean of three seeds, dots for the seeds.

![Test accuracy of each recipe, from the lesson's at the top to the last change at the bottom](recipes.png)

## 敲一条命令就有 · With one command

用全部训练图片，三个种子。最后一行换了网络：带 BatchNorm 的 `TuduiNorm`。右边两栏不是另练的：
同一个网络，测试时每张图看几眼，取平均。`tudui evaluate 检查点 --views 2` 看原图和镜像，`--views 6` 再
把两者各挪一个像素。

> On all training pictures, three seeds. The last row has another network: `TuduiNorm`, with BatchNorm. The two columns
> on the right are the same networks, tested by looking at each picture several times and taking the mean: `tudui
> evaluate CHECKPOINT --views 2` at the picture and its mirror image, `--views 6` at both moved by a pixel, too.

{command_table}

这些学习率不是从上面的表来的，是早先用全部训练图片选的：留出 {kept_back} 张，十轮，种子 0，只试了几个值，取最高的。
那时的翻转和平移还是整批一起抽的。

> These learning rates aren't from the table above; they were chosen earlier on all training pictures but {kept_back}
> kept back: ten epochs, seed 0, a few values, the best one. Flips and shifts were drawn a whole batch at a time then.

## 学习率是怎么选的 · How the learning rates were chosen

训练图片里留出 {kept_back} 张，不拿来训练，只用来比较。下表是在这些图片上的正确率，十轮，种子 0；粗的是选中的。
只有一个种子，所以相差不到 0.01 的说明不了什么；选中的要是最边上的那个值，更好的也许还在外面。0 是练着练着发散了。
测试集上什么也没有挑。“每轮打乱”沿用上一行的学习率。

> {kept_back} of the training pictures were kept back, not trained on, only compared by. The table has the accuracy on
> them after ten epochs, seed 0; bold is what was chosen. With one seed, differences under 0.01 say little; where the
> chosen rate is the last of those tried, a better one may lie beyond. 0 stands for a training that diverged. Nothing
> was chosen on the test set. *Shuffled* takes the rate of the row before it.

{trial_table}
"""


if __name__ == "__main__":
    main()
