"""The exercises of 10_own_picture: solutions pass, blanks stay blank, each typical mistake gets its own message."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import CenterCrop, Normalize, Resize, ToTensor

from tudui_course.checks import step_10 as exercises

ALL = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2, exercises.q3], ids=lambda one: one.name)


def judged(exercise, answer, capsys):
    """What is printed about an answer, which is a mistake with no traceback in it."""
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and len(out.splitlines()) == 2, out
    return out


def silent(*arguments):
    print(end="")


@ALL
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (silent, "returned nothing"),
        (lambda *arguments: 1 / 0, "ZeroDivisionError"),
        (lambda: 1, "TypeError"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    assert part in judged(exercise, answer, capsys)


@ALL
@pytest.mark.parametrize("result", ["text", torch.zeros(7, 2), 3.5, (1, 2, 3), {}, [None] * 3], ids=repr)
def test_wrong_results_get_a_sentence(exercise, result, capsys):
    def answer(*arguments):
        if exercise is exercises.q2:
            model, image, _ = arguments
            with torch.no_grad():
                model.eval()(image[None])
        return result

    out = judged(exercise, answer, capsys)
    assert any(part in out for part in ("eturn", "the shape is (7, 2)", "should be a pair")), out


# ---- 10.1 ----


def white(image):
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def fit(image):
    return ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR)


def to_batch(upright=ImageOps.exif_transpose, rgb=white, small=fit, last=lambda image: ToTensor()(image)[None]):
    """A learner's answer, with one step done in another way."""
    return lambda image: last(small(rgb(upright(image))))


def same(image):
    return image


@pytest.mark.parametrize(
    "small",
    [
        lambda image: ImageOps.fit(image, (32, 32)),  # bicubic
        lambda image: ImageOps.fit(image, (32, 32), Image.Resampling.LANCZOS),
        lambda image: CenterCrop(32)(Resize(32)(image)),
    ],
)
def test_another_way_of_resizing_passes(small, capsys):
    exercises.q1.check(to_batch(small=small))
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (to_batch(last=ToTensor()), "The batch dimension is missing"),
        (to_batch(rgb=same), "no three colour channels"),
        (to_batch(rgb=lambda image: image if image.mode == "RGBA" else image.convert("RGB")), "is transparency"),
        (to_batch(rgb=lambda image: image.convert("RGB")), "Transparent parts became black"),
        (to_batch(small=lambda image: image.resize((32, 32))), "It was squeezed"),
        (to_batch(small=lambda image: ImageOps.fit(image, (32, 32), centering=(0, 0))), "upper left corner"),
        (to_batch(small=same), "The size isn't 32x32"),
        (to_batch(upright=same), "It lies on its side"),
        (to_batch(last=lambda image: 255 * ToTensor()(image)[None]), "pictures were in [0, 1]"),
        (to_batch(last=lambda image: (255 * ToTensor()(image)[None]).to(torch.uint8)), "convolutions need floats"),
        (to_batch(last=lambda image: Normalize([0.5] * 3, [0.5] * 3)(ToTensor()(image))[None]), "normalised already"),
        (to_batch(last=lambda image: torch.tensor(np.asarray(image))[None]), "The channels come last"),
        (to_batch(last=lambda image: np.asarray(image)), "yours is a ndarray"),
        (to_batch(last=same), "yours is a PIL picture"),
        (to_batch(last=lambda image: ToTensor()(image)[None].flip(1)), "Red and blue are swapped"),
        (to_batch(last=lambda image: ToTensor()(image)[None].transpose(2, 3)), "Rows and columns are swapped"),
        (to_batch(last=lambda image: ToTensor()(image)[None].flip(3)), "Draw what comes out"),
        (lambda image: torch.full((1, 3, 32, 32), 0.5), "off by"),
        (lambda image: ToTensor()(Image.open(image))[None], "On the picture RGB, 96x96 your code raised"),
    ],
)
def test_picture_mistakes(answer, part, capsys):
    assert part in judged(exercises.q1, answer, capsys)


# ---- 10.2 ----


