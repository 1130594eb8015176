import math

import pytest
import torch
from torch import nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix
from torchmetrics.functional.classification import multiclass_accuracy

from tudui_course.metrics import EpochResult, Totals, confusion_matrix, count_correct


def batches_of(sizes, classes=10):
    """Random logits and targets, batch by batch."""
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, classes, generator=generator), torch.randint(0, classes, (size,), generator=generator))
        for size in sizes
    ]


def test_count_correct_agrees_with_torchmetrics_where_argmax_0_would_not():
    logits, targets = batches_of([10])[0]  # square, so that argmax(0) has the right shape too
    targets[:4] = logits.argmax(1)[:4]
    expected = multiclass_accuracy(logits, targets, 10, average="micro")
    assert count_correct(logits, targets).item() == round(expected.item() * 10) >= 4
    assert count_correct(logits, targets).item() != (logits.argmax(0) == targets).sum().item()


def test_count_correct_on_the_lessons_example():
    logits = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    assert count_correct(logits, torch.tensor([0, 1])).item() == 1
    assert count_correct(logits, torch.tensor([0, 1])).dtype == torch.int64


@pytest.mark.parametrize(
    ("logits", "targets"), [((4, 10), (3,)), ((4, 10), (4, 1)), ((4, 10), (4, 10)), ((10,), (10,)), ((4, 10), ())]
)
def test_count_correct_refuses_shapes_that_would_broadcast(logits, targets):
    with pytest.raises(ValueError, match="expected") as raised:
        count_correct(torch.zeros(logits), torch.zeros(targets, dtype=torch.int64))
    assert str(tuple(logits)) in str(raised.value) and str(tuple(targets)) in str(raised.value)


def test_totals_are_exact_on_a_ragged_last_batch():
    loss_fn = nn.CrossEntropyLoss()
    totals, accuracy = Totals(), MulticlassAccuracy(10, average="micro")
    batches = batches_of([16, 16, 16, 5])
    for logits, targets in batches:
        totals.add(loss_fn(logits, targets), logits, targets)
        accuracy.update(logits, targets)
    logits, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    result = totals.result()
    assert (result.count, result.steps) == (53, 4)
    assert result.loss == pytest.approx(loss_fn(logits.double(), targets).item(), rel=1e-6)
    assert result.accuracy == pytest.approx(accuracy.compute().item(), abs=1e-7)
    means = [loss_fn(*batch).item() for batch in batches]
    assert result.batch_loss_sum == sum(means)
    assert abs(result.loss - sum(means) / 4) > 1e-3  # what averaging the batches would have given


def test_totals_keep_no_graph():
    logits = torch.zeros(2, 10, requires_grad=True)
    totals = Totals()
    totals.add(nn.functional.cross_entropy(logits, torch.tensor([0, 1])), logits, torch.tensor([0, 1]))
    assert not totals.table().requires_grad


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("position", [1, 2, 5])
@pytest.mark.parametrize("later", [0.5, math.nan, math.inf, -math.inf])
def test_first_bad_step_is_the_first(bad, position, later):
    totals = Totals()
    logits, targets = torch.zeros(3, 10), torch.zeros(3, dtype=torch.int64)
    for step in range(1, 6):
        assert totals.first_bad_step() == (position if step > position else None)
        loss = bad if step == position else later if step > position else 0.5
        totals.add(torch.tensor(loss), logits, targets)
    assert totals.first_bad_step() == position


def test_large_finite_losses_are_not_bad():
    totals = Totals()
    for _ in range(100):
        totals.add(torch.tensor(1e37), torch.zeros(1, 10), torch.zeros(1, dtype=torch.int64))
    assert totals.first_bad_step() is None


def test_results_add_up_to_those_of_the_whole():
    loss_fn, parts = nn.CrossEntropyLoss(), (Totals(), Totals(), Totals())
    for index, (logits, targets) in enumerate(batches_of([16, 16, 16, 5])):
        for totals in (parts[0], parts[1 + index // 2]):
            totals.add(loss_fn(logits, targets), logits, targets)
    whole, first, second = (totals.result() for totals in parts)
    assert first + second == whole
    assert whole + EpochResult() == whole
    assert EpochResult(1.0, 2.0, 3, 4, 5) + EpochResult(10.0, 20.0, 30, 40, 50) == EpochResult(11.0, 22.0, 33, 44, 55)


def test_loss_and_accuracy_are_per_sample():
    result = EpochResult(loss_sum=6.0, batch_loss_sum=4.0, correct=3, count=12, steps=2)
    assert (result.loss, result.accuracy) == (0.5, 0.25)


def test_nothing_seen_gives_nan():
    assert math.isnan(EpochResult().loss) and math.isnan(EpochResult().accuracy)


def test_confusion_matrix_has_the_true_class_in_rows():
    logits, targets = batches_of([40], classes=4)[0]
    oracle = MulticlassConfusionMatrix(4)
    oracle.update(logits, targets)
    matrix = confusion_matrix(logits, targets, 4)
    assert torch.equal(matrix, oracle.compute())
    assert matrix.sum(1).tolist() == targets.bincount(minlength=4).tolist()
    assert matrix.diag().sum().item() == count_correct(logits, targets).item()
