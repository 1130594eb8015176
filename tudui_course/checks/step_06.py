"""Exercises of 06_checkpoints: a folder that exists, weights kept in memory, going on after a stop."""

import contextlib
import copy
import pickle
import tempfile
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from tudui_course.checks.base import Blank, Exercise, Wrong, call


def train_a_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on fixed numbers."""
    inputs = torch.linspace(-1, 1, 12).reshape(3, 4)
    optimizer.zero_grad()
    model(inputs).square().sum().backward()
    optimizer.step()


def make_model(seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A tiny network and an SGD with momentum, without touching the global random state."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def equal(one: dict, other: dict) -> bool:
    """Whether two state_dicts hold the same names and numbers."""
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


# ---- 06.1: a path whose folder exists ----


def judge_path(function: object) -> None:
    """Try a folder that is there, one that is missing, and one whose parent is missing too."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "there").mkdir()
        for folder, i in ((root / "there", 0), (root / "missing", 3), (root / "also" / "missing", 11)):
            check_path(function, folder, i, root)


def check_path(function: object, folder: Path, i: int, root: Path) -> None:
    """Judge the path returned for one folder and number, and whether the folder exists afterwards."""
    what = folder.relative_to(root).as_posix()
    try:
        answer = call(function, folder, i)
    except FileExistsError:
        raise Wrong(
            f"文件夹 {what} 已经存在，mkdir 就报错了：加上 exist_ok=True。",
            f"The folder {what} is there already, and mkdir complained: add exist_ok=True.",
        ) from None
    except FileNotFoundError:
        raise Wrong(
            f"要建 {what}，可是它上面的文件夹也没有：加上 parents=True。",
            f"For {what} the folder above is missing too: add parents=True.",
        ) from None
    if not isinstance(answer, Path | str):
        raise Wrong(
            f"要返回一个路径，你返回的是 {type(answer).__name__}：{answer!r}。",
            f"Return a path; yours returned {type(answer).__name__}: {answer!r}.",
        )
    answer = Path(answer)
    if answer.name != f"tudui_{i}.pth":
        check_name(answer.name, i)
    if answer.parent != folder:
        raise Wrong(
            f"文件名对了，但不在给定的文件夹里：folder / {answer.name!r}。",
            f"The name is right, but it isn't in the folder that was given: folder / {answer.name!r}.",
        )
    if answer.is_dir():
        raise Wrong(
            f"你把 {answer.name} 建成了文件夹。要建的是 folder，不是文件本身。",
            f"You made a folder of {answer.name}. Make the folder that holds it, not the file.",
        )
    if not folder.is_dir():
        raise Wrong(
            f"路径对了，但文件夹 {what} 还不存在，torch.save 会失败。先 folder.mkdir(...)。",
            f"The path is right, but the folder {what} doesn't exist yet and torch.save would fail: "
            "folder.mkdir(...) first.",
        )


def check_name(name: str, i: int) -> None:
    """Say what is wrong with a file's name."""
    if name == f"tudui_{i + 1}.pth":
        raise Wrong(
            f"i={i} 时你给了 {name}：不要加 1，编号就是 i。",
            f"For i={i} you gave {name}: don't add 1, the number is i itself.",
        )
    if name == "tudui_i.pth" or "{" in name:
        raise Wrong(
            f"文件名是 {name}：i 没有填进去，字符串前面要有 f。",
            f"The file's name is {name}: i wasn't filled in; put an f before the string.",
        )
    raise Wrong(
        f"i={i} 时文件名应为 tudui_{i}.pth，你给了 {name}。",
        f"For i={i} the file's name should be tudui_{i}.pth, but you gave {name}.",
    )


q1 = Exercise(
    name="06.1",
    judge=judge_path,
    praise=(
        "在训练开始之前调用它一次，就不会练完一轮才发现存不了。",
        "Call it once before training begins, and you won't find out after an epoch that nothing can be saved.",
    ),
    hints=(
        (
            "pathlib：folder.mkdir(...) 建文件夹，folder / 名字 拼路径。",
            "pathlib: folder.mkdir(...) makes the folder, folder / name joins a path.",
        ),
        (
            'folder.mkdir(parents=True, exist_ok=True)，再 return folder / f"tudui_{i}.pth"。',
            'folder.mkdir(parents=True, exist_ok=True), then return folder / f"tudui_{i}.pth".',
        ),
    ),
    answer="""
def checkpoint_path(folder, i):
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"tudui_{i}.pth"


exercises.q1.check(checkpoint_path)
""",
)


