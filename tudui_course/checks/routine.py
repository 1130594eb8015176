"""How a complete routine, train(model, train_set, test_set, folder, epochs, resume=False), is tried out piece by piece.

It trains a small network that notes what it is shown, without a break; then the same with a power cut, and goes on.
"""

import contextlib
import copy
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from tudui_course.board import EVENTS, read_scalars
from tudui_course.checks.compare import in_both, same
from tudui_course.checks.judges import attempt, differ
from tudui_course.errors import NotFoundError

EPOCHS, CHECKPOINT = 3, "checkpoint.pth"


class Stop(KeyboardInterrupt):
    """The power cut in the middle of a run."""


class Seen(NamedTuple):
    """What a network noted of one call."""

    pictures: tuple[float, ...]  # the first pixel of each; no two are alike
    training: bool
    recorded: bool
    weights: float  # one number, of the last layer's
    random: bytes


class Pupil(nn.Module):
    """A small network with BatchNorm and Dropout that notes what it is shown.

    Its last layer begins at 0, so it learns with any sensible learning rate.

    Args:
        calls: training batches that it lasts for; at the next one the power is cut.
    """

    def __init__(self, calls: float = float("inf")) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.2))
        self.last = nn.Linear(12, 3)
        nn.init.zeros_(self.last.weight)
        self.calls, self.seen, self.gradients = calls, [], []
        self.last.weight.register_hook(lambda gradient: self.gradients.append(gradient.clone()))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 2, 2) to logits (N, 3)."""
        pixels = tuple(images.detach()[:, 0, 0, 0].tolist())
        random = torch.get_rng_state().numpy().tobytes()
        self.seen.append(Seen(pixels, self.training, torch.is_grad_enabled(), self.weights(), random))
        if len(self.taught()) > self.calls:
            raise Stop
        return self.last(self.features(images))

    def weights(self) -> float:
        """One number that changes with any parameter."""
        return sum((value.double().square().sum() - value.double().sum()).item() for value in self.last.parameters())

    def taught(self) -> list[Seen]:
        """The calls with training pictures whose computation was recorded."""
        return [one for one in self.seen if not TESTED.issuperset(one.pictures) and one.recorded]


def make_set(count: int, seed: int, wrong: float) -> TensorDataset:
    """Pictures (3, 2, 2) of three classes that can be told apart, a share of them under a wrong name."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 3
    images = torch.randn(count, 3, 2, 2, generator=generator)
    images[torch.arange(count), targets] += 4
    names = torch.where(torch.rand(count, generator=generator) < wrong, (targets + 1) % 3, targets)
    return TensorDataset(images, names)


TRAIN, TEST = make_set(200, seed=1, wrong=0), make_set(90, seed=2, wrong=0.2)  # both end on a smaller batch of 64
TESTED = frozenset(TEST.tensors[0][:, 0, 0, 0].tolist())


def run(train: Callable, folder: Path, seed: int, *resume: bool, calls: float = float("inf")) -> tuple:
    """The network, and what `train` returned (or raised), with whatever it prints left out."""
    torch.default_generator.manual_seed(seed)
    model = Pupil(calls).eval()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Stop):
        return model, attempt(train, (model, TRAIN, TEST, folder, EPOCHS, *resume), seed)
    return model, None


def share_right(model: Pupil) -> float:
    """The accuracy on the test pictures, all at once."""
    images, targets = TEST.tensors
    with torch.no_grad():
        logits = copy.deepcopy(model.last)(copy.deepcopy(model.features).eval()(images))
    return (logits.argmax(1) == targets).double().mean().item()


def curves(folder: Path, epochs: int) -> dict:
    """The curves in a folder, once `epochs` points are there: a writer that wasn't closed writes a little later."""
    found, deadline = {}, time.monotonic() + 0.5
    while len(found.get("test_accuracy", ())) < epochs and time.monotonic() < deadline:
        with contextlib.suppress(NotFoundError):
            found = read_scalars(folder)
    return found


