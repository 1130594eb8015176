"""Exercises of 01_dataloader: how many batches, which way round a picture lies, a loader that can be repeated."""

import math

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from tudui_course.checks.base import Exercise, Wrong, call

# ---- 01.1: batches in an epoch ----


def judge_count(function: object) -> None:
    for count, batch_size in ((50_000, 64), (10_000, 64), (128, 64), (1000, 48), (63, 64), (65, 64)):
        for drop_last in (False, True):
            check_count(count, batch_size, drop_last, call(function, count, batch_size, drop_last))


def check_count(count: int, batch_size: int, drop_last: bool, answer: object) -> None:
    expected = len(DataLoader(range(count), batch_size, drop_last=drop_last))
    case = f"({count}, {batch_size}, drop_last={drop_last})"
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        raise Wrong(
            f"{case}：要返回一个整数，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"{case}: return a whole number; yours returned {type(answer).__name__}: {answer!r}.",
        )
    if answer == expected and isinstance(answer, int):
        return
    down, up = count // batch_size, -(-count // batch_size)
    if isinstance(answer, float) and answer == expected:
        chinese, english = (
            "批次数是整数，不是小数：用 // 或 math.ceil。",
            "It is a whole number, not a float: use // or math.ceil.",
        )
    elif isinstance(answer, float) and math.isclose(answer, count / batch_size):
        chinese, english = "这是没有取整的商。", "That is the quotient, not rounded."
    elif drop_last and answer == up:
        chinese, english = (
            "drop_last=True 时不满的最后一批被丢掉，要向下取整。",
            "With drop_last=True the ragged last batch is dropped: round down.",
        )
    elif not drop_last and answer == down + 1:
        chinese, english = "正好整除时没有多出来的一批。", "When it divides evenly there is no extra batch."
    elif not drop_last and answer == down:
        chinese, english = "剩下的图片也是一批，要向上取整。", "The pictures left over are a batch too: round up."
    else:
        chinese, english = f"应为 {expected}。", f"It should be {expected}."
    raise Wrong(f"{case}：你返回 {answer!r}。{chinese}", f"{case}: you returned {answer!r}. {english}")


q1 = Exercise(
    name="01.1",
    judge=judge_count,
    praise=(
        "782、157 这些数，从此不用记，一算就有。",
        "782 and 157 are no longer numbers to remember: you can work them out.",
    ),
    hints=(
        (
            "剩下不满一批的图片，要不要单独算一批？drop_last 说的就是这件事。",
            "Do the pictures left over make a batch of their own? That is what drop_last decides.",
        ),
        (
            "向下取整是 count // batch_size，向上取整是 math.ceil(count / batch_size)。",
            "Rounded down it is count // batch_size, rounded up math.ceil(count / batch_size).",
        ),
    ),
    answer="""
import math


def batches(count, batch_size, drop_last):
    return count // batch_size if drop_last else math.ceil(count / batch_size)


exercises.q1.check(batches)
""",
)


# ---- 01.2: (3, H, W) -> (H, W, 3) ----


def judge_picture(function: object) -> None:
    for height, width in ((32, 32), (4, 6)):  # the second one tells height from width
        image = torch.rand((3, height, width), generator=torch.Generator().manual_seed(height))
        check_picture(image, call(function, image.clone()))


def check_picture(image: Tensor, answer: object) -> None:
    expected = image.permute(1, 2, 0)
    if not isinstance(answer, Tensor):
        if type(answer).__module__ != "numpy" or not hasattr(answer, "shape"):
            raise Wrong(
                f"要返回一个张量，你返回的是 {type(answer).__name__}。",
                f"Return a tensor; yours returned {type(answer).__name__}.",
            )
        answer = torch.as_tensor(answer)
    given, wanted = tuple(answer.shape), tuple(expected.shape)
    said = f"{tuple(image.shape)} -> {given}"
    if given == wanted and answer.dtype == expected.dtype and torch.equal(answer, expected):
        return
    if given == wanted and torch.equal(answer.double(), image.reshape(wanted).double()):
        raise Wrong(
            f"{said}：形状对了，内容乱了。reshape 和 view 只是按原来的顺序重新断行，没有交换维度；用 permute。",
            f"{said}: the right shape, but scrambled. reshape and view cut the same row of numbers anew "
            "without exchanging dimensions; use permute.",
        )
    if given == tuple(image.T.shape) and torch.equal(answer.double(), image.permute(2, 1, 0).double()):
        raise Wrong(
            f"{said}：通道到了最后，但高和宽也换了，图片会沿对角线翻转；要的顺序是 (1, 2, 0)。",
            f"{said}: channels are last, but height and width changed places as well, which flips the picture along "
            "its diagonal; the order wanted is (1, 2, 0).",
        )
    if given == tuple(image.shape):
        raise Wrong(f"{said}：通道还在最前面。", f"{said}: the channels still come first.")
    if given != wanted:
        raise Wrong(
            f"{said}：应为 {wanted}，即高、宽、通道。", f"{said}: it should be {wanted}, height, width, channels."
        )
    raise Wrong(
        f"{said}：形状对，但值或类型（{answer.dtype}）变了；只换维度，不改数值。",
        f"{said}: the right shape, but values or dtype ({answer.dtype}) changed; move dimensions only.",
    )


