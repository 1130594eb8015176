"""Recipes: what each part does to pictures, gradients and learning rate, and that a run's own is used later."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tudui_course import run
from tudui_course.checkpoint import load_model
from tudui_course.cli import main
from tudui_course.data.loaders import read_data
from tudui_course.evaluate import evaluate_checkpoint
from tudui_course.model import Tudui
from tudui_course.recipe import FAST, SEED, Recipe, stored_recipe
from tudui_course.settings import Settings


@pytest.fixture
def images():
    return torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_lesson_has_nothing_of_all_that(images):
    assert SEED.train_transform()(images) is images and SEED.test_transform()(images) is images
    optimizer = SEED.optimizer(Tudui())
    assert SEED.scheduler(optimizer, 10) is None
    assert {key: value for key, value in optimizer.defaults.items() if value} == {"lr": 0.01}
    assert SEED.loss_fn().label_smoothing == 0


def test_normalizing_uses_the_figures_of_cifar10(images):
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    expected = (images - mean[:, None, None]) / std[:, None, None]
    assert torch.allclose(Recipe(normalize=True).test_transform()(images), expected)
    assert torch.allclose(Recipe(normalize=True).train_transform()(images), expected)


def test_training_pictures_come_mirrored_and_shifted_by_up_to_two_pixels(images):
    padded = nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    forms = {
        (flipped, top, left): (padded.flip(3) if flipped else padded)[:, :, top : top + 32, left : left + 32]
        for flipped, top, left in itertools.product((False, True), range(5), range(5))
    }
    transform, seen = Recipe(augment=True).train_transform(), set()
    torch.manual_seed(0)
    for _ in range(100):
        changed = transform(images)
        found = [
            [form for form, expected in forms.items() if torch.equal(picture, expected[number])]
            for number, picture in enumerate(changed)
        ]
        assert all(len(one) == 1 for one in found)
        assert len({one[0] for one in found}) > 1  # each picture has a form of its own
        seen.update(one[0] for one in found)
    assert seen == set(forms)
    assert Recipe(augment=True).test_transform()(images) is images


def test_gradients_are_clipped_before_each_step(images):
    torch.manual_seed(0)
    model = Tudui()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = Recipe(lr=1.0, clip=0.5).optimizer(model)
    (model(images).sum() * 1000).backward()
    optimizer.step()
    changes = [one.detach() - other for one, other in zip(model.parameters(), before, strict=True)]
    assert torch.cat([change.flatten() for change in changes]).norm().item() == pytest.approx(0.5, rel=1e-3)


def test_one_cycle_rises_for_a_quarter_and_falls_to_almost_nothing():
    optimizer = Recipe(lr=0.2, one_cycle=True, momentum=0.9).optimizer(Tudui())
    scheduler = Recipe(lr=0.2, one_cycle=True).scheduler(optimizer, 101)
    rates = []
    for _ in range(101):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        if len(rates) < 101:
            scheduler.step()
    highest = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.2, rel=0.02) and highest in (24, 25)
    assert rates[0] == pytest.approx(0.02) and rates[-1] == pytest.approx(0.00002)
    assert rates == sorted(rates[: highest + 1]) + sorted(rates[highest + 1 :], reverse=True)
    assert optimizer.param_groups[0]["momentum"] == 0.9  # not cycled


@pytest.mark.parametrize("steps", range(1, 12))
def test_one_cycle_over_a_few_steps(steps):
    optimizer = FAST.optimizer(Tudui())
    scheduler = FAST.scheduler(optimizer, steps)
    for _ in range(steps):
        assert 0 < scheduler.get_last_lr()[0] <= FAST.lr * (1 + 1e-9)
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr()[0] == pytest.approx(FAST.lr / 10_000)  # torch's own would now be below zero


@pytest.fixture(scope="module")
def fast_run(pictures, tmp_path_factory):
    """The folder of a run of the fast recipe, and its finished epochs."""
    folder = tmp_path_factory.mktemp("fast")
    settings = Settings(str(pictures), recipe="fast", network="TuduiNorm", epochs=3, batch_size=8, precision="float32")
    return folder, run.train(settings, folder)


def test_evaluate_treats_the_pictures_as_the_run_did(fast_run):
    folder, history = fast_run
    result = evaluate_checkpoint(folder / "tudui_2.pth", device="cpu")
    assert result.correct == history[-1].test.correct
    assert result.loss == pytest.approx(history[-1].test.loss, rel=1e-5)


@pytest.mark.parametrize("views", [2, 6])
def test_evaluate_takes_the_mean_over_the_views(views, fast_run, pictures, monkeypatch, capsys):
    folder, _ = fast_run
    model, _ = load_model(folder / "tudui_2.pth")
    test_set = read_data(str(pictures))[1]
    images = FAST.test_transform()(test_set.images / 255).numpy()
    edges = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    places = [images] if views == 2 else [images, edges[:, :, :32, :32], edges[:, :, 2:34, 2:34]]
    looks = [look.copy() for place in places for look in (place, place[..., ::-1])]
    with torch.no_grad():
        logits = torch.stack([model.eval()(torch.from_numpy(look)) for look in looks]).mean(0)
    loss = nn.functional.cross_entropy(logits, test_set.targets).item()
    correct = (logits.argmax(1) == test_set.targets).sum().item()

    command = ["tudui", "evaluate", str(folder / "tudui_2.pth"), "--views", str(views), "--device", "cpu"]
    monkeypatch.setattr("sys.argv", command)
    main()
    found = dict(re.findall(r"test (loss|accuracy) +([\d.]+)", capsys.readouterr().out))
    assert float(found["loss"]) == pytest.approx(loss, abs=1e-4)
    assert float(found["accuracy"]) == pytest.approx(correct / len(test_set), abs=1e-4)
    assert loss != pytest.approx(evaluate_checkpoint(folder / "tudui_2.pth", device="cpu").loss, abs=1e-3)


def test_predict_treats_the_pictures_as_the_run_did(fast_run, pictures, tmp_path, monkeypatch, capsys):
    folder, _ = fast_run
    model, content = load_model(folder / "tudui_2.pth")
    image = read_data(str(pictures))[1].images[3]
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / "one.png")
    monkeypatch.setattr(
        "sys.argv", ["tudui", "predict", str(folder / "tudui_2.pth"), str(tmp_path / "one.png"), "--json"]
    )
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    normalized = FAST.test_transform()(image[None].float() / 255)
    with torch.no_grad():
        expected = model(normalized).softmax(1)[0]
    (found,) = json.loads(capsys.readouterr().out)
    for name, probability in zip(content["classes"], expected.tolist(), strict=True):
        assert found["probabilities"][name] == pytest.approx(probability, abs=1e-5)


def test_the_run_used_the_recipe(fast_run):
    folder, _ = fast_run
    model, content = load_model(folder / "tudui_2.pth")
    assert type(model).__name__ == "TuduiNorm" and content["settings"]["recipe"] == "fast"
    assert content["settings"]["lr"] == FAST.lr
    (group,) = content["optimizer"]["param_groups"]
    assert group["nesterov"] and group["momentum"] == 0.9 and group["weight_decay"] == 5e-4
    assert group["lr"] == pytest.approx(FAST.lr / 10_000)  # the end of the one cycle
    assert all("momentum_buffer" in state for state in content["optimizer"]["state"].values())


def test_a_learning_rate_given_is_the_highest_of_the_cycle(pictures, tmp_path):
    run.train(Settings(str(pictures), recipe="fast", lr=0.002, epochs=1, batch_size=8), tmp_path)
    content = load_model(tmp_path / "tudui_0.pth")[1]
    assert content["settings"]["lr"] == 0.002 and content["scheduler"]["_last_lr"] == pytest.approx([0.002 / 10_000])
    assert content["optimizer"]["param_groups"][0]["max_lr"] == 0.002


def test_a_recipe_of_a_newer_version_is_named():
    assert stored_recipe({}) == SEED and stored_recipe({"recipe": "fast"}) == FAST
    with pytest.raises(ValueError, match="recipe 'faster'; this package knows seed, fast"):
        stored_recipe({"recipe": "faster"})


@pytest.mark.parametrize(("name", "value"), [("recipe", "slow"), ("network", "Resnet")])
def test_settings_refuse_other_names(name, value):
    with pytest.raises(ValueError, match=f"{name} is '{value}', but it must be"):
        Settings(**{name: value}).check()
