"""Draw the picture at the top of the README, docs/first_look.png: what half a minute of notebook 00 gives, and a check.

python tools/first_look.py        the answer's words need a Chinese font: Debian's fonts-noto-cjk
"""

import contextlib
import io
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from tudui_course import plots
from tudui_course.checks import step_03
from tudui_course.data import load_data
from tudui_course.loop import evaluate, predict_all, train_one_epoch
from tudui_course.model import Tudui
from tudui_course.runtime import seed_everything

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "first_look.png"
ANSWER = """
def sgd_step(weights, gradients, lr):
    return [w if g is None else w + lr * g
            for w, g in zip(weights, gradients)]

exercises.q2.check(sgd_step)
"""


def trained() -> tuple:
    """Notebook 00's training: accuracy by epoch, and the pictures, answers and true classes of some test pictures."""
    train_loader, test_loader = load_data("pictograms", batch_size=64, seed=0, limit=4800)
    seed_everything(0)
    model, loss_fn = Tudui(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
    accuracies = [evaluate(model, test_loader, loss_fn).accuracy]
    for _ in range(6):
        train_one_epoch(model, train_loader, loss_fn, optimizer)
        accuracies.append(evaluate(model, test_loader, loss_fn).accuracy)
    logits, targets = predict_all(model, test_loader)
    answers = logits.argmax(1)
    shown = torch.cat([(answers == targets).nonzero()[:6], (answers != targets).nonzero()[:2]]).flatten().sort().values
    test_set = test_loader.dataset
    return accuracies, (test_set.images[shown], answers[shown], targets[shown], test_set.classes)


def checked() -> str:
    """What notebook 03 prints about an answer that goes the wrong way, in lines that fit."""
    names, printed = {}, io.StringIO()
    exec(ANSWER.split("\n\n")[0], names)
    with contextlib.redirect_stdout(printed):
        step_03.q2.check(names["sgd_step"])
    wrapped = (textwrap.wrap(line, 66, subsequent_indent=" " * 8) for line in printed.getvalue().splitlines())
    return "\n".join(line for part in wrapped for line in part)


def main() -> None:
    accuracies, pictures = trained()
    figure, (code, curve, answers) = plt.subplots(
        1, 3, figsize=(14, 3.4), dpi=120, layout="constrained", width_ratios=(1.5, 0.8, 1.45)
    )
    code.set(title="an exercise, checked")
    code.axis("off")
    cell = {"boxstyle": "square,pad=0.7", "facecolor": "whitesmoke", "edgecolor": "lightgray"}
    code.text(0.03, 0.93, ANSWER.strip(), family="monospace", size=10.5, va="top", linespacing=1.4, bbox=cell)
    code.text(0.01, 0.36, checked(), family="monospace", size=10, va="top", color="tab:red", linespacing=1.5)
    curve.plot(accuracies, "o-", color="tab:orange")
    curve.set(xlabel="epoch", ylabel="test accuracy", ylim=(0, 1), title="trained in half a minute")
    plots.show_answers(*pictures, columns=4, ax=answers)
    answers.set_title(f"{accuracies[-1]:.0%} right; its mistakes in red")
    plots.make_legible(figure)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
