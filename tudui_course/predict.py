"""One's own pictures: what a trained network takes them for."""

import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from tudui_course.checkpoint import load_model
from tudui_course.console import harmless
from tudui_course.data.drawings import CLASSES
from tudui_course.data.picture import open_picture
from tudui_course.errors import InputError, StorageError
from tudui_course.plots import make_legible, plot_probabilities
from tudui_course.recipe import stored_recipe
from tudui_course.runtime import choose_device, write_whole

MOST_ROWS = 50  # of a figure, or few programs could open it
MADE_BY = "tudui predict"  # stands in our figures, so that nothing else is ever replaced
TRAINED_ON = {
    "pictograms": "drawings (Pictograms) and has never seen a photograph; for one that has: tudui predict photographs",
    "cifar10": "small photographs (CIFAR-10) and has never seen a drawing",
}
Picture = Path | str | Tensor


class Prediction(NamedTuple):
    """What a network takes a picture for.

    Attributes:
        label: the most probable class.
        probability: that class's.
        probabilities: all classes and their probabilities, the most probable first; they add up to 1.
    """

    label: str
    probability: float
    probabilities: dict[str, float]

    def top(self, count: int = 3) -> list[tuple[str, float]]:
        """The `count` most probable classes with their probabilities."""
        return list(self.probabilities.items())[:count]


