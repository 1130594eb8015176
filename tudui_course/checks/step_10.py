"""Exercises of 10_own_picture: a picture of any kind as a batch, the three best classes, files that can't be read."""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from tudui_course.checks.base import Blank, Exercise, Wrong, call
from tudui_course.data.picture import to_rgb
from tudui_course.model import check_images

# ---- 10.1: a picture of any kind as a batch of one ----

TOLERANCE = 0.03  # mean difference that another way of resizing may make
ORIENTATION = 0x0112  # the EXIF entry that says how the camera was held


def smooth(width: int, height: int, seed: int) -> Image.Image:
    """A picture of soft spots of colour, which every way of resizing treats alike."""
    spots = np.random.default_rng(seed).integers(0, 256, (4, 4 * width // height or 1, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC)


def half_transparent() -> Image.Image:
    """RGBA; the lower half is transparent, and black underneath, as drawing programs leave it."""
    pixels = np.array(smooth(96, 96, 3).convert("RGBA"))
    pixels[48:] = 0
    return Image.fromarray(pixels)


def turned() -> Image.Image:
    """A wide picture as a camera held upright stores it: lying, with a note that says how to turn it."""
    picture = smooth(160, 80, 5).transpose(Image.Transpose.ROTATE_90)
    picture.getexif()[ORIENTATION] = 6
    return picture


CASES: dict[str, Callable[[], Image.Image]] = {
    "RGB, 96x96": lambda: smooth(96, 96, 0),
    "L, 80x80": lambda: smooth(80, 80, 1).convert("L"),
    "P, 64x64": lambda: smooth(64, 64, 2).quantize(32),
    "RGBA, 96x96": half_transparent,
    "RGB, 160x80": lambda: smooth(160, 80, 4),
    "RGB, 60x150": lambda: smooth(60, 150, 6),
    "RGB, 80x160, EXIF orientation 6": turned,
}


def as_seen(picture: Image.Image) -> Tensor:
    """What the network should see: (1, 3, 32, 32)."""
    upright = ImageOps.exif_transpose(picture)
    return fitted(to_rgb(upright))


def fitted(picture: Image.Image, centering: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """Scaled and cut to 32x32, as a batch of one."""
    fit = ImageOps.fit(picture, (32, 32), Image.Resampling.BILINEAR, centering=centering)
    return to_tensor(fit).unsqueeze(0)


def judge_to_batch(function: object) -> None:
    """Seven pictures of several modes and shapes."""
    for what, make in CASES.items():
        picture = make()
        try:
            answer = call(function, make())
        except (Wrong, Blank):
            raise
        except Exception as error:
            raise Wrong(
                f"图片（{what}）使你的代码出错：{type(error).__name__}: {error}",
                f"On the picture {what} your code raised {type(error).__name__}: {error}",
            ) from None
        check_form(answer, what)
        check_pixels(answer, picture, what)


def check_form(answer: object, what: str) -> None:
    """Judge type, shape, dtype and range."""
    if not isinstance(answer, Tensor):
        kind = "PIL picture" if isinstance(answer, Image.Image) else type(answer).__name__
        raise Wrong(
            f"{what}：要一个张量，你返回的是 {kind}；ToTensor() 把图片变成张量。",
            f"{what}: return a tensor; yours is a {kind}. ToTensor() makes a tensor of a picture.",
        )
    shape = tuple(answer.shape)
    if shape != (1, 3, 32, 32):
        chinese, english = why_shape(shape)
        raise Wrong(
            f"{what}：形状是 {shape}，应为 (1, 3, 32, 32)。{chinese}",
            f"{what}: the shape is {shape}, but it should be (1, 3, 32, 32). {english}",
        )
    if not answer.is_floating_point():
        raise Wrong(
            f"{what}：类型是 {answer.dtype}，卷积要的是浮点数；ToTensor() 会转换，并除以 255。",
            f"{what}: the dtype is {answer.dtype}, but convolutions need floats; ToTensor() converts, and divides by "
            "255.",
        )
    if answer.max() > 1.5:
        raise Wrong(
            f"{what}：最大值是 {answer.max():g}；训练时的图片在 0 到 1 之间，要除以 255（ToTensor() 会做）。",
            f"{what}: the largest value is {answer.max():g}, but in training pictures were in [0, 1]: divide by 255, "
            "as ToTensor() does.",
        )
    if answer.min() < -0.01:
        raise Wrong(
            f"{what}：最小值是 {answer.min():g}，你已经做了归一化；这里先不做，留在 [0, 1]。",
            f"{what}: the smallest value is {answer.min():g}, so you have normalised already; leave that out here.",
        )


def why_shape(shape: tuple[int, ...]) -> tuple[str, str]:
    """What is behind a wrong shape."""
    if shape[-1:] in ((3,), (4,)) and len(shape) in (3, 4):
        return (
            "通道排到了最后；ToTensor() 会把它放到前面。",
            "The channels come last; ToTensor() puts them first.",
        )
    if len(shape) == 3:
        return "少了批这一维：.unsqueeze(0)。", "The batch dimension is missing: .unsqueeze(0)."
    if len(shape) == 4 and shape[1] == 4:
        return (
            "第四个通道是透明度：先转成 RGB。",
            "The fourth channel is transparency: convert to RGB first.",
        )
    if len(shape) == 4 and shape[1] in (1, 2):
        return (
            "这种图没有三个颜色通道：先 convert 成 RGB。",
            "Such a picture has no three colour channels: convert it to RGB first.",
        )
    if len(shape) == 4 and shape[2:] != (32, 32):
        return "大小不是 32x32：先裁剪、缩放。", "The size isn't 32x32: crop and resize first."
    return "一张图，三个通道，32x32。", "One picture, three channels, 32x32."


def check_pixels(answer: Tensor, picture: Image.Image, what: str) -> None:
    """Compare with what the network should see, and recognise typical mistakes."""
    answer = answer.detach().float().cpu()
    expected = as_seen(picture)

    def like(other: Tensor) -> bool:
        return (answer - other).abs().mean().item() < TOLERANCE < (expected - other).abs().mean().item()

    if (answer - expected).abs().mean() < TOLERANCE:
        return
    upright = to_rgb(ImageOps.exif_transpose(picture))
    black = ImageOps.exif_transpose(picture).convert("RGBA")
    black = Image.alpha_composite(Image.new("RGBA", black.size, "black"), black).convert("RGB")
    squeezed = to_tensor(upright.resize((32, 32), Image.Resampling.BILINEAR)).unsqueeze(0)
    lying = to_rgb(picture)
    squeezed_lying = to_tensor(lying.resize((32, 32), Image.Resampling.BILINEAR)).unsqueeze(0)
    mistakes = (
        (
            fitted(black),
            "透明的地方成了黑色：convert('RGB') 只是扔掉透明度。先铺一张白底，再合成。",
            "Transparent parts became black: convert('RGB') just drops the alpha. Lay the picture over white first.",
        ),
        (
            squeezed,
            "图被压扁了：resize((32, 32)) 不管长宽比。按短边缩放，再裁出中间，例如 ImageOps.fit。",
            "It was squeezed: resize((32, 32)) ignores the proportions. Scale by the shorter side and cut out the "
            "middle, for example with ImageOps.fit.",
        ),
        (
            fitted(lying),
            "图是横躺的：照片里的 EXIF 方向没有理会，用 ImageOps.exif_transpose。",
            "It lies on its side: the EXIF orientation was ignored; use ImageOps.exif_transpose.",
        ),
        (
            squeezed_lying,
            "图是横躺的：照片里的 EXIF 方向没有理会，用 ImageOps.exif_transpose。",
            "It lies on its side: the EXIF orientation was ignored; use ImageOps.exif_transpose.",
        ),
        (
            fitted(upright, (0, 0)),
            "裁的不是中间，而是左上角。",
            "You cut out the upper left corner, not the middle.",
        ),
        (
            expected.flip(1),
            "红和蓝调换了（BGR），OpenCV 读图就是这样；要 RGB。",
            "Red and blue are swapped (BGR, as OpenCV reads pictures); this needs RGB.",
        ),
        (
            expected.transpose(2, 3),
            "行和列调换了：是 permute(2, 0, 1)，不是 (2, 1, 0)。",
            "Rows and columns are swapped: permute(2, 0, 1), not (2, 1, 0).",
        ),
    )
    for other, chinese, english in mistakes:
        if like(other):
            raise Wrong(f"{what}：{chinese}", f"{what}: {english}")
    off = (answer - expected).abs().mean().item()
    raise Wrong(
        f"{what}：形状对，像素不对，平均差 {off:.2f}。把它画出来看看：plots.show_pictures(to_batch(picture))。",
        f"{what}: the shape is right but the pixels aren't, off by {off:.2f} on average. Draw what comes out: "
        "plots.show_pictures(to_batch(picture)).",
    )


q1 = Exercise(
    name="10.1",
    judge=judge_to_batch,
    praise=(
        "彩色、灰度、调色板、透明、横放、不方的图都对。",
        "Colour, grey, palette, transparent, turned and not square: all right.",
    ),
    hints=(
        (
            "依次：转正，铺白底转 RGB，取中间 32x32，ToTensor，加一维。",
            "In this order: upright, RGB over white, the middle as 32x32, ToTensor, one more dimension.",
        ),
        (
            "ImageOps.exif_transpose、on_white、ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR)、"
            "ToTensor()(image).unsqueeze(0)。",
            "ImageOps.exif_transpose, on_white, ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR), "
            "ToTensor()(image).unsqueeze(0).",
        ),
    ),
    answer="""
def to_batch(image):
    image = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image).convert("RGB")
    image = ImageOps.fit(image, (32, 32), Image.Resampling.BILINEAR)
    return ToTensor()(image).unsqueeze(0)


exercises.q1.check(to_batch)
""",
)


# ---- 10.2: the three most probable classes ----


class Watched(nn.Module):
    """A small network with BatchNorm and Dropout that notes how it is called."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(3 * 32 * 32, num_classes)
        )
        self.modes, self.recorded = [], []

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32) to logits (N, C)."""
        check_images(images)
        self.modes.append(self.training)
        self.recorded.append(torch.is_grad_enabled())
        return self.layers(images)


def judge_top3(function: object) -> None:
    """Networks of ten, five and three classes, each handed over in train mode."""
    for num_classes, seed in ((10, 0), (5, 1), (3, 2)):
        check_top3(function, num_classes, seed)


def check_top3(function: object, num_classes: int, seed: int) -> None:
    """Judge the answer for one picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, image = Watched(num_classes), torch.rand(3, 32, 32)
        classes = [
            f"class {letter}" for letter in np.random.default_rng(seed).permutation([*"qwertzuiop"][:num_classes])
        ]
        with torch.no_grad():
            logits = model.eval()(image.unsqueeze(0))[0]
        model.train()
        model.modes, model.recorded = [], []
        try:
            answer = call(function, model, image.clone(), list(classes))
        except ValueError as error:
            if "batch dimension is missing" not in str(error):
                raise
            raise Wrong(
                "网络要的是一批图，你给了一张 (3, 32, 32)：image.unsqueeze(0)。",
                "The network wants a batch, and you gave it one picture of (3, 32, 32): image.unsqueeze(0).",
            ) from None
    check_calls(model)
    pairs = as_pairs(answer, num_classes)
    check_names(pairs, classes, logits)
    check_probabilities(pairs, logits)


def check_calls(model: Watched) -> None:
    """Judge how the network was called."""
    if not model.modes:
        raise Wrong(
            "你的函数没有用到网络：model(image.unsqueeze(0))。",
            "Your function never called the network: model(image.unsqueeze(0)).",
        )
    if any(model.modes):
        raise Wrong(
            "网络是在训练模式下回答的：少了 model.eval()。Dropout 在掷骰子，每次答案都不同。",
            "The network answered in train mode: model.eval() is missing. Dropout rolls dice, so answers differ from "
            "call to call.",
        )
    if any(model.recorded):
        raise Wrong(
            "答案是在记录梯度的情况下算的：加上 with torch.no_grad()。",
            "The answer was computed with gradients recorded: add with torch.no_grad().",
        )


def as_pairs(answer: object, num_classes: int) -> list[tuple[str, float]]:
    """The answer as three pairs of a name and a number, or Wrong with what it is instead."""
    if not isinstance(answer, list | tuple):
        raise Wrong(
            f"要一个列表，三对 (类名, 概率)，你返回的是 {type(answer).__name__}。",
            f"Return a list of three pairs, (class name, probability); yours returned {type(answer).__name__}.",
        )
    if len(answer) != 3:
        raise Wrong(
            f"要三对，你返回了 {len(answer)} 个（共 {num_classes} 类）。",
            f"Return three pairs; yours returned {len(answer)} (there are {num_classes} classes).",
        )
    for pair in answer:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise Wrong(
                f"每一项要一对 (类名, 概率)，你的是 {str(pair)[:60]}。",
                f"Each entry should be a pair, (class name, probability); yours has {str(pair)[:60]}.",
            )
        name, probability = pair
        if isinstance(name, int | Tensor | np.integer):
            raise Wrong(
                f"第一样要类名，你给的是序号 {name}：classes[序号]。",
                f"The first of a pair should be a class name, but yours is the index {name}: classes[index].",
            )
        if isinstance(probability, Tensor):
            raise Wrong(
                f"概率要普通的数，你给的是张量 {str(probability.detach())[:60]}：加上 .item() 或 .tolist()。",
                f"A probability should be a plain number, but yours is {str(probability.detach())[:60]}: "
                "add .item() or .tolist().",
            )
        if isinstance(name, float) and isinstance(probability, str):
            raise Wrong("次序反了：类名在前，概率在后。", "The wrong way round: the name first, then the probability.")
        if not isinstance(name, str) or isinstance(probability, bool) or not isinstance(probability, int | float):
            raise Wrong(
                f"每一项要一对 (类名, 概率)，你的是 {str(pair)[:60]}。",
                f"Each entry should be a pair, (class name, probability); yours has {str(pair)[:60]}.",
            )
    return [tuple(pair) for pair in answer]


def check_names(pairs: list[tuple[str, float]], classes: list[str], logits: Tensor) -> None:
    """Judge which classes are named, and in which order."""
    names = [name for name, _ in pairs]
    ranked = [classes[index] for index in logits.argsort(descending=True).tolist()]
    if names == ranked[:3]:
        return
    if names == ranked[:3][::-1] or names == ranked[::-1][:3]:
        raise Wrong(
            "次序反了：最可能的排在最前（descending=True，或 topk）。",
            "The order is reversed: the most probable comes first (descending=True, or topk).",
        )
    if sorted(names) == sorted(ranked[:3]):
        raise Wrong(
            "三个类对了，次序不对：最可能的排在最前。",
            "These are the right three, but not in the right order: the most probable comes first.",
        )
    if names == classes[:3]:
        raise Wrong(
            "这是 classes 的前三个，不是最可能的三个。",
            "Those are the first three of classes, not the three most probable.",
        )
    if names == [sorted(classes)[classes.index(name)] for name in ranked[:3]]:
        raise Wrong(
            "类名的次序不能动：第 i 个数属于 classes[i]，不要给 classes 排序。",
            "Leave the order of the names alone: number i belongs to classes[i], so don't sort classes.",
        )
    raise Wrong(
        f"最可能的三类应是 {', '.join(ranked[:3])}，你给的是 {', '.join(names)}。",
        f"The three most probable classes are {', '.join(ranked[:3])}, but you gave {', '.join(names)}.",
    )


def check_probabilities(pairs: list[tuple[str, float]], logits: Tensor) -> None:
    """Judge the three numbers."""
    numbers = [number for _, number in pairs]
    expected = logits.softmax(0).sort(descending=True).values[:3].tolist()
    best = logits.sort(descending=True).values[:3]

    def same(other: list[float]) -> bool:
        return all(math.isclose(one, two, abs_tol=1e-3) for one, two in zip(numbers, other, strict=True))

    if same(expected):
        return
    mistakes = (
        (
            [1.0] * 3,
            "都是 1：softmax 沿错了维。一批 (1, C)，类沿着第 1 维：softmax(1)。",
            "All of them are 1: softmax went along the wrong dimension. In a batch (1, C) the classes lie along dim 1: "
            "softmax(1).",
        ),
        (
            best.tolist(),
            "这是网络的原始输出（logits），还要 softmax。",
            "Those are the raw logits; apply softmax first.",
        ),
        (
            best.softmax(0).tolist(),
            "softmax 要对全部的类做，再取前三；你先取了前三。",
            "Apply softmax to all classes and then take three; you took three first.",
        ),
        (
            [100 * value for value in expected],
            "这是百分数；要 0 到 1 之间的数。",
            "Those are percentages; give numbers from 0 to 1.",
        ),
        (
            best.sigmoid().tolist(),
            "这是 sigmoid，各类互不相干；要 softmax。",
            "That is sigmoid, which looks at each class alone; use softmax.",
        ),
    )
    for other, chinese, english in mistakes:
        if same(other):
            raise Wrong(chinese, english)
    shown, right = (", ".join(f"{value:.4f}" for value in values) for values in (numbers, expected))
    raise Wrong(f"概率应为 {right}，你得到 {shown}。", f"The probabilities should be {right}, but you got {shown}.")


q2 = Exercise(
    name="10.2",
    judge=judge_top3,
    praise=(
        "模式、维度、次序、类名都对。",
        "Mode, dimension, order and names are all right.",
    ),
    hints=(
        (
            "eval()、no_grad()、unsqueeze(0)、softmax(1)，再 topk(3)。",
            "eval(), no_grad(), unsqueeze(0), softmax(1), and then topk(3).",
        ),
        (
            "values, indices = probabilities.topk(3)；名字是 classes[index]。",
            "values, indices = probabilities.topk(3); the name is classes[index].",
        ),
    ),
    answer="""
def top3(model, image, classes):
    model.eval()
    with torch.no_grad():
        probabilities = model(image.unsqueeze(0)).softmax(1)[0]
    values, indices = probabilities.topk(3)
    return [(classes[index], value) for value, index in zip(values.tolist(), indices.tolist(), strict=True)]


exercises.q2.check(top3)
""",
)


# ---- 10.3: one bad file doesn't stop the others ----

FILES = {"a.png": "cat", "b.png": None, "c.png": "dog", "d.png": None, "e.png": "frog"}  # None can't be read


class OutOfMemory(RuntimeError):
    """Stands for trouble that has nothing to do with the file."""


def read(path: str) -> str:
    """A class name, or ValueError for a file that can't be read."""
    if FILES[path] is None:
        raise ValueError(f"{path}: not a picture that can be read.")
    return FILES[path]


def out_of_memory(path: str) -> str:
    """Trouble that is not the file's fault."""
    raise OutOfMemory("the device is out of memory")


def judge_answer_all(function: object) -> None:
    """Good and bad files mixed, only good ones, none; then trouble that must come through."""
    for paths in (list(FILES), ["b.png", "a.png"], ["c.png", "e.png"], ["d.png"], []):
        check_answer_all(function, paths)
    try:
        call(function, ["a.png"], out_of_memory)
    except OutOfMemory:
        return
    raise Wrong(
        "你的 except 什么错误都接住了：内存不够、代码写错，都会被当成“坏文件”。只接 ValueError。",
        "Your except catches everything: no memory left, a slip in the code, all would pass for a bad file. "
        "Catch ValueError only.",
    )


def check_answer_all(function: object, paths: list[str]) -> None:
    """Judge both dictionaries for one list of files."""
    try:
        answer = call(function, list(paths), read)
    except ValueError as error:
        raise Wrong(
            f"一个坏文件（{error}）就让整个函数停下了：try / except ValueError 要放在循环里面。",
            f"One bad file ({error}) stopped the whole function: put try / except ValueError inside the loop.",
        ) from None
    if not (isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(part, dict) for part in answer)):
        raise Wrong(
            f"要返回两个字典 (answers, errors)，你返回的是 {type(answer).__name__}。",
            f"Return two dictionaries, (answers, errors); yours returned {type(answer).__name__}.",
        )
    answers, errors = answer
    bad = [path for path in paths if FILES[path] is None]
    if any(path in answers for path in bad):
        raise Wrong(
            f"读不了的 {bad[0]} 不该出现在 answers 里。",
            f"{bad[0]} can't be read, so it shouldn't be among the answers.",
        )
    missing = [path for path in paths if path not in answers and path not in errors]
    if missing:
        after = bool(bad) and paths.index(missing[0]) > paths.index(bad[0])
        if after and FILES[missing[0]] is not None:
            raise Wrong(
                f"坏文件之后的 {missing[0]} 没有回答：except 里不要 break 或 return。",
                f"{missing[0]}, which comes after a bad file, got no answer: no break or return in except.",
            )
        raise Wrong(
            f"{missing[0]} 哪里都没有：坏文件要记在 errors 里，不能悄悄跳过。",
            f"{missing[0]} is in neither dictionary: note bad files in errors, don't skip them silently.",
        )
    for path in paths:
        check_entry(path, answers, errors)


def check_entry(path: str, answers: dict, errors: dict) -> None:
    """Judge what is noted for one file."""
    if FILES[path] is not None:
        if answers.get(path) != FILES[path]:
            raise Wrong(
                f"answers[{path!r}] 应为 {FILES[path]!r}，你的是 {str(answers.get(path))[:40]!r}。",
                f"answers[{path!r}] should be {FILES[path]!r}, but yours is {str(answers.get(path))[:40]!r}.",
            )
        if path in errors:
            raise Wrong(f"{path} 读得了，不该在 errors 里。", f"{path} can be read; it shouldn't be among the errors.")
        return
    reason = errors[path]
    if isinstance(reason, Exception):
        raise Wrong(
            "errors 里要的是文字：str(error)，不是错误对象本身。",
            "errors should hold text, str(error), not the error object itself.",
        )
    if not isinstance(reason, str) or "not a picture" not in reason:
        raise Wrong(
            f"errors[{path!r}] 要写明原因，即 str(error)；你的是 {str(reason)[:40]!r}。",
            f"errors[{path!r}] should say why, str(error); yours is {str(reason)[:40]!r}.",
        )


q3 = Exercise(
    name="10.3",
    judge=judge_answer_all,
    praise=(
        "好文件都有回答，坏文件都有原因，别的错误不隐瞒。",
        "Good files get answers, bad ones a reason, and other trouble isn't hidden.",
    ),
    hints=(
        (
            "循环里面放 try；接住 ValueError，别的放过。",
            "Put try inside the loop; catch ValueError and nothing else.",
        ),
        (
            "except ValueError as error: errors[path] = str(error)",
            "except ValueError as error: errors[path] = str(error)",
        ),
    ),
    answer="""
def answer_all(paths, answer):
    answers, errors = {}, {}
    for path in paths:
        try:
            answers[path] = answer(path)
        except ValueError as error:
            errors[path] = str(error)
    return answers, errors


exercises.q3.check(answer_all)
""",
)
