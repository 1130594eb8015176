"""The exercises of 07_argmax_accuracy: solutions pass, blanks stay blank, each typical mistake gets its own message."""

import pytest
import torch

from tudui_course.checks import step_07 as exercises

ALL = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2, exercises.q3], ids=lambda one: one.name)


@ALL
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (0.5, "but you gave a float"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (lambda *arguments: 1 / 0, "Your code raised an error: ZeroDivisionError"),
        (lambda *arguments: "text", "yours returned str: text"),
        (lambda *arguments: torch.zeros(7, 2), "shape"),
        (lambda: 1, "Your code raised an error: TypeError"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and part in out


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda logits, targets: (logits.argmax(0) == targets).sum().item(), "Classes lie along dim 1"),
        (lambda logits, targets: (logits.argmax(1) == targets).sum(), "make it a plain number with .item()"),
        (lambda logits, targets: logits.argmax(1) == targets, "a tensor of shape (64,)"),
        (lambda logits, targets: (logits.argmax(1) == targets).float().mean().item(), "That is the accuracy"),
        (lambda logits, targets: (logits.argmax(1) != targets).sum().item(), "how many are wrong"),
        (lambda logits, targets: (logits.argmin(1) == targets).sum().item(), "not argmin"),
        (lambda logits, targets: float((logits.argmax(1) == targets).sum()), "it is a float"),
        (lambda logits, targets: len(targets), "the result of == isn't used"),
        (lambda logits, targets: (logits.argmax() == targets).sum().item(), "go along dim 1"),
        (lambda logits, targets: (logits.max(1).values == targets).sum().item(), "gives scores"),
        (lambda logits, targets: 37, "you got 37"),
    ],
)
def test_count_mistakes(answer, part, capsys):
    exercises.q1.check(answer)
    assert part in capsys.readouterr().out


def test_argmax_down_is_named_where_the_shapes_happen_to_fit():
    with pytest.raises(exercises.Wrong, match=r"best picture of each class"):
        exercises.check_count(lambda logits, targets: (logits.argmax(0) == targets).sum().item(), 10, 10, 1)


def hits(batch):
    logits, targets = batch
    return (logits.argmax(1) == targets).sum().item()


def mean_of_batches(model, loader):
    return sum(hits(batch) / len(batch[1]) for batch in loader) / len(loader)


def total(loader):
    return sum(map(hits, loader))


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (mean_of_batches, "mean of the batches' accuracies"),
        (lambda model, loader: total(loader), "divide by the number of pictures"),
        (lambda model, loader: total(loader) / len(loader), "divided by the number of batches"),
        (lambda model, loader: total(loader) / (len(loader) * loader.batch_size), "isn't full"),
        (lambda model, loader: hits(loader[0]) / len(loader[0][1]), "first batch only"),
        (lambda model, loader: hits(loader[-1]) / len(loader[-1][1]), "last batch only"),
        (lambda model, loader: hits(loader[0]) / len(loader.dataset), "counted the first batch only"),
        (lambda model, loader: hits(loader[-1]) / len(loader.dataset), "counted the last batch only"),
        (lambda model, loader: torch.tensor(total(loader)) / len(loader.dataset), "with .item()"),
        (lambda model, loader: 100 * total(loader) / len(loader.dataset), "per cent"),
        (lambda model, loader: 1 - total(loader) / len(loader.dataset), "share of wrong answers"),
        (lambda model, loader: [(x.argmax(0) == y) for x, y in loader], "argmax(1)"),
        (lambda model, loader: 0.123, "but you got 0.1230"),
    ],
)
def test_accuracy_mistakes(answer, part, capsys):
    exercises.q2.check(answer)
    assert part in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda matrix: matrix.diag() / matrix.sum(0), "divided by the columns' sums"),
        (lambda matrix: matrix.diag() / matrix.sum(), "divided by all pictures"),
        (lambda matrix: matrix.diag(), "how many are right in each class"),
        (lambda matrix: matrix.diag() // matrix.sum(1), "use /, not //"),
        (lambda matrix: matrix / matrix.sum(1, keepdim=True), "yours is (3, 3)"),
        (lambda matrix: 1 - matrix.diag() / matrix.sum(1), "share of mistakes"),
        (lambda matrix: torch.tensor([0.1, 0.2, 0.3]), "but you got [0.1, 0.2, 0.3]"),
    ],
)
def test_per_class_mistakes(answer, part, capsys):
    exercises.q3.check(answer)
    assert part in capsys.readouterr().out


def test_a_list_of_accuracies_is_fine_too(capsys):
    exercises.q3.check(lambda matrix: (matrix.diag() / matrix.sum(1)).tolist())
    assert capsys.readouterr().out.startswith("✓")


def test_random_state_is_left_alone():
    before = torch.get_rng_state()
    for exercise in (exercises.q1, exercises.q2, exercises.q3):
        exercise.check(lambda *arguments: 1)
    assert torch.equal(torch.get_rng_state(), before)
