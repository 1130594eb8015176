"""Evaluate a checkpoint on the test pictures."""

from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from tudui_course.checkpoint import load_model
from tudui_course.console import harmless
from tudui_course.data.loaders import collate, read_data
from tudui_course.errors import InputError
from tudui_course.loop import predict_batches
from tudui_course.metrics import EpochResult, Totals, confusion_matrix
from tudui_course.model import Views
from tudui_course.recipe import stored_recipe
from tudui_course.report import print_evaluation
from tudui_course.runtime import choose_device


def evaluate_checkpoint(
    path: Path | str, data: str = "", device: str = "auto", batch_size: int = 256, *, views: int = 1
) -> EpochResult:
    """Evaluate a checkpoint on the test pictures and print loss and accuracy, overall and by class.

    Args:
        path: a checkpoint, or a bare state_dict of one of the course's networks.
        data: "pictograms", "cifar10" or a folder; "" for the pictures that its run was tested on.
        device: as for `choose_device`.
        batch_size: pictures at a time.
        views: of each picture, 1, 2 or 6; see `Views`.

    Raises:
        InputError, NotFoundError: the file or the data can't be used; the message says why.
    """
    if batch_size < 1:
        raise InputError(f"batch size is {batch_size}, but a batch needs at least 1 picture: --batch-size 256.")
    device = choose_device(device)
    model, checkpoint = load_model(path, device)
    for sentence in checkpoint.get("said", ()):
        print(f"understood      {harmless(sentence)}")
    stored = checkpoint["settings"]
    limit = 0 if data else stored.get("limit", 0)
    data = data or stored.get("data", "")
    if not data:
        raise InputError(f"{path} doesn't say what it was trained on; name the data: --data pictograms|cifar10|DIR.")
    kept_back = {"keep_back": stored.get("validation", 0), "seed": stored.get("seed", 0)}
    test_set = read_data(data, limit=limit, **kept_back)[1].transformed(stored_recipe(stored).test_transform())
    classes = test_set.classes
    if checkpoint["classes"] and checkpoint["classes"] != classes:
        raise InputError(f"{path} knows the classes {checkpoint['classes']}, but {data} has {classes}.")

    model = Views(model, views) if views > 1 else model
    loss_fn, totals = nn.CrossEntropyLoss(), Totals(device)
    confusion = torch.zeros(len(classes), len(classes), dtype=torch.int64, device=device)
    loader = DataLoader(test_set, batch_size, collate_fn=collate)
    for logits, targets in predict_batches(model, loader, device, precision=stored.get("precision", "float32")):
        totals.add(loss_fn(logits, targets), logits, targets)
        confusion += confusion_matrix(logits, targets, len(classes))
    result = totals.result()
    print_evaluation(Path(path), data, result, confusion.cpu(), classes)
    return result
