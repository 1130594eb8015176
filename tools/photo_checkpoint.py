"""Train the network for photographs that comes with the package: python tools/photo_checkpoint.py DIR

DIR holds CIFAR-10's pictures as DIR/train/<class>/* and DIR/test/<class>/*. The network is the last epoch's of
`tudui train --recipe fast`: nothing is chosen by the test pictures. Writes tudui_course/photographs.pth, what it was
made of and how good it is into photographs.json beside it, and the same as a table into docs/files.md.
"""

import hashlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from results import MACHINE
from torch import nn
from torch.utils.data import DataLoader

from tudui_course import doctor, run
from tudui_course.checkpoint import PHOTOGRAPHS, load_model, save_checkpoint
from tudui_course.data.loaders import InMemory, collate, read_data
from tudui_course.loop import evaluate, predict_all
from tudui_course.metrics import confusion_matrix
from tudui_course.recipe import FAST
from tudui_course.run_folder import epoch_name
from tudui_course.runtime import runs_dir
from tudui_course.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "files.md"
BEGIN, END = "<!-- made by tools/photo_checkpoint.py -->\n", "<!-- end -->\n"
PICTURES = (
    "CIFAR-10 (Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), as JPEG copies of "
    "quality 75, not the official files"
)
LICENCE = (
    "CIFAR-10 comes without a licence; its authors ask that the report above be cited. Its photographs were collected "
    "from the web for research and belong to their owners; none of them is kept here. The weights: MIT, as this project"
)


def train(data: str) -> tuple[nn.Module, dict]:
    """Train with the recipe fast; the last epoch's network, and what its checkpoint says of it."""
    settings = Settings(data, recipe="fast", device="cpu", precision="float32")
    run_dir = runs_dir() / "photo_checkpoint" / Path(data).name
    run.train(settings, run_dir, overwrite=True)
    return load_model(run_dir / epoch_name(settings.epochs - 1))


def measure(model: nn.Module, test_set: InMemory) -> dict:
    """How good a network is on test pictures: overall, by class, and by the probability of its answers."""
    loader = DataLoader(test_set.transformed(FAST.test_transform()), 256, collate_fn=collate)
    logits, targets = predict_all(model, loader)
    confusion = confusion_matrix(logits, targets, len(test_set.classes))
    probability, answer = logits.softmax(1).max(1)
    tenth = (10 * probability).long().clamp(max=9)  # 9: from 0.9 to 1
    return {
        "test_pictures": len(targets),
        "test_accuracy": (answer == targets).float().mean().item(),
        "test_loss": evaluate(model, loader, nn.CrossEntropyLoss()).loss,
        "accuracy_by_class": dict(zip(test_set.classes, (confusion.diag() / confusion.sum(1)).tolist(), strict=True)),
        "confusion": confusion.tolist(),
        "answers_by_tenth_of_probability": tenth.bincount(minlength=10).tolist(),
        "right_by_tenth_of_probability": tenth[answer == targets].bincount(minlength=10).tolist(),
    }


def table(facts: dict) -> str:
    """What stands in docs/files.md."""
    by_class = facts["accuracy_by_class"]
    return f"""
| 类别 class | 测试正确率 test accuracy |
| --- | ---: |
| **全部 all** | **{facts["test_accuracy"]:.3f}** |
{"".join(f"| {name} | {accuracy:.3f} |{chr(10)}" for name, accuracy in by_class.items())}
| | |
| --- | --- |
| 网络 network | `{facts["network"]}`, {facts["bytes"]:,} bytes |
| 命令 command | `{facts["command"]}`: recipe `fast`, {facts["epochs"]} epochs, batch {facts["batch_size"]}, seed \
{facts["seed"]} |
| 图片 pictures | {facts["pictures"]}; {facts["train_pictures"]:,} to train, {facts["test_pictures"]:,} to test |
| 许可 licence | {facts["licence"]} |
| 机器 machine | {facts["machine"]} |

"""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    train_set, test_set = read_data(sys.argv[1])
    drawn, _ = train("pictograms")
    model, content = train(sys.argv[1])
    settings = {**content["settings"], "data": "cifar10"}  # instead of the folder's name on this machine
    save_checkpoint(PHOTOGRAPHS, model, settings=settings, classes=content["classes"], data=content["data"])
    facts = {
        "network": type(model).__name__,
        "recipe": asdict(FAST),
        **{name: settings[name] for name in ("epochs", "batch_size", "seed")},
        "command": "python tools/photo_checkpoint.py DIR",
        "pictures": PICTURES,
        "licence": LICENCE,
        "machine": MACHINE.format(**doctor.machine()) + f", {torch.get_num_threads()} thread(s)",
        "bytes": PHOTOGRAPHS.stat().st_size,
        "sha256": hashlib.sha256(PHOTOGRAPHS.read_bytes()).hexdigest(),
        "train_pictures": len(train_set),
        **measure(model, test_set),
        "accuracy_of_the_same_network_trained_on_pictograms": measure(drawn, test_set)["test_accuracy"],
    }
    PHOTOGRAPHS.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(facts) + END + rest.partition(END)[2], encoding="utf-8")
    print(table(facts))


if __name__ == "__main__":
    main()