# ---- 06.2: weights kept in memory ----


def judge_keep(function: object) -> None:
    """Two networks, so that no constant passes."""
    for seed in (1, 2):
        check_keep(function, seed)


def check_keep(function: object, seed: int) -> None:
    """Call it, train one step further, and see whether what was kept has changed."""
    model, optimizer = make_model(seed)
    train_a_step(model, optimizer)
    before = copy.deepcopy(model.state_dict())
    kept = call(function, model)
    if not equal(model.state_dict(), before):
        raise Wrong(
            "你的函数改动了网络本身；它只应留一份副本。",
            "Your function changed the network itself; it should only copy.",
        )
    check_kind(kept)
    if list(kept) != list(before):
        missing = next((name for name in before if name not in kept), None)
        if missing is None:
            raise Wrong("名字比 state_dict() 多或次序不同。", "It has more names than state_dict(), or another order.")
        raise Wrong(
            f"少了 {missing}。要留的是整个 state_dict()，不只是参数：BatchNorm 的统计量也在其中。",
            f"{missing} is missing. Keep all of state_dict(), not the parameters only: BatchNorm's statistics "
            "are in it too.",
        )
    if not equal(kept, before):
        raise Wrong("留下的数和调用时网络里的不一样。", "The numbers kept aren't those the network had when called.")
    train_a_step(model, optimizer)
    if not equal(kept, before):
        raise Wrong(
            "网络又训练了一步，你留下的权重也跟着变了：字典是新的，里面的张量还是网络正在用的那些。要连张量一起复制。",
            "After one more training step the weights you kept have changed too: the dictionary may be new, but its "
            "tensors are those the network is using. Copy the tensors as well.",
        )


def check_kind(kept: object) -> None:
    """Raise Wrong unless it is a dictionary of tensors."""
    if isinstance(kept, nn.Module):
        raise Wrong(
            "你返回的是网络；这里要一个能交给 load_state_dict 的字典。",
            "You returned a network; this needs a dictionary fit for load_state_dict.",
        )
    if not isinstance(kept, dict) or not all(isinstance(value, torch.Tensor) for value in kept.values()):
        raise Wrong(
            f"要返回“名字 → 张量”的字典，你返回的是 {type(kept).__name__}。",
            f"Return a dictionary, name -> tensor; yours returned {type(kept).__name__}.",
        )


q2 = Exercise(
    name="06.2",
    judge=judge_keep,
    praise=(
        "训练途中就这样留住最好的一轮，最后再 model.load_state_dict(best)。",
        "That is how to keep the best epoch while training, and model.load_state_dict(best) brings it back at the end.",
    ),
    hints=(
        ("model.state_dict() 给出的张量不是副本。", "The tensors that model.state_dict() gives are no copies."),
        ("copy.deepcopy(model.state_dict())", "copy.deepcopy(model.state_dict())"),
    ),
    answer="""
def keep(model):
    return copy.deepcopy(model.state_dict())


exercises.q2.check(keep)
""",
)


# ---- 06.3: going on after a stop ----


class Witness:
    """Rebuilt from a file, it notes that code from the file has run. Harmless."""

    woken = False

    def __reduce__(self) -> tuple:
        return wake, ()


def wake() -> str:
    """What such a file calls when it is loaded."""
    Witness.woken = True
    return "code from the file has run"


def judge_resume(function: object) -> None:
    """Two epochs, a file from a GPU, and a file with somebody's code in it."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "tudui_4.pth"
        for epoch in (4, 0):
            check_resume(function, path, epoch)
        check_from_gpu(function, path)
        check_stranger(function, path)


def saved(path: Path, epoch: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Write such a file, and return the model and optimizer that it holds."""
    model, optimizer = make_model(seed=3)
    train_a_step(model, optimizer)
    torch.save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return model, optimizer