q2 = Exercise(
    name="01.2",
    judge=judge_picture,
    praise=(
        "permute 换的是维度，reshape 换的只是断行的位置。",
        "permute exchanges dimensions; reshape only cuts the same row of numbers elsewhere.",
    ),
    hints=(
        (
            "原来的维度编号是 0 通道、1 高、2 宽；新的顺序是高、宽、通道。",
            "The dimensions are numbered 0 channels, 1 height, 2 width; wanted are height, width, channels.",
        ),
        (
            "permute 里按新的顺序写旧的编号。",
            "permute takes the old numbers in their new order.",
        ),
    ),
    answer="""
def to_picture(image):
    return image.permute(1, 2, 0)


exercises.q2.check(to_picture)
""",
)


# ---- 01.3: shuffled, and the same again from the same seed ----

SIZE, BATCH = 70, 16  # the last batch is a ragged one of 6


def judge_loader(function: object) -> None:
    dataset = TensorDataset(torch.arange(SIZE).float(), torch.arange(SIZE))
    state = torch.get_rng_state()
    try:
        check_loader(dataset, function)
    finally:
        torch.set_rng_state(state)  # an answer that seeds torch must not move the notebook's own numbers


def check_loader(dataset: TensorDataset, function: object) -> None:
    torch.manual_seed(1)
    loader = call(function, dataset, BATCH, 5)
    if not isinstance(loader, DataLoader):
        raise Wrong(
            f"要返回一个 DataLoader，你返回的是 {type(loader).__name__}。",
            f"Return a DataLoader; yours returned {type(loader).__name__}.",
        )
    if loader.batch_size != BATCH:
        raise Wrong(
            f"要的是每批 {BATCH} 张，你的 loader 每批 {loader.batch_size} 张：把 batch_size 传进去。",
            f"Batches of {BATCH} were asked for, yours have {loader.batch_size}: pass batch_size on.",
        )
    if loader.generator is not None and not isinstance(loader.generator, torch.Generator):
        kind = type(loader.generator).__name__
        raise Wrong(
            f"generator 要的是随机数发生器，你给的是 {kind}：torch.Generator().manual_seed(seed)。",
            f"generator takes a random generator, but yours is of type {kind}: torch.Generator().manual_seed(seed).",
        )
    first, second = order_of(loader), order_of(loader)
    if len(first) != SIZE or sorted(first) != list(range(SIZE)):
        raise Wrong(
            f"{SIZE} 个样本，一轮只出来 {len(set(first))} 个不同的：不要 drop_last，也不要有放回地抽样。",
            f"Of {SIZE} samples {len(set(first))} came in an epoch: no drop_last, and no drawing with replacement.",
        )
    if first == list(range(SIZE)):
        raise Wrong("顺序没有打乱：shuffle=True。", "The order isn't shuffled: shuffle=True.")
    torch.manual_seed(2)
    torch.rand(3)  # whatever else a program draws from the global generator
    again = order_of(call(function, dataset, BATCH, 5))
    if again != first:
        raise Wrong(
            "同一个 seed 两次给出不同的顺序，因为顺序来自全局随机数；"
            "给它自己的 generator=torch.Generator().manual_seed(seed)。",
            "The same seed gave two different orders, because the order comes from the global generator; "
            "give the loader its own: generator=torch.Generator().manual_seed(seed).",
        )
    if order_of(call(function, dataset, BATCH, 6)) == first:
        raise Wrong(
            "seed 5 和 seed 6 的顺序一样：你的函数没有用 seed。",
            "Seeds 5 and 6 gave the same order: your function doesn't use seed.",
        )
    if second == first:
        raise Wrong(
            "第二轮和第一轮的顺序一样：每一轮都该重新打乱。",
            "The second epoch had the order of the first: it should be shuffled anew each epoch.",
        )
    torch.manual_seed(3)
    untouched = torch.rand(1)
    torch.manual_seed(3)
    call(function, dataset, BATCH, 5)
    if not torch.equal(torch.rand(1), untouched):
        raise Wrong(
            "你的函数动了全局随机数（torch.manual_seed），别处的初始权重也会跟着变；用自己的 torch.Generator()。",
            "Your function seeds torch's global generator, which changes initial weights elsewhere too; "
            "use a torch.Generator() of its own.",
        )


def order_of(loader: DataLoader) -> list[int]:
    """The samples of one epoch, by number."""
    return [int(target) for _, targets in loader for target in targets]


q3 = Exercise(
    name="01.3",
    judge=judge_loader,
    praise=(
        "打乱，但可以重来：load_data 里也是这样写的。",
        "Shuffled, and yet repeatable: load_data does it in just this way.",
    ),
    hints=(
        (
            "DataLoader 有一个参数叫 generator，打乱用的随机数就从那里来。",
            "DataLoader has an argument called generator: that is where the random order comes from.",
        ),
        (
            "torch.Generator().manual_seed(seed) 造一个自己的随机数发生器。",
            "torch.Generator().manual_seed(seed) makes a generator of its own.",
        ),
    ),
    answer="""
def make_loader(dataset, batch_size, seed):
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, generator=generator)


exercises.q3.check(make_loader)
""",
)
