"""Exercises of 02_model_shape_test: sizes after a layer, parameters of a layer, a network for larger pictures."""

import torch
from torch import Tensor, nn

from tudui_course.checks.base import Exercise, Wrong, call

# ---- 02.1: size after a convolution ----

# size, kernel, stride, padding
CONVOLUTIONS = ((32, 5, 1, 2), (32, 5, 1, 0), (32, 5, 2, 2), (224, 7, 2, 3), (9, 2, 3, 1), (16, 2, 2, 0))


def judge_size(function: object) -> None:
    for case in CONVOLUTIONS:
        check_size(case, call(function, *case))


def check_size(case: tuple[int, int, int, int], answer: object) -> None:
    size, kernel, stride, padding = case
    layer = nn.Conv2d(1, 1, kernel, stride, padding, device="meta")  # meta: shapes without numbers
    expected = layer(torch.empty((1, 1, size, size), device="meta")).shape[-1]
    said = f"(size={size}, kernel={kernel}, stride={stride}, padding={padding})"
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"{said}：要返回一个整数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"{said}: return a whole number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    if answer == expected and isinstance(answer, int):
        return
    span = size + 2 * padding - kernel
    for mistaken, chinese, english in (
        (float(expected), "尺寸是整数：用 //，不要用 /。", "A size is a whole number: use //, not /."),
        (
            span / stride + 1,
            "除不尽时向下取整：用 //，不要用 /。",
            "Round down when it doesn't divide evenly: use //, not /.",
        ),
        ((span + 1) // stride, "+1 要在除以步长之后加。", "The +1 comes after the division by the stride."),
        (
            span // stride,
            "忘了最后的 +1：卷积核一步不走，也已经有一个位置。",
            "The +1 at the end is missing: before its first step the kernel already has one place.",
        ),
        (
            (size - kernel) // stride + 1,
            "没有算填充：两边各填 padding 圈。",
            "The padding isn't counted: it is added on both sides.",
        ),
        (
            (size + padding - kernel) // stride + 1,
            "填充只算了一边，两边都有：2 * padding。",
            "The padding is counted on one side only; it is on both: 2 * padding.",
        ),
        (span + 1, "没有除以步长。", "It isn't divided by the stride."),
        (-(-span // stride) + 1, "要向下取整，你向上取整了。", "Round down; you rounded up."),
        (
            size,
            "尺寸不总是不变：kernel 5、padding 2 只是正好抵消。",
            "The size doesn't always stay: kernel 5 and padding 2 just happen to cancel out.",
        ),
    ):
        if answer == mistaken and type(answer) is type(mistaken):
            raise Wrong(f"{said}：你返回 {answer!r}。{chinese}", f"{said}: you returned {answer!r}. {english}")
    raise Wrong(
        f"{said}：你返回 {answer!r}，应为 {expected}。", f"{said}: you returned {answer!r}, expected {expected}."
    )


q1 = Exercise(
    name="02.1",
    judge=judge_size,
    praise=(
        "和 nn.Conv2d 六种情形都一致。池化也用这一个公式。",
        "The same as nn.Conv2d in all six cases. Pooling follows this formula too.",
    ),
    hints=(
        (
            "填充之后边长是 size + 2 * padding；卷积核能走多远？",
            "With its padding the side is size + 2 * padding; how far can the kernel travel?",
        ),
        (
            "能走的距离整除步长，再加上起点那一个位置。",
            "Divide that distance by the stride, rounding down, and add the place it starts from.",
        ),
    ),
    answer="""
def conv_size(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


exercises.q1.check(conv_size)
""",
)


# ---- 02.2: parameters of a convolution ----


def judge_parameters(function: object) -> None:
    for case in ((3, 32, 5), (32, 32, 5), (32, 64, 5), (1, 7, 3), (6, 1, 1)):
        check_parameters(case, call(function, *case))


def check_parameters(case: tuple[int, int, int], answer: object) -> None:
    inputs, outputs, kernel = case
    expected = sum(weights.numel() for weights in nn.Conv2d(inputs, outputs, kernel, device="meta").parameters())
    said = f"nn.Conv2d({inputs}, {outputs}, {kernel})"
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"{said}：要返回一个整数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"{said}: return a whole number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    if answer == expected:
        return
    area = kernel * kernel
    for mistaken, chinese, english in (
        (
            inputs * outputs * area,
            "忘了偏置：每个输出通道还有一个。",
            "The biases are missing: one for each output channel.",
        ),
        (
            inputs * outputs * area + inputs,
            "偏置按输出通道算，不按输入通道。",
            "There is one bias for each output channel, not for each input channel.",
        ),
        (
            inputs * outputs * area + 1,
            "每个输出通道各有一个偏置，不是总共一个。",
            "Each output channel has a bias of its own, not one for all.",
        ),
        (
            inputs * outputs * kernel + outputs,
            "卷积核是正方形：kernel * kernel 个权重。",
            "The kernel is a square: kernel * kernel weights.",
        ),
        (
            outputs * area + outputs,
            "每个输出通道对每个输入通道都有一个卷积核：还要乘输入通道数。",
            "Each output channel has a kernel for every input channel: multiply by those too.",
        ),
        (
            (inputs * area + inputs) * outputs,
            "偏置加多了：每个输出通道只有一个，不随输入通道增加。",
            "Too many biases: one for each output channel, however many inputs there are.",
        ),
        (
            inputs * area + 1,
            "这只是一个输出通道的；还要乘输出通道数。",
            "That is one output channel's share; multiply by the output channels.",
        ),
    ):
        if answer == mistaken:
            raise Wrong(f"{said}：你返回 {answer!r}。{chinese}", f"{said}: you returned {answer!r}. {english}")
    raise Wrong(
        f"{said}：你返回 {answer!r}，应为 {expected}。", f"{said}: you returned {answer!r}, expected {expected}."
    )


q2 = Exercise(
    name="02.2",
    judge=judge_parameters,
    praise=(
        "图片大小不在公式里：卷积的参数与图片大小无关。",
        "The size of the picture is not in it: a convolution has as many parameters for any picture.",
    ),
    hints=(
        (
            "一个输出通道要看所有输入通道，每个输入通道一个 kernel×kernel 的核。",
            "An output channel looks at all input channels, through a kernel of kernel×kernel for each.",
        ),
        (
            "每个输出通道再加一个偏置。",
            "Then one bias for each output channel.",
        ),
    ),
    answer="""
def conv_parameters(in_channels, out_channels, kernel):
    return (in_channels * kernel * kernel + 1) * out_channels


exercises.q2.check(conv_parameters)
""",
)


# ---- 02.3: the network for pictures of 64x64 ----

LAYERS = (nn.Conv2d, nn.MaxPool2d, nn.Conv2d, nn.MaxPool2d, nn.Conv2d, nn.MaxPool2d, nn.Flatten, nn.Linear, nn.Linear)


def judge_large(function: object) -> None:
    # The network itself does as well as the function that makes it.
    model = function if isinstance(function, nn.Module) else call(function)
    if isinstance(model, type) or not isinstance(model, nn.Module):
        kind = f"类 {model.__name__}" if isinstance(model, type) else type(model).__name__
        english_kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise Wrong(f"要返回一个网络，你返回的是 {kind}。", f"Return a network; yours returned {english_kind}.")
    for count in (2, 3):  # two sizes: a batch size must not be built in
        check_large(model, torch.ones((count, 3, 64, 64)))


def check_large(model: nn.Module, images: Tensor) -> None:
    given = tuple(images.shape)
    try:
        with torch.no_grad():
            shape = tuple(model(images).shape)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "mat1 and mat2" in reason:
            raise Wrong(
                f"{given}：{reason}。展平之后的特征数和 Linear 的输入数不同：64×64 的图片经三次池化是 8×8。",
                f"{given}: {reason}. Flatten gives another number of features than Linear takes: three poolings make "
                "8x8 of 64x64.",
            ) from None
        raise Wrong(f"{given}：网络出错：{reason}", f"{given}: the network raised: {reason}") from None
    if shape != (len(images), 10):
        raise Wrong(
            f"{given} -> {shape}：应为 {(len(images), 10)}，每张图一行，十个 logits。",
            f"{given} -> {shape}: expected {(len(images), 10)}, a row of ten logits for each picture.",
        )
    kinds = [type(layer) for layer in model.modules() if not list(layer.children())]
    if nn.Softmax in kinds or nn.LogSoftmax in kinds:
        raise Wrong(
            "最后不要 Softmax：CrossEntropyLoss 要的是 logits，它自己会做。",
            "No Softmax at the end: CrossEntropyLoss takes logits and does that itself.",
        )
    if kinds != list(LAYERS):
        raise Wrong(
            f"层要和原来一样，只改 Linear 的输入数；你的是 {', '.join(kind.__name__ for kind in kinds)}。",
            f"Keep the layers as they were and change only Linear's inputs; yours are "
            f"{', '.join(kind.__name__ for kind in kinds)}.",
        )


q3 = Exercise(
    name="02.3",
    judge=judge_large,
    praise=(
        "卷积不在乎图片多大，在乎的只有 Flatten 后面的那一层。",
        "The convolutions don't mind the size of a picture; only the layer after Flatten does.",
    ),
    hints=(
        (
            "三次池化，每次减半：64 变成多少？",
            "Three poolings, each halving it: what becomes of 64?",
        ),
        (
            "Flatten 给出 通道数 × 高 × 宽 个特征，这里是 64 * 8 * 8；Linear 的输入数要与它相等。",
            "Flatten gives channels x height x width features, here 64 * 8 * 8; Linear must take as many.",
        ),
    ),
    answer="""
def build():
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 1, 2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, 1, 2),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, 1, 2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64 * 8 * 8, 64),
        nn.Linear(64, 10),
    )


exercises.q3.check(build)
""",
)