def judge_routine(train):
    """Three epochs without a break, then the same with a power cut, piece by piece."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root, contextlib.chdir(root):
        whole, stopped = Path(root, "whole"), Path(root, "stopped")
        whole.mkdir()
        stopped.mkdir()
        model, answer = run(train, whole, 0)
        if isinstance(answer, Exception):
            yield "没有中断的一次训练 · the run without a break", answer, None
        for piece, look_at in (
            ("1 数据 · 1 data", see_data),
            ("2 训练 · 2 training", see_training),
            ("3 测试 · 3 test", see_test),
            ("4 保存 · 4 saving", see_file),
            ("5 记录 · 5 logging", see_curves),
        ):
            yield from under(piece, look_at(model, answer, whole))
        yield from under("6 接着训练 · 6 resuming", see_resumed(train, model, answer, whole, stopped))


def under(piece, seen):
    """Facts, with the name of their piece put before their own."""
    chinese, english = in_both(piece)
    for what, got, expected in seen:
        yield f"{chinese}：{in_both(what)[0]} · {english}: {in_both(what)[1]}", got, expected


def see_data(model, answer, folder):
    """Piece 1: what was shown to the network, and in which order."""
    taught = model.taught()
    yield "没有拿训练图训练 · the training pictures weren't trained on", not taught, False
    order = [pixel for one in taught for pixel in one.pictures]
    size, least = len(TRAIN), len(TRAIN) - 64  # a smaller last batch may be left out
    expected = len(order) if EPOCHS * least < len(order) <= EPOCHS * size else EPOCHS * size
    yield "3 轮训练看了几张图 · pictures trained on in 3 epochs", len(order), expected
    epochs = [order[len(order) * number // EPOCHS :][: len(order) // EPOCHS] for number in range(EPOCHS)]
    yield "每轮次序一样，没有打乱 · the order is the same in each epoch", epochs[0] == epochs[1], False
    moves = zip(model.seen, [one.weights for one in model.seen[1:]] + [model.weights()], strict=True)
    leaked = any(after != one.weights and TESTED.issuperset(one.pictures) for one, after in moves)
    yield "拿测试图训练了 · test pictures were trained on", leaked, False


def see_training(model, answer, folder):
    """Piece 2: what the training did to the network."""
    taught, gradient = model.taught(), model.last.weight.grad
    yield "权重没有变 · the weights haven't changed", len({one.weights for one in taught}) == 1, False
    yield "网络不在训练模式 · the network wasn't in training mode", not all(one.training for one in taught), False
    piled = gradient is not None and same(gradient, sum(model.gradients), within=1e-4)
    yield "梯度从来没有清零 · the gradients were never cleared", piled, False
    yield "3 轮之后正确率还不到 0.6 · after 3 epochs the accuracy is still below 0.6", share_right(model) < 0.6, False


def see_test(model, answer, folder):
    """Piece 3: how the test pictures were looked at, and whether the accuracy is exact."""
    tested = [one for one in model.seen if TESTED.issuperset(one.pictures)]
    yield "没有用到测试图 · no test picture was used", not tested, False
    yield "网络不在评估模式 · the network wasn't in evaluation mode", any(one.training for one in tested), False
    yield "记录了计算图 · the graph was recorded", any(one.recorded for one in tested), False
    yield "返回的正确率 · the accuracy returned", answer, share_right(model)


def see_file(model, answer, folder):
    """Piece 4: whether the checkpoint is there, can be read safely, and holds the network of the end."""
    path, saved, refused = folder / CHECKPOINT, None, False
    yield f"没有 {CHECKPOINT} · there is no {CHECKPOINT}", not path.is_file(), False
    try:
        saved = torch.load(path, weights_only=True)
    except Exception:  # torch's, pickle's, or what a damaged file leads to
        refused = True
    yield "weights_only=True 读不了 · it can't be read with weights_only=True", refused, False
    weights = saved.get("model") if isinstance(saved, dict) else None
    yield '里面没有 "model" · there is no "model" in it', not isinstance(weights, dict), False
    yield "不是最后一轮之后的权重 · not the weights after the last epoch", differ(weights, model.state_dict()), False


def see_curves(model, answer, folder):
    """Piece 5: what TensorBoard's own reader finds in the folder."""
    found = curves(folder, EPOCHS)
    yield "文件夹里没有事件文件 · there is no event file in the folder", not any(folder.glob(EVENTS)), False
    for tag in ("train_loss", "test_accuracy"):
        yield f"没有 {tag} 这条曲线 · there is no curve {tag}", tag not in found, False
    steps, values = zip(*found["test_accuracy"], strict=True)
    yield "test_accuracy 有几个点 · points of test_accuracy", len(steps), EPOCHS
    yield "test_accuracy 的最后一个值 · the last value of test_accuracy", values[-1], answer
    steps = [step for step, _ in found["train_loss"]]
    falls = len(steps) < EPOCHS or steps != sorted(set(steps))
    yield "train_loss 的步数没有一直向前 · the steps of train_loss don't go on rising", falls, False


def see_resumed(train, model, answer, whole, stopped):
    """Piece 6: a power cut at the beginning of the third epoch, and what comes of the call that goes on."""
    taught = model.taught()
    steps = len(taught) // EPOCHS
    run(train, stopped, 0, calls=2 * steps)
    there = (stopped / CHECKPOINT).is_file()
    yield "第 3 轮断电，没有检查点 · no checkpoint at a power cut in epoch 3", not there, False
    before = curves(stopped, EPOCHS - 1)
    resumed, again = run(train, stopped, 1, True)
    if isinstance(again, Exception):
        yield "resume=True · resume=True", again, None
    went_on, rest = resumed.taught(), taught[2 * steps :]
    yield "练完 2 轮断电，之后练了几轮 · epochs trained after a stop at the 2nd of 3", len(went_on) // steps, 1
    yield "网络没有恢复 · the network isn't back", went_on[0].weights != rest[0].weights, False
    orders = [[one.pictures for one in part] for part in (went_on, rest)]
    yield "第 3 轮的次序不同 · the third epoch has another order", orders[0] != orders[1], False
    yield "Dropout 的随机数不同 · Dropout draws other random numbers", went_on[0].random != rest[0].random, False
    yield "最后的权重不同 · the final weights differ", differ(resumed.state_dict(), model.state_dict()), False
    yield "返回的正确率 · the accuracy returned", again, answer
    expected, after = curves(whole, EPOCHS), curves(stopped, EPOCHS)
    for tag in ("train_loss", "test_accuracy"):
        yield f"断电之前的 {tag} 丢了 · {tag} from before the power cut is lost", tag not in before, False
        steps, right = (sorted({step for step, _ in found.get(tag, [])}) for found in (after, expected))
        yield f"{tag} 的步数 · the steps of {tag}", steps, right
    yield from see_resumed_at_the_end(train, answer, stopped)


def see_resumed_at_the_end(train, answer, folder):
    """Piece 6, last: one more call that is to go on where all epochs are done already."""
    model, again = run(train, folder, 2, True)
    unset = isinstance(again, UnboundLocalError)
    yield "全部练完之后，再 resume=True 就报错 · an error once all is done", unset, False
    if isinstance(again, Exception):
        yield "全部练完之后，再 resume=True · resume=True once all is done", again, None
    yield "练完之后又练了几步 · steps trained once all is done", len(model.taught()), 0
    yield "练完之后返回的正确率 · the accuracy returned once all is done", again, answer
