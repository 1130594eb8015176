"""Exercises of 07_argmax_accuracy: right answers, exact accuracy, accuracy by class, softmax, scaled logits."""

import math

import torch

from tudui_course.checks.judges import attempt, judge_function, judge_prediction
from tudui_course.checks.props import Batches, Watched
from tudui_course.checks.table import exercise

MATRICES = torch.tensor([[8, 1, 1], [4, 10, 6], [0, 2, 3]]), torch.tensor([[5, 0], [15, 25]])


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
    for count, classes, size, seed in ((70, 10, 32, 5), (64, 10, 16, 6), (9, 4, 32, 7)):
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


def answers_with_probability(logits):
    shares = [[math.exp(one - max(row)) for one in row] for row in logits.tolist()]
    best = [max(range(len(row)), key=row.__getitem__) for row in shares]
    chances = [row[one] / sum(row) for row, one in zip(shares, best, strict=True)]
    return torch.tensor(best), torch.tensor(chances)


def compared(scale):
    """Accuracy and mean probability of scaled logits: the same, lower or higher than before."""
    logits, targets = predictions(200, 10, 8)
    before, after = (
        ((one.argmax(1) == targets).float().mean().item(), one.softmax(1).max(1).values.mean().item())
        for one in (logits, logits * scale)
    )
    return ["same" if a == b else "lower" if a < b else "higher" for a, b in zip(after, before, strict=True)]


TRUTH = {
    f"{what}, logits {scaling}": compared(scale)[number]
    for scaling, scale in (("/ 2", 0.5), ("* 2", 2))
    for number, what in enumerate(("accuracy", "mean probability"))
}

q1 = exercise("07.1", judge_function(count_right, map(predictions, (64, 10, 3, 1, 16), (10, 10, 5, 10, 2), range(5))))
q2 = exercise("07.2", judge_accuracy)
q3 = exercise("07.3", judge_per_class)
q4 = exercise(
    "07.4", judge_function(answers_with_probability, [(predictions(*case)[0],) for case in ((5, 3, 9), (3, 7, 10))])
)
q5 = exercise("07.5", judge_prediction(TRUTH, options=("same", "lower", "higher")))
