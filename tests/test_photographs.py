"""The network for photographs that comes with the package: what it is, how it is asked, and that its report fits."""

import hashlib
import json
import sys

import photo_checkpoint
import pytest
import torch
from PIL import Image

from tudui_course import cli
from tudui_course.checkpoint import PHOTOGRAPHS, load_model, read_checkpoint, save_checkpoint
from tudui_course.data.drawings import CLASSES
from tudui_course.data.loaders import read_data
from tudui_course.model import Tudui
from tudui_course.predict import predict
from tudui_course.recipe import stored_recipe

REPORT = json.loads(PHOTOGRAPHS.with_suffix(".json").read_text(encoding="utf-8"))


@pytest.fixture
def picture(tmp_path, monkeypatch):
    """A picture in the current folder."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 40), (120, 170, 230)).save("sky.png")
    return "sky.png"


def tudui(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["tudui", *arguments])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code, *capsys.readouterr()
    return 0, *capsys.readouterr()


def test_it_is_small_and_holds_weights_names_and_settings_alone():
    assert PHOTOGRAPHS.stat().st_size < 700_000
    checkpoint = read_checkpoint(PHOTOGRAPHS)
    assert checkpoint["optimizer"] is None and checkpoint["classes"] == CLASSES and checkpoint["network"] == "Tudui"
    assert checkpoint["settings"]["data"] == "cifar10"  # no folder of the machine that it was trained on


def test_the_report_is_about_this_file_and_adds_up():
    assert REPORT["sha256"] == hashlib.sha256(PHOTOGRAPHS.read_bytes()).hexdigest()
    confusion = torch.tensor(REPORT["confusion"])
    assert confusion.sum() == REPORT["test_pictures"] == sum(REPORT["answers_by_tenth_of_probability"])
    right = confusion.diag().sum().item()
    assert right == sum(REPORT["right_by_tenth_of_probability"])
    assert right / REPORT["test_pictures"] == pytest.approx(REPORT["test_accuracy"])
    by_class = (confusion.diag() / confusion.sum(1)).tolist()
    assert list(REPORT["accuracy_by_class"].values()) == pytest.approx(by_class)
    settings = read_checkpoint(PHOTOGRAPHS)["settings"]
    assert {name: settings[name] for name in ("epochs", "batch_size", "seed")}.items() <= REPORT.items()


def test_the_docs_show_the_report():
    page = photo_checkpoint.PAGE.read_text(encoding="utf-8")
    assert photo_checkpoint.BEGIN + photo_checkpoint.table(REPORT) + photo_checkpoint.END in page
    assert "Krizhevsky" in REPORT["pictures"] and "licence" in REPORT["licence"]


def test_it_has_learned_something_that_even_drawings_show():
    """Real photographs aren't at hand (test_real_pictures.py has them); guessing would give 0.1."""
    model, content = load_model("photographs")
    _, drawings = read_data("pictograms", limit=300)
    transform = stored_recipe(content["settings"]).test_transform()
    answers = predict(model, drawings.images.float() / 255, content["classes"], transform=transform)
    hits = [answer.label == CLASSES[target] for answer, target in zip(answers, drawings.targets, strict=True)]
    assert sum(hits) / len(hits) > 0.3


def test_it_answers_by_its_name(picture, monkeypatch, capsys):
    code, output, errors = tudui(monkeypatch, capsys, "predict", "photographs", picture)
    assert (code, errors) == (0, "") and output.startswith(picture)
    assert "trained on small photographs (CIFAR-10)" in output


def test_a_folder_of_that_name_is_not_in_the_way_but_a_file_is_meant(picture, tmp_path, monkeypatch, capsys):
    (tmp_path / "photographs").mkdir()
    assert tudui(monkeypatch, capsys, "predict", "photographs", picture)[0] == 0
    (tmp_path / "photographs").rmdir()
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "photographs", Tudui(3), classes=[*"abc"])
    code, output, _ = tudui(monkeypatch, capsys, "predict", "photographs", picture)
    assert code == 0 and "3 classes" in output


def test_who_asks_one_that_knows_drawings_alone_is_told_of_it(picture, tmp_path, monkeypatch, capsys):
    save_checkpoint(tmp_path / "tudui_9.pth", Tudui(), classes=CLASSES, settings={"data": "pictograms"})
    _, output, _ = tudui(monkeypatch, capsys, "predict", "tudui_9.pth", picture)
    assert output.endswith("never seen a photograph; for one that has: tudui predict photographs.\n")
