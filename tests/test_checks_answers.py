"""Answers that no table of mistakes holds: other right ones, the same mistakes written otherwise, and odd values."""

import math

import pytest
import torch
from PIL import Image, ImageOps
from torch import nn
from torchvision.transforms import CenterCrop, Resize, ToTensor

from tudui_course.checks import (
    step_00,
    step_01,
    step_02,
    step_03,
    step_04,
    step_05,
    step_06,
    step_07,
    step_10,
    step_11,
    step_15,
)
from tudui_course.data import InMemory
from tudui_course.data.picture import to_rgb
from tudui_course.model import Tudui


def mean(values):
    return sum(values) / len(values)


def loop_step(*calls, result=lambda loss: loss.item()):
    """A training step that makes these calls in this order."""

    def step(model, images, targets, loss_fn, optimizer):
        loss = loss_fn(model(images), targets)
        actions = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
        for name in calls:
            actions[name]()
        return result(loss)

    return step


def pairs(rule):
    """`rule(w, g, lr)` where there is a gradient, the weight as it is elsewhere."""
    return lambda weights, gradients, lr: [
        w if g is None else rule(w, g, lr) for w, g in zip(weights, gradients, strict=True)
    ]


def enlarged(train, val):
    images = torch.cat([train.images.roll(1, dims=3), train.images])
    return InMemory(images, train.targets.repeat(2), train.classes), val


def in_pairs(differences):
    return differences.mean().item(), differences.norm().item() / len(differences)


def reported(name, test):
    return name, mean(test[name])


def batch_losses(model, batches, loss_fn):
    return [loss_fn(model(images), targets).item() for images, targets in batches]


def per_picture(model, loader, loss_fn):
    with torch.inference_mode():
        each = nn.CrossEntropyLoss(reduction="none")
        losses = torch.cat([each(model(images), targets) for images, targets in loader])
    return losses.double().mean().item()


def counting_from_epochs(model, loader, loss_fn, optimizer, epochs, log):
    for epoch in range(epochs):
        for index, (images, targets) in enumerate(loader):
            optimizer.zero_grad()
            loss = loss_fn(model(images), targets)
            loss.backward()
            optimizer.step()
            if (index + 1) % 10 == 0:
                log("train_loss", float(loss.detach()), epoch * len(loader) + index + 1)


def white(image):
    return to_rgb(ImageOps.exif_transpose(image))


def seen(small):
    return ToTensor()(small)[None]


def copied(model):
    """The weights in another order, copied one by one."""
    return {name: value.clone() for name, value in reversed(model.state_dict().items())}


def keep_best(keep):
    """Another way to keep the best of some epochs: measure all of them first."""

    def train_and_keep_best(model, epochs, train, measure):
        kept = []
        for epoch in range(epochs):
            train(model, epoch)
            kept.append((measure(model), keep(model)))
        best = max(kept, key=lambda pair: pair[0])
        model.load_state_dict(best[1])
        return best[0]

    return train_and_keep_best


def resumed(path, model, optimizer, back=1, **options):
    saved = torch.load(path, map_location="cpu", **options)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["epoch"] + back


def path_in(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def new_head(change, late=lambda optimizer, model: None):
    """Another way to give a network a new last layer and an optimizer that has it."""

    def make_optimizer(model, lr):
        change(model)
        weights, others = ([p for p in model.parameters() if (p.ndim > 1) == many] for many in (True, False))
        groups = [{"params": weights, "weight_decay": 5e-4}, {"params": others}]
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        late(optimizer, model)
        return optimizer

    return make_optimizer


def replaced_late(optimizer, model):
    model[-1] = nn.Linear(model[-1].in_features, model[-1].out_features)
    optimizer.add_param_group({"params": model[-1].parameters()})


def sum_over_the_batch(model, images, targets, optimizer):
    model.train()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), targets, reduction="sum") / len(targets)
    loss.backward()
    optimizer.step()
    return loss.item()