def top3(mode=False, gradients=False, batch=lambda image: image[None], share=lambda logits: logits.softmax(1)[0],
         choose=lambda row: row.topk(3), pair=lambda classes, index, value: (classes[index], value)):  # fmt: skip
    """A learner's answer with one thing wrong."""

    def answer(model, image, classes):
        if mode is not None:
            model.train(mode)
        with torch.set_grad_enabled(gradients):
            row = share(model(batch(image)))
        values, indices = choose(row)
        return [pair(classes, i, v) for v, i in zip(values.tolist(), indices.tolist(), strict=True)]

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (top3(mode=None), "model.eval() is missing"),
        (top3(mode=True), "model.eval() is missing"),
        (top3(gradients=True), "add with torch.no_grad()"),
        (top3(batch=lambda image: image), "image.unsqueeze(0)"),
        (top3(share=lambda logits: logits[0]), "raw logits"),
        (top3(share=lambda logits: logits.sigmoid()[0]), "That is sigmoid"),
        (top3(share=lambda logits: 100 * logits.softmax(1)[0]), "percentages"),
        (top3(choose=lambda row: row.sort()), "Return three pairs; yours returned 10"),
        (top3(choose=lambda row: row.topk(3, largest=False)), "The order is reversed"),
        (top3(choose=lambda row: [part.flip(0) for part in row.topk(3)]), "The order is reversed"),
        (top3(choose=lambda row: [part[[1, 0, 2]] for part in row.topk(3)]), "not in the right order"),
        (top3(choose=lambda row: (row[:3], torch.arange(3))), "the first three of classes"),
        (top3(choose=lambda row: row.topk(1)), "yours returned 1"),
        (top3(pair=lambda classes, index, value: (index, value)), "is the index"),
        (top3(pair=lambda classes, index, value: (value, classes[index])), "wrong way round"),
        (top3(pair=lambda classes, index, value: (classes[index], torch.tensor(value))), "add .item()"),
        (top3(pair=lambda classes, index, value: (sorted(classes)[index], value)), "so don't sort classes"),
        (top3(pair=lambda classes, index, value: (classes[index - 1], value)), "The three most probable classes are"),
        (top3(pair=lambda classes, index, value: classes[index]), "should be a pair"),
        (top3(pair=lambda classes, index, value: (classes[index], str(value))), "should be a pair"),
        (top3(pair=lambda classes, index, value: (classes[index], value / 2)), "The probabilities should be"),
        (lambda model, image, classes: [("a", 0.5), ("b", 0.3), ("c", 0.2)], "never called the network"),
    ],
)
def test_top3_mistakes(answer, part, capsys):
    assert part in judged(exercises.q2, answer, capsys)


def test_softmax_along_the_wrong_dimension(capsys):
    def answer(model, image, classes):
        with torch.no_grad():
            logits = model.eval()(image[None])
        _, indices = logits[0].topk(3)
        return [(classes[index], logits.softmax(0)[0, index].item()) for index in indices]

    assert "softmax went along the wrong dimension" in judged(exercises.q2, answer, capsys)


def test_softmax_of_the_best_three_alone(capsys):
    answer = top3(share=lambda logits: logits[0], choose=lambda row: (row.topk(3)[0].softmax(0), row.topk(3)[1]))
    assert "Apply softmax to all classes" in judged(exercises.q2, answer, capsys)


def test_random_state_is_left_alone():
    before = torch.get_rng_state()
    exercises.q2.check(top3(mode=True))
    assert torch.equal(torch.get_rng_state(), before)


# ---- 10.3 ----


def answer_all(caught=ValueError, note=str, stop=False, skip=False, instead=None):
    """A learner's answer with one thing wrong."""

    def function(paths, answer):
        answers, errors = {}, {}
        for path in paths:
            try:
                answers[path] = answer(path)
            except caught as error:
                if instead is not None:
                    answers[path] = instead
                elif not skip:
                    errors[path] = note(error)
                if stop:
                    break
        return answers, errors

    return function


def outside(paths, answer):
    answers = {}
    try:
        for path in paths:
            answers[path] = answer(path)
    except ValueError as error:
        return answers, {paths[len(answers)]: str(error)}
    return answers, {}


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (answer_all(caught=()), "stopped the whole function"),
        (answer_all(caught=Exception), "Your except catches everything"),
        (answer_all(caught=RuntimeError), "stopped the whole function"),
        (answer_all(stop=True), "no break or return in except"),
        (outside, "no break or return in except"),
        (answer_all(skip=True), "don't skip them silently"),
        (answer_all(instead="?"), "shouldn't be among the answers"),
        (answer_all(note=copy.copy), "not the error object itself"),
        (answer_all(note=lambda error: True), "should say why"),
        (answer_all(note=lambda error: "bad"), "should say why"),
        (lambda paths, answer: dict.fromkeys(paths, "cat"), "Return two dictionaries"),
        (lambda paths, answer: answer_all()(paths, lambda path: answer(path) and "cat"), "should be 'dog'"),
        (lambda paths, answer: ({}, dict.fromkeys(paths, "not a picture")), "answers['a.png'] should be 'cat'"),
    ],
)
def test_files_mistakes(answer, part, capsys):
    assert part in judged(exercises.q3, answer, capsys)
