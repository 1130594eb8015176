"""Exercises of 11_choosing_honestly: fifty guessers, a leak to be mended, standard errors, pairs, an honest report."""

import torch

from tudui_course.checks.judges import attempt, call, judge_function, judge_prediction, required
from tudui_course.checks.table import exercise
from tudui_course.data import InMemory

FIFTY = {"the best of fifty": 0.12, "the same one in a new exam": 0.10}


def judge_prepare(prepare):
    """Where the pictures of a small set end up, and their shifted copies, with 2 and with 3 kept back of each class."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (30, 3, 4, 4), dtype=torch.uint8, generator=generator)
    before = images.clone()
    pictures = InMemory(images, torch.arange(30) % 3, ["a", "b", "c"])
    originals = {as_bytes(image): number for number, image in enumerate(images)}
    shifted = {as_bytes(image): number for number, image in enumerate(images.roll(1, dims=3))}
    for count in (6, 9):
        parts = required(call(prepare, pictures, count), tuple | list, "两份图片", "two sets of pictures")
        train, val = (required(part, InMemory, "两个 InMemory", "two InMemory sets") for part in parts)
        names = [[as_bytes(image) for image in part.images] for part in (train, val)]
        numbers = [[(originals | shifted).get(name) for name in part] for part in names]
        what = f"count={count}"
        leak = f"{what}：训练图里有验证图或它的翻版 · {what}: validation pictures or copies are trained on"
        yield leak, not set(numbers[0]).isdisjoint(numbers[1]), False
        yield f"{what}，验证图张数 · {what}, validation pictures", len(val.images), count
        yield f"{what}，训练图张数 · {what}, training pictures", len(train.images), 2 * (30 - count)
        moved = f"{what}：验证图里有移过的 · {what}: there are shifted pictures among those to validate on"
        yield moved, not shifted.keys().isdisjoint(names[1]), False
        copies = sum(name in shifted for name in names[0])
        yield f"{what}，训练图里移过的 · {what}, shifted training pictures", copies, 30 - count
        for name, part, found in zip(("train", "validation"), (train, val), numbers, strict=True):
            wrong = part.targets.tolist() != [None if number is None else number % 3 for number in found]
            yield f"{what}：{name} 的标签和图对不上 · {what}: labels of {name} don't fit its pictures", wrong, False
    yield "你改动了 pictures · you changed pictures", not torch.equal(pictures.images, before), False


def as_bytes(image):
    return image.numpy().tobytes()


def standard_error(right, count):
    each = torch.zeros(count, dtype=torch.float64)
    each[:right] = 1
    return each.std(correction=0).item() / count**0.5


def compare(first, second):
    """From each picture's difference, -1, 0 or 1."""
    apart = second.double() - first.double()
    return apart.mean().item(), apart.square().sum().item() ** 0.5 / len(apart)


def answers(seed, count, *chances):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(count, generator=generator) < chance for chance in chances)


def judge_report(report):
    """The name chosen, and the number reported, for each of some comparisons."""
    for number, (val, test, expected) in enumerate(RECIPES, start=1):
        yield f"第 {number} 组 · set {number}", attempt(report, (val, test)), expected


# The best mean in validation, the best single seed there, the best on the test set and the worst all differ.
RECIPES = (
    (
        {"base": [0.61, 0.62, 0.6], "decay": [0.65, 0.66, 0.67], "smooth": [0.7, 0.58, 0.59], "flip": [0.5, 0.5, 0.5]},
        {"base": [0.66, 0.68, 0.7], "decay": [0.62, 0.64, 0.69], "smooth": [0.59, 0.61, 0.57], "flip": [0.5, 0.6, 0.4]},
        ("decay", 0.65),
    ),
    (
        {"a": [0.82, 0.70], "b": [0.79, 0.78], "c": [0.71, 0.73], "d": [0.60, 0.65]},
        {"a": [0.75, 0.73], "b": [0.77, 0.73], "c": [0.79, 0.78], "d": [0.66, 0.61]},
        ("b", 0.75),
    ),
    ({"only": [0.5, 0.6]}, {"only": [0.4, 0.55]}, ("only", 0.475)),
)

q1 = exercise("11.1", judge_prediction(FIFTY, options=(0.10, 0.12, 0.15, 0.20)))
q2 = exercise("11.2", judge_prepare)
q3 = exercise("11.3", judge_function(standard_error, [(90, 100), (1500, 2000), (123, 1000), (7, 10)]))
q4 = exercise("11.4", judge_function(compare, [answers(1, 40, 0.5, 0.8), answers(2, 300, 0.7, 0.6)]))
q5 = exercise("11.5", judge_report)
