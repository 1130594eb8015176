"""Try what the records in training fast on CIFAR-10 do beside the fast recipe; write docs/tricks.json and tricks.md.

    python tools/tricks.py DIR                  DIR/train/<class>/* and DIR/test/<class>/*, or cifar10
    python tools/tricks.py DIR whitened ...     only these trials, and no report: for several terminals side by side
    python tools/tricks.py DIR --one whitened 0 one trial, one seed

All is measured on 5,000 training pictures kept back. Trials that are finished (runs/tricks/*.json) are read, not
repeated. Source of the tricks: K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024.
"""

import functools
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from recipes import DEVICE, KEPT_BACK, SEEDS, pictures_of
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from tudui_course import run
from tudui_course.data.loaders import InMemory
from tudui_course.errors import DivergedError
from tudui_course.loop import evaluate, fit
from tudui_course.recipe import FAST, Recipe, mirror_and_shift
from tudui_course.runtime import choose_precision, runs_dir

EPOCHS = 10


@dataclass(frozen=True)
class Trial:
    """The fast recipe with something changed.

    Attributes:
        recipe: with another learning rate, decay ...
        network: a name in `MODELS`.
        whitened: the first convolution begins with filters that decorrelate the pictures' 5x5 patches.
        frozen: ... and keeps them.
        alternating: each picture is mirrored in every other epoch, instead of at random.
        batch: pictures a step.
        dropout: of `TuduiNorm`; None for its own.
    """

    recipe: Recipe = FAST
    network: str = "Tudui"
    whitened: bool = False
    frozen: bool = False
    alternating: bool = False
    batch: int = 64
    dropout: float | None = None


def fast(**changes: float) -> Recipe:
    return replace(FAST, **changes)


TRIALS = {
    "fast": Trial(),
    "lr 0.02": Trial(fast(lr=0.02)),
    "lr 0.05": Trial(fast(lr=0.05)),
    "lr 0.05, clip 1": Trial(fast(lr=0.05, clip=1.0)),
    "decay 1e-3": Trial(fast(weight_decay=1e-3)),
    "decay 2e-3": Trial(fast(weight_decay=2e-3)),
    "smoothing 0.1": Trial(fast(label_smoothing=0.1)),
    "batch 32, lr 0.02": Trial(fast(lr=0.02), batch=32),
    "batch 128, lr 0.06": Trial(fast(lr=0.06), batch=128),
    "alternating": Trial(alternating=True),
    "whitened": Trial(whitened=True),
    "whitened, frozen": Trial(whitened=True, frozen=True),
    "whitened, lr 0.02": Trial(fast(lr=0.02), whitened=True),
    "whitened, decay 1e-3": Trial(fast(weight_decay=1e-3), whitened=True),
    "norm": Trial(fast(lr=0.05), "TuduiNorm"),
    "norm, lr 0.1": Trial(fast(lr=0.1), "TuduiNorm"),
    "norm, lr 0.1, decay 1e-3": Trial(fast(lr=0.1, weight_decay=1e-3), "TuduiNorm"),
    "norm, decay 2e-3": Trial(fast(lr=0.05, weight_decay=2e-3), "TuduiNorm"),
    "norm, decay 5e-3": Trial(fast(lr=0.05, weight_decay=5e-3), "TuduiNorm"),
    "norm, dropout 0.1": Trial(fast(lr=0.05), "TuduiNorm", dropout=0.1),
    "norm, dropout 0": Trial(fast(lr=0.05), "TuduiNorm", dropout=0.0),
    "norm, smoothing 0.1": Trial(fast(lr=0.05, label_smoothing=0.1), "TuduiNorm"),
    "norm, no clipping": Trial(fast(lr=0.05, clip=0.0), "TuduiNorm"),
    "norm, whitened": Trial(fast(lr=0.05), "TuduiNorm", whitened=True),
    "norm, whitened, dropout 0.1, decay 2e-3": Trial(
        fast(lr=0.05, weight_decay=2e-3), "TuduiNorm", whitened=True, dropout=0.1
    ),
    "norm, alternating": Trial(fast(lr=0.05), "TuduiNorm", alternating=True),
    "norm, batch 128, lr 0.1": Trial(fast(lr=0.1), "TuduiNorm", batch=128),
}
MEASURED = ("plain", "mirrored", "averaged", "averaged, mirrored")


