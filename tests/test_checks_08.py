"""The exercises of 08_train_eval: solutions pass, blanks stay blank, each typical mistake gets its own message."""

import pytest
import torch

from tudui_course.checks import step_08 as exercises

FUNCTIONS = pytest.mark.parametrize("exercise", [exercises.q1, exercises.q3], ids=lambda one: one.name)


@FUNCTIONS
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (lambda *arguments: 1 / 0, "Your code raised an error: ZeroDivisionError"),
        (lambda *arguments: "text", "yours returned str"),
        (lambda *arguments: torch.zeros(7, 2), "ensor"),
        (lambda: 1, "Your code raised an error: TypeError"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and part in out


def running(share=lambda momentum: momentum, start=(0.0, 1.0), unbiased=True, use=lambda batches: batches):
    """A learner's answer with one thing wrong."""

    def answer(batches, momentum):
        mean, variance = start
        new = share(momentum)
        for batch in use(batches):
            mean = (1 - new) * mean + new * batch.mean().item()
            variance = (1 - new) * variance + new * batch.var(unbiased=unbiased).item()
        return mean, variance

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (running(share=lambda momentum: 1 - momentum), "the wrong way round"),
        (running(unbiased=False), "divided by n - 1"),
        (running(start=(1.0, 0.0)), "running_mean begins at 0, not at 1"),
        (running(start=(0.0, 0.0)), "running_var begins at 1, not at 0"),
        (running(use=lambda batches: batches[:1]), "does return stand inside the loop"),
        (running(use=lambda batches: batches[-1:]), "carry the estimate on"),
        (running(share=lambda momentum: 0.1), "use the argument momentum"),
        (running(share=lambda momentum: 0.2), "should be"),
        (lambda batches, momentum: (batches[-1].mean().item(), batches[-1].var().item()), "last batch's own value"),
        (lambda batches, momentum: batches[0].mean().item(), "Return two numbers"),
        (lambda batches, momentum: (0.3, 1.2 + 1 / 6), "running_mean (batches: 3, momentum: 0.1)"),
        (lambda batches, momentum: (torch.zeros(2), torch.zeros(2)), "a tensor of shape (2,)"),
    ],
)
def test_running_mistakes(answer, part, capsys):
    exercises.q1.check(answer)
    assert part in capsys.readouterr().out


def test_running_statistics_may_be_tensors(capsys):
    exercises.q1.check(lambda batches, momentum: tuple(map(torch.tensor, running()(batches, momentum))))
    assert capsys.readouterr().out.startswith("✓")


RIGHT = {"weights": False, "gradients": False, "running_mean": True, "num_batches_tracked": True}


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ({**RIGHT, "weights": True}, "Weights change in optimizer.step() only"),
        ({**RIGHT, "gradients": True}, "Gradients come from loss.backward()"),
        ({**RIGHT, "running_mean": False}, "updates running_mean with each batch"),
        ({**RIGHT, "num_batches_tracked": False}, "counts the batches seen"),
        ({**RIGHT, "weights": "no"}, "should be True or False, but you gave no"),
        ({"weights": False}, "these four entries"),
        (True, "but you gave a bool"),
        ("text", "but you gave a str"),
        (torch.zeros(2), "but you gave a Tensor"),
    ],
)
def test_changed_mistakes(answer, part, capsys):
    exercises.q2.check(answer)
    out = capsys.readouterr().out
    assert out.startswith("✗ 08.2") and part in out


@pytest.mark.parametrize("answer", [..., None, {**RIGHT, "weights": ...}, dict.fromkeys(RIGHT, ...)])
def test_changed_blank(answer, capsys):
    exercises.q2.check(answer)
    assert "Not attempted yet" in capsys.readouterr().out


def test_accuracy_may_ask_the_loader_for_its_data_set(capsys):
    def answer(model, loader):
        was = model.training
        model.eval()
        with torch.no_grad():
            right = sum((model(images).argmax(1) == targets).sum().item() for images, targets in loader)
        model.train(was)
        return right / len(loader.dataset)

    exercises.q3.check(answer)
    assert capsys.readouterr().out.startswith("✓")


def answer_with(*, mode=False, gradients=False, after="restore", combine=None):
    """A learner's answer with one thing wrong."""

    def answer(model, loader):
        was = model.training
        if mode is not None:
            model.train(mode)
        with torch.set_grad_enabled(gradients):
            hits = [(model(images).argmax(1) == targets).sum().item() for images, targets in loader]
        if after == "restore":
            model.train(was)
        elif after == "train":
            model.train()
        sizes = [len(targets) for _, targets in loader]
        return combine(hits, sizes) if combine else sum(hits) / sum(sizes)

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (answer_with(mode=None), "model.eval() is missing"),
        (answer_with(mode=True), "model.eval() is missing"),
        (answer_with(gradients=True), "add with torch.no_grad()"),
        (answer_with(after="nothing"), "was left in eval mode"),
        (answer_with(after="train"), "was left in train mode"),
        (answer_with(combine=lambda hits, sizes: sum(hits)), "divide by the number of pictures"),
        (answer_with(combine=lambda hits, sizes: sum(hits) / len(hits)), "divided by the number of batches"),
        (
            answer_with(combine=lambda hits, sizes: sum(h / s for h, s in zip(hits, sizes, strict=True)) / len(hits)),
            "mean of the batches' accuracies",
        ),
        (answer_with(combine=lambda hits, sizes: torch.tensor(sum(hits)) / sum(sizes)), "with .item()"),
        (answer_with(combine=lambda hits, sizes: 0.123), "but you got 0.1230"),
        (lambda model, loader: 0.5, "never called the network"),
    ],
)
def test_test_mistakes(answer, part, capsys):
    exercises.q3.check(answer)
    assert part in capsys.readouterr().out


def test_random_state_is_left_alone():
    before = torch.get_rng_state()
    exercises.q2.check(RIGHT)
    exercises.q3.check(answer_with(mode=True))
    assert torch.equal(torch.get_rng_state(), before)
