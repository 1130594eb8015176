"""Try what records in training fast on CIFAR-10 do besides, with `--recipe fast`; write docs/tricks.json and tricks.md.

    python tools/tricks.py DIR                DIR/train/<class>/* and DIR/test/<class>/*, or cifar10
    python tools/tricks.py DIR NAME ...       only these trials, and no report: for several terminals side by side

Measured on training pictures kept back, seed 0. Trials that are finished (runs/tricks/*.json) are read, not repeated.
Source of the tricks: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from recipes import DEVICE, KEPT_BACK, pictures_of
from results import DOCS, JPEG, MACHINE
from torch import Tensor, nn

from tudui_course import doctor, run
from tudui_course.data.loaders import InMemory
from tudui_course.errors import DivergedError
from tudui_course.loop import evaluate, fit
from tudui_course.model import Views
from tudui_course.recipe import FAST, Recipe, mirror_and_shift
from tudui_course.runtime import choose_precision, runs_dir

EPOCHS = 10


class Trial(NamedTuple):
    """The fast recipe with something changed.

    Attributes:
        title: Chinese and English.
        recipe: with another learning rate, decay ...
        network: a name in `MODELS`.
        batch: pictures a step.
        dropout: of `TuduiNorm`; None for its own.
        whitened: the first convolution begins with filters that make the pictures' 5x5 patches uncorrelated.
        larger: weights begin larger, so that the pictures' variance is kept from layer to layer.
        alternating: each picture is mirrored in every other epoch, instead of at random.
    """

    title: str
    recipe: Recipe = FAST
    network: str = "Tudui"
    batch: int = 64
    dropout: float | None = None
    whitened: bool = False
    larger: bool = False
    alternating: bool = False


def fast(**changes: float) -> Recipe:
    return replace(FAST, **changes)


NORM = "TuduiNorm"
TRIALS = {
    "fast": Trial("配方 `fast` · the recipe `fast`"),
    "lr": Trial("学习率 0.02 · learning rate 0.02", fast(lr=0.02)),
    "batch": Trial("批 32，学习率 0.02 · batch 32, rate 0.02", fast(lr=0.02), batch=32),
    "smoothing": Trial("标签平滑 0.1 · label smoothing 0.1", fast(label_smoothing=0.1)),
    "whitened": Trial("第一层白化 · whitening first layer", whitened=True),
    "larger": Trial("初始权重大些（Kaiming） · larger initial weights (Kaiming)", larger=True),
    "alternating": Trial("隔一轮翻转一次 · mirrored in every other epoch", alternating=True),
    "norm": Trial("`TuduiNorm`，学习率 0.05 · `TuduiNorm`, rate 0.05", fast(lr=0.05), NORM),
    "norm-dropout": Trial("同上，没有 Dropout · the same without dropout", fast(lr=0.05), NORM, dropout=0.0),
    "norm-whitened": Trial(
        "再加第一层白化 · and whitening first layer", fast(lr=0.05), NORM, dropout=0.0, whitened=True
    ),
    "norm-decay": Trial(
        "没有 Dropout，权重衰减 0.002 · no dropout, weight decay 0.002",
        fast(lr=0.05, weight_decay=2e-3), NORM, dropout=0.0,
    ),
    "norm-rate": Trial("再加学习率 0.1 · and rate 0.1, too", fast(lr=0.1, weight_decay=2e-3), NORM, dropout=0.0),
    "norm-smoothing": Trial(
        "学习率和 Dropout 各 0.1，衰减 0.001，平滑 0.1 · rate and dropout 0.1, decay 0.001, smoothing 0.1",
        fast(lr=0.1, weight_decay=1e-3, label_smoothing=0.1), NORM, dropout=0.1,
    ),
}  # fmt: skip
MEASURED = ("plain", "mirrored")


def whiten(model: nn.Module, images: Tensor) -> None:
    """Give the first convolution filters that make 5x5 patches uncorrelated: the 16 strongest, and their negatives.

    Args:
        images: (N, 3, 32, 32), normalized.
    """
    layer = model.model1[0]
    patches = nn.functional.unfold(images, 5).permute(0, 2, 1).reshape(-1, 75)  # channel, row, column
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    filters = (vectors / (values + 1e-2).sqrt()).T.flip(0)[:16].reshape(16, 3, 5, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.cat((filters, -filters)))
        if layer.bias is not None:
            layer.bias.zero_()


def enlarge(model: nn.Module) -> None:
    """Draw the weights anew with the variance of K. He et al., 2015, for layers without an activation."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")


