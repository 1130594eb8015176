"""The course on real photographs; TUDUI_REAL_PICTURES=DIR names a folder with CIFAR-10's train/ and test/ (minutes)."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from tudui_course import run
from tudui_course.board import read_scalars
from tudui_course.checkpoint import PHOTOGRAPHS, read_checkpoint
from tudui_course.data.folder import read_folder
from tudui_course.data.pictograms import CLASSES
from tudui_course.errors import StoppedError
from tudui_course.evaluate import evaluate_checkpoint
from tudui_course.settings import Settings

FOLDER = os.environ.get("TUDUI_REAL_PICTURES", "")

pytestmark = [
    pytest.mark.skipif(not FOLDER, reason="TUDUI_REAL_PICTURES names no folder with CIFAR-10's train/ and test/"),
    pytest.mark.xdist_group("real pictures"),  # with --dist loadgroup one process reads them, once
]


@pytest.fixture(scope="module")
def parts():
    """Train and test set, read for the first time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    yield read_folder(FOLDER)
    torch.set_num_threads(threads)


def test_counts_and_classes(parts):
    for (images, targets, classes), count in zip(parts, (50_000, 10_000), strict=True):
        assert images.shape == (count, 3, 32, 32) and classes == CLASSES
        assert targets.bincount().tolist() == [count // 10] * 10
        assert 100 < images.float().mean() < 140  # CIFAR-10's is 120.7


def test_the_second_reading_gives_the_same_from_the_cache(parts):
    again = read_folder(Path(FOLDER))
    for (images, targets, classes), (first, first_targets, first_classes) in zip(again, parts, strict=True):
        assert torch.equal(images, first) and torch.equal(targets, first_targets) and classes == first_classes


def test_an_epoch_of_the_lessons_recipe_learns_what_the_lessons_does(parts, tmp_path):
    (record,) = run.train(Settings(FOLDER, epochs=1, order="fixed", precision="float32", device="cpu"), tmp_path)
    assert (record.step, record.test.count, record.test.steps) == (782, 10_000, 157)
    losses = [value for _, value in read_scalars(tmp_path)["train_loss"]]
    # The lesson's own figures of two runs: loss summed over 157 batches 302 and 311, accuracy 0.318 and 0.289, and its
    # losses at steps 100 and 700. Order and initial weights differ, so the bounds are wider than these two are apart.
    assert 285 < record.test.batch_loss_sum < 335
    assert 0.22 < record.test.accuracy < 0.40
    assert losses[0] == pytest.approx(2.29, abs=0.05) and losses[6] == pytest.approx(1.96, abs=0.3)


def test_a_run_that_was_stopped_ends_in_the_same_bits(parts, tmp_path):
    settings = Settings(FOLDER, epochs=2, limit=1_000)
    run.train(settings, tmp_path / "whole")
    steps = []
    hook = register_optimizer_step_post_hook(
        lambda *_: steps.append(1) or (len(steps) == 20 and signal.raise_signal(signal.SIGINT))
    )
    with pytest.raises(StoppedError, match="step 20 "):
        run.train(settings, tmp_path / "parts")
    hook.remove()
    run.train(settings, tmp_path / "parts", resume=True)
    one, other = (read_checkpoint(tmp_path / name / "tudui_1.pth") for name in ("whole", "parts"))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["progress"]["history"] == other["progress"]["history"]


def test_the_network_for_photographs_is_as_good_as_its_report_says(parts):
    result = evaluate_checkpoint("photographs", FOLDER, "cpu")
    report = json.loads(PHOTOGRAPHS.with_suffix(".json").read_text(encoding="utf-8"))
    assert result.accuracy == pytest.approx(report["test_accuracy"], abs=0.001)
    assert result.loss == pytest.approx(report["test_loss"], abs=0.001)
