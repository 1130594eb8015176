"""Train the lesson's recipe with three seeds and write docs/results.json, .md and .png beside the lesson's figures.

    python tools/results.py DIR        DIR/train/<class>/* and DIR/test/<class>/*, or cifar10

Runs that are already complete under runs/results/ are read, not repeated; one that was stopped is resumed.
"""

import itertools
import json
import os
import platform
import statistics
import sys
from pathlib import Path

import torch

from tudui_course import plots, run
from tudui_course.checkpoint import read_checkpoint, restore
from tudui_course.data.loaders import make_loaders, read_data
from tudui_course.loop import evaluate, train_one_epoch
from tudui_course.model import Tudui
from tudui_course.runtime import place, runs_dir
from tudui_course.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = (0, 1, 2)


def train_seed(data: str, order: str, seed: int) -> dict:
    """Train one seed, or read its finished run; its test loss (sum over batches) and accuracy, epoch by epoch."""
    run_dir = runs_dir() / "results" / f"{Path(data).name}-{order}-seed{seed}"
    settings = Settings(data=data, order=order, seed=seed, precision="float32")
    history = run.train(settings, run_dir, resume=bool(run.epoch_checkpoints(run_dir)))
    return {
        "seed": seed,
        "test_loss_sum": [row.test.batch_loss_sum for row in history],
        "test_accuracy": [row.test.accuracy for row in history],
    }


def around_last_batch(data: str, order: str, seed: int) -> dict:
    """Repeat a run's last epoch from its checkpoint: test accuracy before and after the last, smaller batch."""
    settings = Settings(data=data, order=order, seed=seed)
    train_set, test_set = read_data(data)
    train_set = train_set if order == "shuffled" else train_set.mixed(seed)
    loaders = make_loaders(train_set, test_set, settings.batch_size, seed=seed, shuffle=order == "shuffled")
    model, loss_fn = place(Tudui(len(train_set.classes)), "cpu"), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr)
    folder = runs_dir() / "results" / f"{Path(data).name}-{order}-seed{seed}"
    progress = restore(read_checkpoint(folder / f"tudui_{settings.epochs - 2}.pth"), model, optimizer)
    loaders[0].generator.set_state(progress.loader_state)
    batches = iter(loaders[0])
    train_one_epoch(model, itertools.islice(batches, len(loaders[0]) - 1), loss_fn, optimizer)
    before = evaluate(model, loaders[1], loss_fn).accuracy
    last = train_one_epoch(model, batches, loss_fn, optimizer)
    after = evaluate(model, loaders[1], loss_fn).accuracy
    assert after == run.newest_checkpoint(folder)["progress"]["history"][-1]["test"]["correct"] / len(test_set), (
        "the repeated epoch didn't end where the run did: run it with as many threads as the run had"
    )
    return {"order": order, "seed": seed, "pictures": last.count, "before": before, "after": after}


