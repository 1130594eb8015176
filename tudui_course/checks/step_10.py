"""Exercises of 10_own_picture: a picture of any kind as a batch, the three best classes, error or answer, a bug."""

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torchvision.transforms.functional import to_tensor

from tudui_course.checks.judges import attempt, judge_prediction, shape_of
from tudui_course.checks.props import Watched
from tudui_course.checks.table import exercise
from tudui_course.data.picture import to_rgb
from tudui_course.model import TuduiNorm

WITHIN = 0.03  # what another way of resizing may change in the mean of 4x4 pixels
IMAGE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
BATCHES = {
    "no batch dimension": IMAGE,
    "four channels": torch.cat([IMAGE, IMAGE[:1]]).unsqueeze(0),
    "640x480, not made smaller": IMAGE.repeat(1, 15, 20).unsqueeze(0),
    "0 to 255": 255 * IMAGE.unsqueeze(0),
    "red and blue swapped": IMAGE.flip(0).unsqueeze(0),
    "train() instead of eval()": IMAGE.unsqueeze(0),
}


def smooth(width, height, seed):
    """A picture of soft spots of colour, which every way of resizing treats alike."""
    spots = np.random.default_rng(seed).integers(0, 256, (4, 4 * width // height or 1, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)


def turned():
    """A wide picture as a camera held upright stores it: lying, with a note that says how to turn it."""
    picture = smooth(160, 80, 5).transpose(Image.Transpose.ROTATE_90)
    picture.getexif()[0x0112] = 6  # the orientation
    return picture


PICTURES = {
    "RGB, 96x96": lambda: smooth(96, 96, 0),
    "L, 80x80": lambda: smooth(80, 80, 1).convert("L"),
    "P, 64x64": lambda: smooth(64, 64, 2).quantize(32),
    "RGBA, 96x96": lambda: smooth(96, 48, 3).convert("RGBA").crop((0, 0, 96, 96)),  # below: transparent, black beneath
    "RGB, 160x80": lambda: smooth(160, 80, 4),
    "RGB, 60x150": lambda: smooth(60, 150, 6),
    "RGB, 80x160, EXIF orientation 6": turned,
}
SQUARES = {"32x32": lambda: smooth(32, 32, 7), "64x64": lambda: smooth(64, 64, 9)}


def judge_pictures(cases):
    """Judge what makes a batch of a picture; each of the cases makes one."""

    def judge(to_batch):
        for what, make in cases.items():
            picture = to_rgb(ImageOps.exif_transpose(make()))
            expected = to_tensor(ImageOps.fit(picture, (32, 32), Image.Resampling.BILINEAR)).unsqueeze(0)
            yield from batch_facts(what, attempt(to_batch, [make()]), expected)

    return judge


def batch_facts(what, answer, expected):
    """Kind, shape, dtype, range, and then the pixels."""
    if not isinstance(answer, Tensor):
        yield what, answer, expected
        return
    last = answer.shape[-1:] in ((3,), (4,))
    yield f"{what}：通道在最后 · {what}: the channels come last", last, False
    yield f"{what}，形状 · {what}, shape", shape_of(answer), shape_of(expected)
    yield f"{what}：不是浮点数 · {what}: not floats", not answer.is_floating_point(), False
    yield f"{what}：有负数 · {what}: there are negative values", bool(answer.min() < -0.01), False
    yield f"{what}：超过 1 · {what}: there are values above 1", bool(answer.max() > 1.5), False
    yield what, *(avg_pool2d(images.detach().float().cpu(), 4) for images in (answer, expected))


def judge_top3(top3):
    """Networks of ten, five and three classes, each handed over in training mode."""
    for count, seed in ((10, 0), (5, 1), (3, 2)):
        torch.default_generator.manual_seed(seed)
        model = Watched(nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 32, count))
        image = torch.rand(3, 32, 32)
        classes = [f"class {letter}" for letter in np.random.default_rng(seed).permutation([*"qwertzuiop"][:count])]
        with torch.no_grad():
            shares = model.layers.eval()(image.unsqueeze(0))[0].softmax(0).tolist()
        expected = sorted(zip(classes, shares, strict=True), key=lambda pair: -pair[1])[:3]
        answer = attempt(top3, [model.train(), image.clone(), list(classes)])
        if not isinstance(answer, list | tuple):
            yield f"{count} 类 · {count} classes", answer, expected
            return
        yield "你的函数没有用到网络 · your function never called the network", not model.modes, False
        yield "网络是在训练模式下回答的 · the network answered in training mode", any(model.modes), False
        yield "记录了梯度 · gradients were recorded", any(model.recorded), False
        yield f"{count} 类里报了几对 · pairs, out of {count} classes", len(answer), 3
        names, right = ([str(pair[0]) for pair in pairs if isinstance(pair, list | tuple) and pair]
                        for pairs in (answer, expected))  # fmt: skip
        mixed = sorted(names) == sorted(right) and names != right
        yield f"{count} 类：次序不对 · {count} classes: not in the right order", mixed, False
        yield f"{count} 类，top3(...) · {count} classes, top3(...)", list(answer), expected


def outcome(what):
    """Whether the network answers to such a batch, or refuses it with an error."""
    model = TuduiNorm().train("train()" in what)
    try:
        model(BATCHES[what])
    except ValueError:
        return "error"
    return "answer"


q1 = exercise("10.1", judge_pictures(PICTURES), WITHIN, to_first_wrong=True)
q2 = exercise("10.2", judge_top3, within=1e-3)
q3 = exercise("10.3", judge_prediction({what: outcome(what) for what in BATCHES}, options=("error", "answer")))
q4 = exercise("10.4", judge_pictures(SQUARES), WITHIN, to_first_wrong=True)
