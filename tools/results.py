"""Train the lesson's recipe with three seeds and write docs/results.json, .md and .png beside the lesson's figures.

    python tools/results.py DIR        DIR/train/<class>/* and DIR/test/<class>/*, or cifar10

Runs that are already complete under runs/results/ are read, not repeated; one that was stopped is resumed.
"""

import json
import statistics
import sys
from pathlib import Path

from torch.utils.data import DataLoader

from tudui_course import doctor, plots, run, run_folder
from tudui_course.checkpoint import load_model
from tudui_course.data.loaders import make_loaders, read_data
from tudui_course.loop import evaluate, train_one_epoch
from tudui_course.recipe import SEED
from tudui_course.runtime import runs_dir
from tudui_course.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = (0, 1, 2)
JPEG = "CIFAR-10 pictures as JPEG copies (quality 75), not the official files"
MACHINE = "{cpu}, {cores} cores, {system}, torch {torch}"


def train_seed(data: str, order: str, seed: int) -> dict:
    """Train one seed, or read its finished run; its test loss (sum over batches) and accuracy, epoch by epoch."""
    run_dir = runs_dir() / "results" / f"{Path(data).name}-{order}-seed{seed}"
    settings = Settings(data=data, order=order, seed=seed, precision="float32")
    history = run.train(settings, run_dir, resume=run_folder.holds_run(run_dir))
    return {
        "seed": seed,
        "test_loss_sum": [row.test.batch_loss_sum for row in history],
        "test_accuracy": [row.test.accuracy for row in history],
    }


def one_more_step(data: str, seed: int) -> dict:
    """Test accuracy of a finished shuffled run, and after one more step: on as few pictures as were left out, or on 64.

    The full batch is the control: what any further step does to the accuracy.
    """
    settings = Settings(data=data, seed=seed)
    train_set, test_set = read_data(data)
    _, test_loader = make_loaders(train_set, test_set, settings.batch_size)
    folder = runs_dir() / "results" / f"{Path(data).name}-shuffled-seed{seed}"
    loss_fn, few = SEED.loss_fn(), len(train_set) % settings.batch_size
    measured = {"seed": seed, "pictures": few}
    for name, count in {"before": 0, "after": few, "after_full_batch": settings.batch_size}.items():
        model, _ = load_model(folder / run_folder.epoch_name(settings.epochs - 1))
        if count:
            train_one_epoch(model, DataLoader(train_set.first(count), count), loss_fn, SEED.optimizer(model))
        measured[name] = evaluate(model, test_loader, loss_fn).accuracy
    return measured


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
    """Each seed's figures after the last epoch, and after one more step on a small or on a full batch, as Markdown."""
    few = results["one_more_step"][0]["pictures"]
    lines = [
        f"| order | seed | loss sum | accuracy | after one more step on {few} | after one more step on a full batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    steps = {one["seed"]: f"{one['after']:.4f} | {one['after_full_batch']:.4f}" for one in results["one_more_step"]}
    for order, key in (("fixed", "runs"), ("shuffled", "shuffled_runs")):
        lines += [
            f"| {order} | {one['seed']} | {one['test_loss_sum'][-1]:.1f} | {one['test_accuracy'][-1]:.4f} "
            f"| {steps[one['seed']] if order == 'shuffled' else ' | '} |"
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
    lesson = json.loads((DOCS / "lesson_figures.json").read_text(encoding="utf-8"))["runs"][0]
    results = {
        "data": "CIFAR-10" if data == "cifar10" else JPEG,
        "machine": MACHINE.format(**doctor.machine()),
        "command": f"python tools/results.py {'cifar10' if data == 'cifar10' else 'DIR'}",
        "lesson": lesson,
        "runs": [train_seed(data, "fixed", seed) for seed in SEEDS],
        "shuffled_runs": [train_seed(data, "shuffled", seed) for seed in SEEDS],
        "one_more_step": [one_more_step(data, seed) for seed in SEEDS],
    }
    (DOCS / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, DOCS / "results.png")
    small = results["one_more_step"][0]["pictures"]
    (DOCS / "results.md").write_text(
        REPORT.format(**results, table=table(results), last_epoch=last_epoch(results), small=small), encoding="utf-8"
    )
    print(table(results))


REPORT = """# 原课程的配方，再跑几遍 · The lesson's recipe, run again

SGD，学习率 0.01，批大小 64，10 轮，float32，各用三个随机种子。

> SGD, learning rate 0.01, batch 64, 10 epochs, float32, three seeds each.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine} |
| 命令 · command | `{command}` |

原课程没有打乱训练集：CIFAR-10 的图片本来就次序混杂，每一轮都按同一个次序走。“固定次序”也是这样，只是每个种子
另取一个混杂的次序。“打乱”是每轮换一个次序，不满的最后一批不用：这是本课程教的做法，也是 `tudui train` 的默认做法。

> The lesson doesn't shuffle: CIFAR-10's pictures lie in a mixed order anyway, and each epoch goes through them in that
> one order. So does *fixed order*, with another mixed order for each seed. *Shuffled* takes a new order in each epoch
> and leaves out a last batch that isn't full, which is what the course teaches and `tudui train` does by default.

图：测试损失与测试正确率随轮次的变化，线是三个种子的平均，色带从最小到最大，黑色虚线是原课程打印的数字。

> The figure: test loss and test accuracy by epoch; lines are means of three seeds, bands reach from the least to the
> most, and the dashed black line is what the lesson prints.

![Test loss and test accuracy by epoch: the lesson's figures, ours in a fixed order, ours shuffled](results.png)

{table}

± 是三个种子的标准差。损失之和照原课程，是 157 个批次平均损失相加；原课程的两列取自它的笔记第 10 节，用的是官方文件。

> ± is the standard deviation of three seeds. The loss sum adds up 157 batch means, as the lesson does; the lesson's
> column is what its note prints in section 10, on the official files.

## 最后一轮之后 · After the last epoch

{last_epoch}

打乱时，一轮只用满批：50,000 张图分成 781 批，剩下的 {small} 张这一轮不用，下一轮剩下的又是另外 {small} 张。
为什么？看最后两列：训练好的网络再走一步，用这样一小批，或用满的一批（对照），正确率变成多少。小批的梯度平均起来
并不偏，只是更吵：张数少到四分之一，散布大到两倍，步长却和平时一样，而这一步之后马上就测试。`DataLoader` 的参数
`drop_last=True` 说的就是这件事。

> Shuffled, an epoch uses full batches only: 50,000 pictures make 781 of them, and the {small} left over wait for the
> next epoch, which leaves out {small} others. Why? The last two columns are what a single further step does to the
> trained network's accuracy, on so small a batch and, as a control, on a full one. A small batch's gradient isn't
> biased, only noisier: with a quarter of the pictures it spreads twice as far, the step is as long as ever, and the
> test would follow right after it. The `DataLoader`'s name for this is `drop_last=True`.
"""


if __name__ == "__main__":
    main()