class Mirrored(nn.Module):
    """A network that looks at each picture and its mirror image, and gives the mean of the logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return (self.module(images) + self.module(images.flip(3))) / 2


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


class Alternating:
    """Mirror a picture in even or in odd epochs, as a number made from its pixels decides, and shift it at random."""

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0

    def __call__(self, images: Tensor) -> Tensor:
        number = (images[:, :, ::3, ::3].sum((1, 2, 3)) * 255).round().long()
        mirrored = (number + self.seen // self.count) % 2 == 1
        self.seen += len(images)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return shifted(images)


def shifted(images: Tensor) -> Tensor:
    """Shift at random, without mirroring: where that mirrored a picture, mirror it back."""
    both = torch.cat((images, torch.arange(32.0).expand(len(images), 1, 32, 32)), 1)
    moved = mirror_and_shift(both)
    back = (moved[:, -1, 0, 16] < moved[:, -1, 0, 15])[:, None, None, None]
    return torch.where(back, moved.flip(3), moved)[:, :-1]


def train(data: str, name: str, seed: int, trial: bool = True) -> dict[str, float]:
    """Train once, or read what it gave: accuracy on pictures kept back (or the test set), measured in four ways."""
    kind = "trial" if trial else "run"
    result = runs_dir() / "tricks" / f"{Path(data).name}-{kind}-{name}-seed{seed}.json"
    if not result.is_file():
        result.parent.mkdir(parents=True, exist_ok=True)
        train_set, test_set = pictures_of(data)
        if trial:
            train_set, test_set = train_set.split(KEPT_BACK)
        try:
            found = accuracies(TRIALS[name], train_set, test_set, seed)
        except DivergedError as error:
            print(f"{name}, seed {seed}: {error}", flush=True)
            found = dict.fromkeys(MEASURED, 0.0)
        result.write_text(json.dumps(found), encoding="utf-8")
    found = json.loads(result.read_text(encoding="utf-8"))
    print(f"{kind} {name}, seed {seed}: {found}", flush=True)
    return found


def accuracies(trial: Trial, train_set: InMemory, test_set: InMemory, seed: int) -> dict[str, float]:
    parts = run.assemble(
        trial.recipe, trial.network, train_set, test_set, epochs=EPOCHS, batch_size=trial.batch, seed=seed,
        device=str(DEVICE),
    )  # fmt: skip
    model, (train_loader, test_loader), *_ = parts
    if trial.whitened:
        images = trial.recipe.test_transform()(train_set.images[:5_000].float() / 255)
        whiten(model, images)
        model.model1[0].requires_grad_(not trial.frozen)
    if trial.alternating:
        train_loader.dataset.transform = compose(Alternating(len(train_loader) * trial.batch), trial.recipe)
    if trial.dropout is not None:
        next(layer for layer in model.modules() if isinstance(layer, nn.Dropout)).p = trial.dropout
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    parts.optimizer.register_step_post_hook(lambda *_: average.update_parameters(model))
    fit(
        model, parts.loaders, parts.loss_fn, parts.optimizer, DEVICE, epochs=EPOCHS, scheduler=parts.scheduler,
        precision=choose_precision("auto", DEVICE),
    )  # fmt: skip
    if trial.network == "TuduiNorm":
        update_bn(((images.to(DEVICE), targets) for images, targets in train_loader), average)
    networks = (model, Mirrored(model), average, Mirrored(average))
    measure = functools.partial(evaluate, loader=test_loader, loss_fn=parts.loss_fn, device=DEVICE)
    return {name: measure(network).accuracy for name, network in zip(MEASURED, networks, strict=True)}


def compose(first: Alternating, recipe: Recipe):
    normalize = recipe.test_transform()
    return lambda images: normalize(first(images))


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    data, names = sys.argv[1], sys.argv[2:]
    if names[:1] == ["--one"]:
        train(data, names[1], int(names[2]))
        return
    found = {name: [train(data, name, seed) for seed in SEEDS] for name in names or TRIALS}
    if names:
        return
    print(found)


if __name__ == "__main__":
    main()