def machine() -> str:
    """This machine in words."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"


def table(results: dict) -> str:
    """The epochs of all seeds beside the lesson's, as Markdown."""
    lesson = results["lesson"]
    lines = [
        "| epoch | lesson: loss sum | ours, fixed order | ours, shuffled "
        "| lesson: accuracy | ours, fixed order | ours, shuffled |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for epoch in range(len(lesson["test_accuracy"])):
        cells = [str(epoch + 1)]
        for key, digits in (("test_loss_sum", 1), ("test_accuracy", 3)):
            cells.append(f"{lesson[key][epoch]:.{digits}f}")
            for runs in (results["runs"], results["shuffled_runs"]):
                values = [one[key][epoch] for one in runs]
                cells.append(f"{statistics.mean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def last_epoch(results: dict) -> str:
    """Each seed's figures after the last epoch, and before its last batch, as Markdown."""
    lines = [
        "| order | seed | loss sum | accuracy | accuracy before the last batch |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    ends = iter(results["last_batch"])
    for order, key in (("fixed", "runs"), ("shuffled", "shuffled_runs")):
        lines += [
            f"| {order} | {one['seed']} | {one['test_loss_sum'][-1]:.1f} "
            f"| {one['test_accuracy'][-1]:.4f} | {next(ends)['before']:.4f} |"
            for one in results[key]
        ]
    return "\n".join(lines)


def plot(results: dict, path: Path) -> None:
    """Test loss and accuracy by epoch: the lesson's line, ours as a mean with the range of the seeds."""
    figure, axes = plots.plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    keys = ("test_loss_sum", "test loss, summed over the batches"), ("test_accuracy", "test accuracy")
    for ax, (key, label) in zip(axes, keys, strict=True):
        plots.plot_runs([one[key] for one in results["shuffled_runs"]], "ours, shuffled", plots.ORANGE, ax=ax)
        plots.plot_runs([one[key] for one in results["runs"]], "ours, fixed order", plots.BLUE, ax=ax)
        ax.plot(range(1, 11), results["lesson"][key], color="black", linestyle="--", label="printed in the lesson")
        ax.set(xlabel="epoch", ylabel=label)
        ax.legend(frameon=False)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    data = sys.argv[1]
    name = "CIFAR-10" if data == "cifar10" else "CIFAR-10 pictures as JPEG copies (quality 75), not the official files"
    lesson = json.loads((DOCS / "lesson_figures.json").read_text(encoding="utf-8"))["runs"][0]
    results = {
        "data": name,
        "machine": machine(),
        "command": f"python tools/results.py {'cifar10' if data == 'cifar10' else 'DIR'}",
        "lesson": lesson,
        "runs": [train_seed(data, "fixed", seed) for seed in SEEDS],
        "shuffled_runs": [train_seed(data, "shuffled", seed) for seed in SEEDS],
        "last_batch": [around_last_batch(data, order, seed) for order in ("fixed", "shuffled") for seed in SEEDS],
    }
    (DOCS / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, DOCS / "results.png")
    (DOCS / "results.md").write_text(
        REPORT.format(**results, table=table(results), last_epoch=last_epoch(results)), encoding="utf-8"
    )
    print(table(results))


REPORT = """# 课程的配方，再跑几遍 · The lesson's recipe, run again

SGD，学习率 0.01，批大小 64，10 轮，float32，各用三个随机种子。

> SGD, learning rate 0.01, batch 64, 10 epochs, float32, three seeds each.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine} |
| 命令 · command | `{command}` |

课程没有打乱训练集：CIFAR-10 的图片本来就次序混杂，每一轮都按同一个次序走。“固定次序”也是这样，只是每个种子另取
一个混杂的次序。“打乱”是每轮换一个次序，这是本课程教的做法，也是 `tudui train` 的默认做法。

> The lesson doesn't shuffle: CIFAR-10's pictures lie in a mixed order anyway, and each epoch goes through them in that
> one order. So does *fixed order*, with another mixed order for each seed. *Shuffled* takes a new order in each epoch,
> which is what the course teaches and what `tudui train` does by default.

图：测试损失与测试正确率随轮次的变化，线是三个种子的平均，色带从最小到最大，黑色虚线是课程打印的数字。

> The figure: test loss and test accuracy by epoch; lines are means of three seeds, bands reach from the least to the
> most, and the dashed black line is what the lesson prints.

![Test loss and test accuracy by epoch: the lesson's figures, ours in a fixed order, ours shuffled](results.png)

{table}

± 是三个种子的标准差。损失之和是 157 个批次平均损失相加，和课程一样；课程一列取自它的笔记第 10 节，用的是官方文件。

> ± is the standard deviation of three seeds. The loss sum adds up 157 batch means, as the lesson does; the lesson's
> column is what its note prints in section 10, on the official files.

## 最后一轮之后 · After the last epoch

{last_epoch}

打乱之后，曲线为什么反而乱跳？看最后一列。50,000 张图分成 782 批，最后一批只剩 16 张：图这么少，梯度又大又偏，
学习率却不变，而这一步之后马上就测试。固定次序时，网络每一轮都见过这同样的 16 张，一步伤不了多少；打乱时，它们每次都是
另外 16 张。训练用的 `DataLoader` 加上 `drop_last=True`，就不走这一步。

> Why does shuffling make the curve jump, of all things? Look at the last column. 50,000 pictures make 782 batches, and
> the last one has only 16: so few give a large and lopsided gradient, but the step is as long as ever, and the test
> follows right after it. In a fixed order the network has met those same 16 in every epoch, and one step does little
> harm; shuffled, they are 16 others each time. With `drop_last=True` the training `DataLoader` leaves that step out.
"""


if __name__ == "__main__":
    main()
