"""Exercises of 07_argmax_accuracy: shapes of argmax, counting right answers, an accuracy to be mended, each class."""

import torch

from tudui_course.checks.judges import attempt, judge_function, judge_prediction
from tudui_course.checks.props import Batches, Watched
from tudui_course.checks.table import exercise

RESULTS = ("logits.argmax(1)", "logits.argmax(0)", "logits.argmax()", "(logits.argmax(1) == targets).sum()")
MATRICES = torch.tensor([[8, 1, 1], [4, 10, 6], [0, 2, 3]]), torch.tensor([[5, 0], [15, 25]])


def shapes():
    """The shapes of four results for 64 pictures and 10 classes."""
    names = dict(zip(("logits", "targets"), predictions(64, 10, seed=8), strict=True))
    return {text: str(tuple(eval(text, names).shape)) for text in RESULTS}


def predictions(count, classes, seed):
    """Logits (count, classes) and targets (count,), about half of them right."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    other = torch.randint(0, classes, (count,), generator=generator)
    return logits, torch.where(torch.rand(count, generator=generator) < 0.5, logits.argmax(1), other)


def count_right(logits, targets):
    return sum(row.index(max(row)) == target for row, target in zip(logits.tolist(), targets.tolist(), strict=True))


def judge_accuracy(accuracy):
    """Loaders whose last batch is smaller, full, or the only one; a network without layers: the images are logits."""
    for count, classes, size, seed in ((76, 10, 10, 5), (70, 10, 32, 5), (64, 10, 16, 6), (9, 4, 32, 7)):
        logits, targets = predictions(count, classes, seed)
        full = count // size * size  # a smaller last batch is all right: a mean of batch accuracies is far from exact
        targets[full:] = logits[full:].argmax(1)
        what = f"{count} 张图，每批 {size} 张 · {count} pictures in batches of {size}"
        yield what, attempt(accuracy, (Watched(), Batches(logits, targets, size))), count_right(logits, targets) / count


def judge_per_class(per_class_accuracy):
    """Classes of unequal sizes; any kind of floating-point number will do."""
    for matrix in MATRICES:
        expected = torch.tensor([row[i] / sum(row) for i, row in enumerate(matrix.tolist())])
        answer = attempt(per_class_accuracy, (matrix.clone(),))
        yield f"{matrix.tolist()}", answer.float() if isinstance(answer, torch.Tensor) else answer, expected


q1 = exercise("07.1", judge_prediction(shapes(), options=("(64,)", "(10,)", "()")))
q2 = exercise("07.2", judge_function(count_right, map(predictions, (64, 10, 3, 1, 16), (10, 10, 5, 10, 2), range(5))))
q3 = exercise("07.3", judge_accuracy)
q4 = exercise("07.4", judge_per_class)