RIGHT = [
    *((step_00.q1, answer) for answer in (10.82, 10.8198, math.log(5e4), torch.tensor(5e4).log(), "10.82")),
    (step_00.q2, lambda losses: mean(losses[:10]) - mean(losses[-10:])),
    (step_01.q1, lambda count, size, drop_last: (count if drop_last else count + size - 1) // size),
    (step_01.q2, lambda image: image.permute(1, 2, 0).numpy()),
    (step_01.q2, lambda image: image.movedim(0, 2)),
    (step_02.q3, nn.Sequential(*step_02.large())),
    (step_03.q1, [7820, 78]),
    (step_03.q2, pairs(lambda w, g, lr: w.sub(g, alpha=lr))),
    (step_03.q3, loop_step("backward", "step", "zero")),
    (step_04.q2, lambda *arguments: mean(batch_losses(*arguments))),
    (step_04.q2, torch.no_grad()(lambda *arguments: mean(batch_losses(*arguments)))),
    (step_05.q2, per_picture),
    (step_05.q4, counting_from_epochs),
    (step_10.q1, lambda image: seen(ImageOps.fit(white(image), (32, 32), Image.Resampling.LANCZOS))),
    (step_10.q1, lambda image: seen(CenterCrop(32)(Resize(32)(white(image))))),
    (step_10.q4, lambda image: seen(image.resize((32, 32)))),
    *((step_05.q3, answer) for answer in (1.239, 1.2392, "1.239", torch.tensor(1.2392))),
    (step_06.q1, lambda folder, i: str(path_in(folder, f"tudui_{i}.pth"))),
    (step_06.q2, keep_best(copied)),
    (step_06.q4, resumed),
    (step_07.q2, lambda logits, targets: int(sum(logits.max(1).indices == targets))),
    (step_07.q4, lambda matrix: (matrix.diag() / matrix.sum(1)).tolist()),
    (step_07.q4, lambda matrix: matrix.diag().double() / matrix.sum(1)),
    (step_11.q2, lambda pictures, count: enlarged(*pictures.split(count, seed=7))),
    (step_15.q7, new_head(lambda model: model[-1].reset_parameters())),
    (step_15.q7, new_head(lambda model: None, replaced_late)),
    (step_15.q8, (step_15.normalise, sum_over_the_batch)),
    (step_11.q3, lambda right, count: math.sqrt(right * (count - right) / count**3)),
    (step_11.q4, lambda first, second: in_pairs((second.int() - first.int()).float())),
    (step_11.q5, lambda val, test: reported(sorted(val, key=lambda name: sum(val[name]))[-1], test)),
]


@pytest.mark.parametrize(("exercise", "answer"), RIGHT)
def test_other_right_answers_pass(exercise, answer, capsys):
    exercise.check(answer)
    assert capsys.readouterr().out.startswith(f"✓ {exercise.name}")


def in_place(weights, gradients, lr):
    for w, g in zip(weights, gradients, strict=True):
        if g is not None:
            w -= lr * g
    return weights


def network(*end):
    return lambda: nn.Sequential(*list(step_02.large())[:7], *end)


def printing(losses):
    print(mean(losses[:10]) - mean(losses[-10:]), end="")


FLAGS = step_05.flags()
FIRST_FALL = mean(step_00.CURVES[0][:10]) - mean(step_00.CURVES[0][-10:])
WRONG = [
    # The same mistakes, written otherwise or mixed with another one.
    (step_00.q2, lambda losses: sum(losses[:10]) - sum(losses[-10:]), "sums, not means"),
    (step_01.q1, lambda count, size, drop_last: count / size if drop_last else -(-count // size), "not rounded"),
    (step_01.q2, lambda image: image.transpose(0, 2), "diagonal"),
    (step_01.q2, lambda image: image.view(*image.shape[1:], 3), "scrambled"),
    (step_02.q3, network(nn.Linear(64 * 16 * 16, 64), nn.Linear(64, 10)), "three poolings turn 64x64 into 8x8"),
    (step_03.q2, in_place, "in place"),
    (
        step_03.q2,
        lambda weights, gradients, lr: [w - g * lr for w, g in zip(weights, gradients, strict=True)],
        "is None",
    ),
    (step_03.q3, loop_step("backward", "step"), "Without optimizer.zero_grad()"),
    (step_03.q3, loop_step("zero", "step"), "loss.backward() was not called"),
    (step_03.q3, loop_step("step"), "loss.backward() was not called"),
    (step_03.q3, loop_step(), "optimizer.step() was not called"),
    (step_03.q3, loop_step("zero", "backward", "step", result=lambda loss: ...), "no loss came back"),
    (step_04.q2, lambda *arguments: batch_losses(*arguments)[0], "is the return inside the loop"),
    (step_04.q2, lambda *arguments: torch.tensor(batch_losses(*arguments)).mean(), "a plain number with .item()"),
    (step_05.q2, lambda *arguments: mean(batch_losses(*arguments)), "mean of batch means"),
    (step_05.q1, {name: not flag for name, flag in FLAGS.items()}, "a * w: you got False. One input"),
    (step_06.q2, keep_best(lambda model: dict(model.state_dict())), "you copied the dictionary"),
    (step_06.q2, keep_best(lambda model: {n: v.detach() for n, v in model.state_dict().items()}), "the dictionary"),
    (step_06.q4, lambda *given: resumed(*given, weights_only=False) and None, "the next epoch was not returned"),
    (step_11.q2, lambda pictures, count: (enlarged(*pictures.split(count))[0], pictures), "are trained on"),
    (step_11.q3, lambda right, count: right / count * (1 - right / count) / count, "That is the variance"),
    # Mistakes of no table: what came out, and what should have.
    (step_00.q1, 5, "Your answer is 5, which isn't it. Of 50,000 equally"),
    (step_00.q1, math.nan, "Your answer is nan, which isn't it"),
    (step_00.q1, "about two", "str: 'about two'"),
    (step_00.q1, torch.ones(3), "needs a number, but you gave Tensor"),
    (step_00.q1, [2.303], "needs a number, but you gave list"),
    (step_00.q2, printing, "returned nothing"),
    (step_00.q2, lambda losses: 1.0, "it should be 0.9, but you got 1.0. Take the mean"),
    (step_00.q2, lambda losses: FIRST_FALL, "it should be 0.75"),
    (step_00.q2, lambda losses: "much", "yours is str 'much'"),
    (step_00.q2, lambda losses: torch.ones(2), "this needs a number, but yours is tensor (2,)"),
    (step_00.q2, lambda losses: losses.sort() or 1.0, "your function changed losses"),
    (step_01.q1, lambda count, size, drop_last: 781 if drop_last else 782, "it should be 157, but you got 782"),
    (step_01.q1, lambda count, size, drop_last: torch.tensor(3), "a tensor, 3; make it a plain number with .item()"),
    (step_01.q2, lambda image: image.permute(1, 2, 0).double(), "it should be torch.float32, yours is torch.float64"),
    (step_01.q2, lambda image: image.permute(1, 2, 0).flip(0), "the numbers aren't: where it should be"),
    (step_01.q2, lambda image: "picture", "should be a tensor (32, 32, 3), but yours is str"),
    (step_01.q3, lambda dataset, size, seed: "loader", "Return a DataLoader; yours returned str"),
    (step_02.q1, lambda size, kernel, stride, padding: 7, "it should be 32, but you got 7"),
    (step_02.q3, network(nn.Linear(64 * 8 * 8, 10)), "it should be Conv2d, MaxPool2d"),
    (step_02.q3, network(nn.Unflatten(1, (1, 4096)), nn.Linear(4096, 64), nn.Linear(64, 10)), "you got (2, 1, 10)"),
    (step_02.q3, lambda: Tudui, "Return a network; yours returned class Tudui"),
    (step_02.q3, lambda: Tudui(), "raised an error: ValueError: images have shape (2, 3, 64, 64)"),
    (step_03.q1, (7820, 0), "lines: your answer is 0, which isn't it"),
    (step_03.q1, (7812.5, 78), "steps: this needs a whole number, but yours is float 7812.5"),
    (step_03.q1, ("7820", "78"), "steps: this needs a number, but yours is str '7820'"),
    (step_03.q1, torch.ones(3), "This needs 2 numbers (steps, lines), but you gave tensor (3,)"),
    (step_03.q2, pairs(lambda w, g, lr: w - 2 * lr * g), "sgd_step(lr=0.1)[0]: the shape is right"),
    (step_03.q2, pairs(lambda w, g, lr: (w - lr * g).sum()), "the shape should be (2, 3), yours is ()"),
    (step_03.q2, lambda weights, gradients, lr: weights[0] - lr * gradients[0], "but you got tensor (2, 3)"),
    (step_03.q3, loop_step("zero", "backward", "step", result=lambda loss: loss), "make it a plain number"),
    (step_03.q3, loop_step("zero", "backward", "step", result=lambda loss: 2.3), "but you got 2.3. The loss is"),
    (step_10.q1, lambda image: torch.full((1, 3, 32, 32), 0.5), "Draw what comes out"),
    (step_10.q1, lambda image: image, "should be a tensor (1, 3, 32, 32), but yours is Image"),
    (step_10.q2, lambda model, image, classes: [("a", 0.5)] * 3, "never called the network"),
    (step_10.q3, dict.fromkeys(step_10.BATCHES, "error"), "0 to 255: you got 'error'. The shape is right"),
    (step_10.q4, lambda image: torch.zeros(1, 3, 32, 32), "axis of the colours before rows and columns"),
    (step_05.q1, {**FLAGS, "a * 2": "False"}, "a * 2: you wrote 'False'; it is one of True, False"),
    (step_06.q1, lambda folder, i: path_in(folder, "tudui_0.pth"), "it should be tudui_3.pth, but you got tudui_0.pth"),
    (step_06.q1, lambda folder, i: 7, "Return a path; yours returned int"),
    (step_06.q2, lambda model, epochs, train, measure: 0.5, "What it is to do: train and measure each epoch"),
    (step_06.q4, lambda *given: resumed(*given, back=2), "it should be 5, but you got 6"),
    (step_06.q4, lambda *given: resumed(*given, back=1.0), "this needs a whole number, but yours is float 5.0"),
    (step_07.q2, lambda logits, targets: (logits.argmax(1) == targets).sum(), "make it a plain number with .item()"),
    (step_07.q2, lambda logits, targets: logits.argmax(1) == targets, "this needs a number, but yours is tensor (64,)"),
    (
        step_07.q2,
        lambda logits, targets: float((logits.argmax(1) == targets).sum()),
        "a whole number, but yours is float",
    ),
    (step_07.q2, lambda logits, targets: 37, "but you got 37"),
    (step_07.q3, lambda model, loader: 0.123, "but you got 0.123"),
    (step_07.q4, lambda matrix: matrix / matrix.sum(1, keepdim=True), "the shape should be (3,), yours is (3, 3)"),
    (step_07.q4, lambda matrix: torch.tensor([0.1, 0.2, 0.3]), "the numbers aren't"),
    (step_11.q2, lambda pictures, count: pictures, "Return two sets of pictures; yours returned InMemory"),
    (step_11.q3, lambda right, count: 0.5, "it should be 0.03, but you got 0.5"),
    (step_11.q4, lambda first, second: 0.1, "but you got 0.1"),
    (step_11.q5, lambda val, test: ("nobody", 0.1), "it should be 'decay', but you got 'nobody'"),
    (step_15.q7, lambda model, lr: [model, lr], "Return an optimizer; yours returned list"),
    (step_15.q8, (step_15.normalise,), "This needs two functions, normalise and train_step"),
    (step_15.q8, (lambda train, test: train, sum_over_the_batch), "Return two sets; yours returned Tensor"),
    (
        step_15.q8,
        (step_15.normalise, lambda *given: 1.0),
        "model.train() is gone",
    ),
]


@pytest.mark.parametrize(("exercise", "answer", "part"), WRONG, ids=[f"{one.name}: {part}" for one, _, part in WRONG])
def test_other_wrong_answers_get_a_sentence_that_fits(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert f"✗ {exercise.name}" in out and part in out


@pytest.mark.parametrize("answer", [(..., ...), (7820, ...), (None, 78)])
def test_half_an_answer_is_not_attempted(answer, capsys):
    step_03.q1.check(answer)
    assert capsys.readouterr().out.startswith("○ 03.1")