@torch.no_grad()
def predict(
    model: nn.Module,
    pictures: Sequence[Picture] | Tensor,
    classes: Sequence[str],
    device: torch.device | str = "cpu",
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> list[Prediction]:
    """Say what a network takes pictures for; it is left in eval mode.

    Args:
        model: maps images (N, 3, 32, 32) to logits (N, C); it is already on the device.
        pictures: files of any size and mode, or images (3, 32, 32), float in [0, 1]; also a whole batch of those.
        classes: C names, in the order of the logits.
        device: where the model is.
        transform: what the pictures went through at training, for example `Recipe.test_transform()`; None for nothing.

    Returns:
        A prediction for each picture, computed in float32.

    Raises:
        InputError: a file is no picture that can be read, the names don't fit the logits, or the network answers with
            NaN or infinity.
    """
    model.eval()
    if not len(pictures):
        return []
    images = pictures if isinstance(pictures, Tensor) else torch.stack([as_image(picture) for picture in pictures])
    images = transform(images) if transform else images
    logits = torch.cat([model(part.to(device)).float().cpu() for part in images.split(256)])
    if logits.shape[1] != len(classes):
        raise InputError(f"{len(classes)} names were given for a network of {logits.shape[1]} classes.")
    if not logits.isfinite().all():
        raise InputError(
            "the network answers with NaN or infinity: its training went wrong; use an earlier checkpoint."
        )
    predictions = []
    for row in logits.softmax(1):
        probabilities, order = row.sort(descending=True, stable=True)  # of equals the first in the order of the logits
        names = [classes[index] for index in order.tolist()]
        by_rank = dict(zip(names, probabilities.tolist(), strict=True))
        predictions.append(Prediction(names[0], probabilities[0].item(), by_rank))
    return predictions


def as_image(picture: Picture) -> Tensor:
    """A file as the network sees it, (3, 32, 32) float32 in [0, 1]; a tensor as it is."""
    if isinstance(picture, Tensor):
        return picture
    return to_tensor(open_picture(picture))


def predict_files(
    checkpoint: Path | str,
    paths: Sequence[Path],
    device: str = "auto",
    *,
    as_json: bool = False,
    figure: Path | None = None,
) -> int:
    """Print what a checkpoint's network takes pictures for; files that can't be read are named on stderr, and left out.

    Args:
        checkpoint: a file that `load_model` reads, saved on whatever device; or "photographs".
        device: as for `choose_device`.
        as_json: print one JSON array, an object for each file, and nothing else.
        figure: a PNG file to draw the pictures into, as they are and as the network sees them.

    Returns:
        How many files could not be read.

    Raises:
        InputError, NotFoundError: no pictures are given, checkpoint, device or figure can't be used.
    """
    if not paths:
        raise InputError("no picture is given: tudui predict CHECKPOINT PICTURE...")
    if figure:
        check_figure(figure)
    device = choose_device(device)
    model, content = load_model(checkpoint, device)
    for sentence in () if as_json else content.get("said", ()):
        print(f"understood  {harmless(sentence)}")
    transform = stored_recipe(content["settings"]).test_transform()
    images, errors = read_pictures(paths)
    found = predict(model, list(images.values()), content["classes"] or CLASSES, device, transform=transform)
    predictions = dict(zip(images, found, strict=True))
    if as_json:
        print(json.dumps([as_object(path, predictions.get(path), errors.get(path)) for path in paths], indent=1))
    elif predictions:
        print_predictions(predictions, content["settings"].get("data"))
    if figure and predictions:
        draw_figure(predictions, images, figure)
        if not as_json:
            print(f"figure  {figure}")
    return len(errors)


def read_pictures(paths: Sequence[Path]) -> tuple[dict[Path, Tensor], dict[Path, str]]:
    """The pictures that can be read, and why the others can't; that is also said on stderr."""
    images, errors = {}, {}
    for path in dict.fromkeys(paths):
        try:
            images[path] = as_image(path)
        except InputError as error:
            errors[path] = str(error)
            print(f"tudui: {error}", file=sys.stderr)
    return images, errors


def as_object(path: Path, prediction: Prediction | None, error: str | None) -> dict:
    """One file's entry in the JSON array."""
    if prediction is None:
        return {"file": str(path), "error": error}
    label, probability, probabilities = prediction
    return {"file": str(path), "class": label, "probability": probability, "probabilities": probabilities}


def print_predictions(predictions: dict[Path, Prediction], data: str | None) -> None:
    """The most probable classes of each picture, and what such a probability is not."""
    for path, prediction in predictions.items():
        print(path)
        for label, probability in prediction.top():
            print(f"  {harmless(label):14s}  {probability:.4f}")
    count = len(prediction.probabilities)
    print(f"\nA probability is the network's own, no certainty: it picks one of its {count} classes for any picture.")
    if data in TRAINED_ON:
        print(f"This one was trained on {TRAINED_ON[data]}.")


def check_figure(path: Path) -> None:
    """Raise InputError unless a figure can be written there without destroying anything."""
    if path.suffix.lower() != ".png":
        raise InputError(f"figure {path} doesn't end in .png, the format it is written in.")
    if not path.parent.is_dir():
        raise InputError(f"figure {path}: the folder {path.parent} doesn't exist; make it first.")
    if os.path.lexists(path) and not is_own_figure(path):
        raise InputError(f"figure {path} exists and was not made by {MADE_BY}; give another name.")


def is_own_figure(path: Path) -> bool:
    """Whether a file is a figure of an earlier call, which may be replaced."""
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == MADE_BY
    except Exception:  # whatever it is, it isn't ours
        return False


def draw_figure(predictions: dict[Path, Prediction], images: dict[Path, Tensor], path: Path) -> None:
    """Draw a row for each file: as it is, as the network saw it (`images`, (3, 32, 32) in [0, 1]), and the answer.

    Raises:
        StorageError: the PNG file can't be written; a figure that was there before is intact.
    """
    rows = list(predictions.items())[:MOST_ROWS]
    figure = Figure(figsize=(7, 1.9 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1, 1, 1.4))
    with warnings.catch_warnings(action="ignore"):  # of letters that no font has; below they are told at once
        for (file, prediction), (original, seen, bars) in zip(rows, axes, strict=True):
            original.imshow(np.asarray(open_picture(file, 256, crop=False)))
            original.set_title(shortened(file.name), fontsize=9, parse_math=False)
            seen.imshow(images[file].permute(1, 2, 0).numpy(), interpolation="nearest")
            seen.set_title("as the network sees it", fontsize=9)
            for ax in (original, seen):
                ax.set_axis_off()
            plot_probabilities(prediction.top(), ax=bars)
    if len(predictions) > MOST_ROWS:
        figure.suptitle(f"the first {MOST_ROWS} of {len(predictions)} pictures")
    make_legible(figure)
    drawn = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # matplotlib's, a line for each letter that no font has
        figure.savefig(drawn, dpi=120, metadata={"Software": MADE_BY})
    try:
        write_whole(path, drawn.getbuffer())
    except OSError as error:
        raise StorageError(f"figure {path} can't be written: {error.strerror or error}.") from None


def shortened(name: str, length: int = 28) -> str:
    """A file name that fits above a picture."""
    name = name.encode("utf-8", "replace").decode()
    return name if len(name) <= length else f"{name[: length // 2]}...{name[-length // 2 + 3 :]}"