def check_resume(function: object, path: Path, epoch: int) -> None:
    """Resume, go one step further, and compare with a run without a break."""
    reference, reference_optimizer = saved(path, epoch)
    model, optimizer = make_model(seed=4)
    before = copy.deepcopy(model.state_dict())
    try:
        answer = call(function, path, model, optimizer)
    except Blank:
        if equal(model.state_dict(), before):
            raise
        raise Wrong(
            "网络恢复了，但没有返回接下来的轮的编号。",
            "The network was restored, but the number of the next epoch was not returned.",
        ) from None
    if not equal(model.state_dict(), reference.state_dict()):
        raise Wrong(
            "网络里还不是文件中的权重：model.load_state_dict(...)。",
            "The network doesn't have the file's weights: model.load_state_dict(...).",
        )
    train_a_step(reference, reference_optimizer)
    train_a_step(model, optimizer)
    if not equal(model.state_dict(), reference.state_dict()):
        raise Wrong(
            "权重恢复了，可是再走一步就和没停过的不一样：优化器的动量没有恢复。optimizer.load_state_dict(...)。",
            "The weights are back, but one step later they differ from a run without a break: the optimizer's "
            "velocities were not restored. optimizer.load_state_dict(...).",
        )
    check_epoch(answer, epoch)


def check_epoch(answer: object, epoch: int) -> None:
    """Judge the returned number of the next epoch."""
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise Wrong(
            f"要返回一个整数（轮的编号），你返回的是 {type(answer).__name__}。",
            f"Return a whole number, the epoch's; yours returned {type(answer).__name__}.",
        )
    if answer == epoch:
        raise Wrong(
            f"文件里的第 {epoch} 号轮已经做完了，你会把它再做一遍：返回 epoch + 1。",
            f"Epoch {epoch} of the file is done; you would do it again: return epoch + 1.",
        )
    if answer != epoch + 1:
        raise Wrong(
            f"文件里 epoch 是 {epoch}，接下来该做 {epoch + 1}，你返回了 {answer}。",
            f"The file says epoch {epoch}, so {epoch + 1} comes next, but you returned {answer}.",
        )


def check_from_gpu(function: object, path: Path) -> None:
    """Hand over a file whose tensors say that they were on cuda:99."""
    with mock.patch("torch.serialization.location_tag", return_value="cuda:99"):
        saved(path, epoch=2)
    try:
        call(function, path, *make_model(seed=4))
    except RuntimeError as error:
        if "deserialize" not in str(error):
            raise
        raise Wrong(
            '这里能用，但一个在 GPU 上存的文件读不出来：torch.load 加上 map_location="cpu"。',
            'It works here, but a file saved on a GPU won\'t load: give torch.load map_location="cpu".',
        ) from None


def check_stranger(function: object, path: Path) -> None:
    """Hand over a file that calls `wake` when it is loaded without protection."""
    model, optimizer = make_model(seed=3)
    content = {"epoch": 2, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "gift": Witness()}
    torch.save(content, path)
    Witness.woken = False
    with contextlib.suppress(pickle.UnpicklingError, ValueError):  # refused, as it should be
        call(function, path, model, optimizer)
    if Witness.woken:
        raise Wrong(
            "你的函数运行了文件里的代码（这一次是无害的）。用 weights_only=True。",
            "Your function ran code from the file (harmless, this time). Use weights_only=True.",
        )


q3 = Exercise(
    name="06.3",
    judge=judge_resume,
    praise=(
        "网络、优化器、轮的编号都回来了，陌生人的代码和 GPU 文件也难不倒它。",
        "Network, optimizer and epoch are back, and neither a stranger's code nor a file from a GPU gets in the way.",
    ),
    hints=(
        (
            "先 torch.load 得到字典，再对网络和优化器各用一次 load_state_dict。",
            "torch.load gives the dictionary; then one load_state_dict for the network and one for the optimizer.",
        ),
        (
            'saved = torch.load(path, map_location="cpu", weights_only=True)；最后 return saved["epoch"] + 1。',
            'saved = torch.load(path, map_location="cpu", weights_only=True); at the end return saved["epoch"] + 1.',
        ),
    ),
    answer="""
def resume(path, model, optimizer):
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["epoch"] + 1


exercises.q3.check(resume)
""",
)
