"""The check of a whole routine: other right ones pass, and each thing that can be missing is named."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from torch.utils.tensorboard import SummaryWriter

from tudui_course.checks.step_16 import q5
from tudui_course.checks.table import Table


def checked(train, capsys):
    """What is said of a routine."""
    q5.check(train)
    return capsys.readouterr().out


def test_with_generators_of_its_own_a_schedule_and_every_step_logged(capsys):
    def train(model, train_set, test_set, folder, epochs, resume=False):
        order = torch.Generator().manual_seed(7)
        train_loader = DataLoader(train_set, 32, shuffle=True, generator=order, drop_last=True)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        done, step = 0, 0
        if resume:
            saved = torch.load(folder / "checkpoint.pth", weights_only=True)
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            order.set_state(saved["order"])
            torch.set_rng_state(saved["random"])
            done, step = saved["done"], saved["step"]
        writer = SummaryWriter(folder, purge_step=step + 1)  # never closed
        accuracy = saved["accuracy"] if resume else 0.0
        for epoch in range(done, epochs):
            model.train()
            for images, targets in train_loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(images), targets)
                loss.backward()
                optimizer.step()
                step += 1
                writer.add_scalar("train_loss", loss.item(), step)
            scheduler.step()
            model.eval()
            images, targets = next(iter(DataLoader(test_set, len(test_set))))
            with torch.inference_mode():
                accuracy = (model(images).argmax(1) == targets).double().mean().item()
            writer.add_scalar("test_accuracy", accuracy, epoch + 1)
            print("epoch", epoch, accuracy)
            saved = {name: part.state_dict() for name, part in parts.items()}
            saved |= {"order": order.get_state(), "random": torch.get_rng_state(), "done": epoch + 1, "step": step}
            saved["accuracy"] = accuracy
            torch.save(saved, folder / "checkpoint.pth")
        return accuracy

    assert checked(train, capsys).startswith("✓ 16.5")


def with_a_seed_for_each_epoch(table: Table) -> str:
    """No random state is kept: each epoch begins with a seed of its own."""
    return (
        table.solution.replace('    torch.set_rng_state(saved["random"])\n', "")
        .replace(', "random": torch.get_rng_state()', "")
        .replace("            loss = train_one", "            torch.manual_seed(epoch)\n            loss = train_one")
    )


def test_with_a_seed_for_each_epoch(capsys):
    assert checked(q5.table.run(with_a_seed_for_each_epoch(q5.table)), capsys).startswith("✓ 16.5")


@pytest.mark.parametrize("lr", [0.001, 0.01, 0.1, 0.5])
def test_with_any_sensible_learning_rate(lr, capsys):
    assert checked(q5.table.run(q5.table.solution.replace("lr=0.02", f"lr={lr}")), capsys).startswith("✓ 16.5")


NAMED = {  # what is wrong -> what is said; none of it has a mistake of its own in the table
    (
        "= train_one_epoch(model, train_loader, loss_fn, optimizer)",
        "= evaluate(model, train_loader)",
    ): "the training pictures weren't trained on",
    ("lr=0.02", "lr=0.02, maximize=True"): "after 3 epochs the accuracy is still below 0.6",
    ("evaluate(model, test_loader)", "0.8"): "no test picture was used",
    ('"model": model.state_dict()', '"network": model.state_dict()'): 'there is no "model" in the file',
    (
        "            torch.save(saved, path)",
        "            if epoch < 2: torch.save(saved, path)",
    ): "the weights after the last",
    ('"train_loss", loss, epoch', '"train_loss", loss, 0'): "the steps of train_loss don't go on rising",
    ('"test_accuracy", accuracy, epoch', '"test_accuracy", accuracy / 2, epoch'): "the last value of test_accuracy",
    ("return evaluate(model, test_loader)", "return torch.tensor(accuracy)"): "make it a plain number with .item()",
    ("return evaluate(model, test_loader)", "pass"): "Your function returned nothing",
    ("folder, epochs, resume=False):", "folder, epochs):\n    resume = False"): "TypeError: .*6 resuming: resume=True",
    ("return evaluate(model, test_loader)", "last = accuracy; return last"): "a variable made inside it has no value",
    (
        "return evaluate(model, test_loader)",
        "return [value for value in [locals().get('accuracy')] if value][0]",
    ): "IndexError: .*6 resuming: resume=True once all is done",
    ("return evaluate(model, test_loader)", "return accuracy if first < epochs else 0"): "returned once all is done",
    ('saved["optimizer"]', 'saved["optimiser"]'): "Your code raised an error: KeyError: 'optimiser' .6 resuming",
}


@pytest.mark.parametrize(("edit", "said"), NAMED.items(), ids=list(NAMED.values()))
def test_what_is_missing_is_named(edit, said, capsys):
    source = q5.table.solution
    assert edit[0] in source
    out = checked(q5.table.run(source.replace(*edit)), capsys)
    assert out.startswith("✗ 16.5") and re.search(said, out.splitlines()[1])


def test_pieces_are_named_in_their_order(capsys):
    """With all of them missing, the first is named; mended, the next one."""
    source, told = q5.table.solution, []
    breaks = [
        (", shuffle=True", ""),
        ("    model.train()\n", ""),
        ("    model.eval()\n", ""),
        ("            torch.save(saved, path)\n", ""),
        ('            writer.add_scalar("train_loss", loss, epoch)\n', ""),
        ("if resume else 0", "if False else 0"),
    ]
    for number in range(len(breaks) + 1):
        broken = source
        for edit in breaks[number:]:
            broken = broken.replace(*edit)
        told.append(checked(q5.table.run(broken), capsys)[:9])
    assert [line[8] for line in told[:6]] == list("123456") and told[6].startswith("✓")


def test_pictures_of_the_test_set_among_those_trained_on_are_named(capsys):
    source = q5.table.solution.replace("DataLoader(train_set, b", "DataLoader(ConcatDataset([train_set, test_set]), b")
    names = {"ConcatDataset": ConcatDataset}
    exec(f"{q5.table.imports}\n{source}", names)
    assert "1 data: pictures trained on in 3 epochs" in checked(names["train"], capsys)


def test_ctrl_c_of_the_learner_still_stops_the_check():
    def train(*arguments):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        q5.check(train)


def test_nothing_is_left_in_the_current_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = q5.table.solution.replace("SummaryWriter(folder)", "SummaryWriter()")
    assert "no event files in folder" in checked(q5.table.run(source), capsys)
    assert list(tmp_path.iterdir()) == [tmp_path / "progress.json"] * (tmp_path / "progress.json").exists()