class Alternating:
    """Mirror a picture in even or in odd epochs, as a number made from its pixels decides, and shift it at random.

    Args:
        count: pictures an epoch.
        normalize: what follows.
    """

    def __init__(self, count: int, normalize: Callable[[Tensor], Tensor]) -> None:
        self.count, self.normalize, self.seen = count, normalize, 0

    def __call__(self, images: Tensor) -> Tensor:
        number = (images[:, :, ::3, ::3].sum((1, 2, 3)) * 255).round().long()
        mirrored = (number + self.seen // self.count) % 2 == 1
        self.seen += len(images)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        # mirror_and_shift mirrors too: a fourth channel that counts columns shows where, to be undone.
        marked = mirror_and_shift(torch.cat((images, torch.arange(32.0).expand(len(images), 1, 32, 32)), 1))
        undo = (marked[:, -1, 0, 16] < marked[:, -1, 0, 15])[:, None, None, None]
        return self.normalize(torch.where(undo, marked.flip(3), marked)[:, :-1])


def train(data: str, name: str) -> dict[str, float]:
    """Train a trial, or read what it gave: accuracy on pictures kept back, seen once and twice; 0 where it diverged."""
    path = runs_dir() / "tricks" / f"{Path(data).name}-{name}.json"
    if not path.is_file():
        train_set, kept_back = pictures_of(data)[0].split(KEPT_BACK)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            accuracies = measure(TRIALS[name], train_set, kept_back)
        except DivergedError as error:
            print(f"{name}: {error}", flush=True)
            accuracies = dict.fromkeys(MEASURED, 0.0)
        path.write_text(json.dumps(accuracies), encoding="utf-8")
    accuracies = json.loads(path.read_text(encoding="utf-8"))
    print(name, accuracies, flush=True)
    return accuracies


def measure(trial: Trial, train_set: InMemory, test_set: InMemory) -> dict[str, float]:
    parts = run.assemble(
        trial.recipe, trial.network, train_set, test_set, epochs=EPOCHS, batch_size=trial.batch, device=str(DEVICE)
    )
    model, (train_loader, test_loader), *_ = parts
    if trial.whitened:
        whiten(model, trial.recipe.test_transform()(train_set.images[:5_000].float() / 255))
    if trial.larger:
        enlarge(model)
    if trial.alternating:
        normalize = trial.recipe.test_transform()
        train_loader.dataset.transform = Alternating(len(train_loader) * trial.batch, normalize)
    if trial.dropout is not None:
        next(layer for layer in model.modules() if isinstance(layer, nn.Dropout)).p = trial.dropout
    fit(
        model, parts.loaders, parts.loss_fn, parts.optimizer, DEVICE, epochs=EPOCHS, scheduler=parts.scheduler,
        precision=choose_precision("auto", DEVICE),
    )  # fmt: skip
    ways = zip(MEASURED, (model, Views(model, 2)), strict=True)
    return {name: evaluate(network, test_loader, parts.loss_fn, DEVICE).accuracy for name, network in ways}


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data, names = sys.argv[1], sys.argv[2:]
    found = {name: train(data, name) for name in names or TRIALS}
    if names:
        return
    facts = {
        "data": "CIFAR-10" if data == "cifar10" else JPEG,
        "machine": MACHINE.format(**doctor.machine()),
        "precision": choose_precision("auto", DEVICE),
        "command": f"python tools/tricks.py {'cifar10' if data == 'cifar10' else 'DIR'}",
    }
    (DOCS / "tricks.json").write_text(json.dumps({**facts, "trials": found}, indent=1) + "\n", encoding="utf-8")
    rows = [
        f"| {TRIALS[name].title} | {' | '.join(f'{one[way]:.4f}' for way in MEASURED)} |" for name, one in found.items()
    ]
    report = REPORT.format(**facts, rows="\n".join(rows), kept_back=f"{KEPT_BACK:,}", epochs=EPOCHS)
    (DOCS / "tricks.md").write_text(report, encoding="utf-8")


REPORT = """# 别人的窍门 · Tricks of the record holders

在 CIFAR-10 上练得最快的那些程序，用了不少窍门（K. Jordan, “94% on CIFAR-10 in 3.29 seconds on a single
GPU”, 2024）。这里把配得上我们网络的几样，在配方 `fast` 上试一试：留出 {kept_back} 张训练图片来量，{epochs} 轮，
种子 0。只有一个种子，相差不到 0.01 的说明不了什么。

> The programs that train fastest on CIFAR-10 use many tricks (K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single
> GPU", 2024). Those that suit our networks were tried here beside the recipe `fast`: measured on {kept_back} training
> pictures kept back, {epochs} epochs, seed 0. With one seed, differences under 0.01 say little.

| | |
| --- | --- |
| 数据 · data | {data} |
| 机器 · machine | {machine}, {precision} |
| 命令 · command | `{command}` |

| | 正确率 · accuracy | `--views 2` |
| --- | ---: | ---: |
{rows}

`--views 2`：测试时每张图和它的镜像都看，取平均（`tudui evaluate`）。

> `--views 2`: in the test each picture and its mirror image are looked at, and the mean is taken (`tudui evaluate`).
"""


if __name__ == "__main__":
    main()
