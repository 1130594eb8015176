"""Train the lesson's recipe with three seeds and write docs/results.json, .md and .png beside the lesson's figures.

    python tools/results.py DIR        DIR/train/<class>/* and DIR/test/<class>/*, or cifar10

Runs that are already complete under runs/results/ are read, not repeated; one that was stopped is resumed.
"""

import json
import os
import platform
import statistics
import sys
from pathlib import Path

import torch

from tudui_course import plots, run
from tudui_course.runtime import runs_dir
from tudui_course.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = (0, 1, 2)


def train_seed(data: str, seed: int) -> dict:
    """Train one seed, or read its finished run; its test loss (sum over batches) and accuracy, epoch by epoch."""
    run_dir = runs_dir() / "results" / f"{Path(data).name}-seed{seed}"
    settings = Settings(data=data, seed=seed, precision="float32")
    history = run.train(settings, run_dir, resume=bool(run.epoch_checkpoints(run_dir)))
    return {
        "seed": seed,
        "test_loss_sum": [row.test.batch_loss_sum for row in history],
        "test_accuracy": [row.test.accuracy for row in history],
    }


def machine() -> str:
    """This machine in words."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"


def table(results: dict) -> str:
    """The epochs of all seeds beside the lesson's, as Markdown."""
    runs, lesson = results["runs"], results["lesson"]
    lines = [
        "| epoch | lesson: loss sum | ours: loss sum, mean ± spread | lesson: accuracy | ours: accuracy, mean ± spread |"
        + "".join(f" seed {one['seed']} |" for one in runs),
        "| ---: | ---: | ---: | ---: | ---: |" + " ---: |" * len(runs),
    ]
    for epoch in range(len(runs[0]["test_accuracy"])):
        losses, accuracies = ([one[key][epoch] for one in runs] for key in ("test_loss_sum", "test_accuracy"))
        lines.append(
            f"| {epoch + 1} | {lesson['test_loss_sum'][epoch]:.1f} "
            f"| {statistics.mean(losses):.1f} ± {statistics.stdev(losses):.1f} "
            f"| {lesson['test_accuracy'][epoch]:.3f} "
            f"| {statistics.mean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f} |"
            + "".join(f" {accuracy:.4f} |" for accuracy in accuracies)
        )
    return "\n".join(lines)


def plot(results: dict, path: Path) -> None:
    """Test loss and accuracy by epoch: the lesson's line, ours as a mean with the range of the seeds."""
    figure, axes = plots.plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    keys = ("test_loss_sum", "test loss, summed over the batches"), ("test_accuracy", "test accuracy")
    for ax, (key, label) in zip(axes, keys, strict=True):
        plots.plot_runs([one[key] for one in results["runs"]], "ours, 3 seeds: mean and range", ax=ax)
        ax.plot(range(1, 11), results["lesson"][key], color=plots.RED, linestyle="--", label="printed in the lesson")
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
        "runs": [train_seed(data, seed) for seed in SEEDS],
    }
    (DOCS / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, DOCS / "results.png")
    (DOCS / "results.md").write_text(
        "# The lesson's recipe, run three times\n\n"
        f"SGD, learning rate 0.01, batch 64, 10 epochs, float32, shuffled; data: {results['data']}.\n"
        f"Machine: {results['machine']}. Made by `{results['command']}`.\n\n"
        "![Test loss and test accuracy by epoch, ours beside the lesson's](results.png)\n\n"
        f"{table(results)}\n\n"
        "The lesson's column is what its note prints in section 10 (not shuffled, official CIFAR-10). "
        "The loss sum adds up 157 batch means, as the lesson does; spread is the standard deviation of three seeds.\n",
        encoding="utf-8",
    )
    print(table(results))


if __name__ == "__main__":
    main()
