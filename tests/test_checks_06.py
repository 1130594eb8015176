"""The exercises of 06_checkpoints: solutions pass, blanks stay blank, each typical mistake gets its own message."""

import copy

import pytest
import torch

from tudui_course.checks import step_06 as exercises


@pytest.mark.parametrize("exercise", [exercises.q1, exercises.q2, exercises.q3], ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("text", "but you gave a str"),
        (torch.zeros(2, 3), "but you gave a Tensor"),
        (lambda *arguments: 1 / 0, "Your code raised an error: ZeroDivisionError"),
        (lambda *arguments: torch.zeros(3), "yours returned Tensor"),
        (lambda: 1, "Your code raised an error: TypeError"),
    ],
)
def test_wrong_kinds_get_a_sentence(exercise, answer, part, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}")
    if not (exercise is exercises.q3 and "yours returned" in part):  # there the weights are looked at first
        assert part in out


def made(folder, **options):
    folder.mkdir(**options)
    return folder


def make_file_a_folder(folder, i):
    path = folder / f"tudui_{i}.pth"
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda folder, i: folder / f"tudui_{i}.pth", "doesn't exist yet"),
        (lambda folder, i: made(folder, parents=True) / f"tudui_{i}.pth", "add exist_ok=True"),
        (lambda folder, i: made(folder, exist_ok=True) / f"tudui_{i}.pth", "add parents=True"),
        (lambda folder, i: made(folder, parents=True, exist_ok=True) / f"tudui_{i + 1}.pth", "don't add 1"),
        (lambda folder, i: made(folder, parents=True, exist_ok=True) / "tudui_{i}.pth", "put an f before"),
        (lambda folder, i: made(folder, parents=True, exist_ok=True) / "tudui_0.pth", "should be tudui_3.pth"),
        (lambda folder, i: f"tudui_{i}.pth", "isn't in the folder"),
        (make_file_a_folder, "You made a folder of tudui_0.pth"),
        (lambda folder, i: 7, "Return a path"),
    ],
)
def test_path_mistakes(answer, part, capsys):
    exercises.q1.check(answer)
    assert part in capsys.readouterr().out


def changes_model(model):
    kept = copy.deepcopy(model.state_dict())
    torch.nn.init.zeros_(model[0].weight)
    return kept


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (lambda model: model.state_dict(), "have changed too"),
        (lambda model: dict(model.state_dict()), "have changed too"),
        (lambda model: {name: value.detach() for name, value in model.state_dict().items()}, "have changed too"),
        (copy.deepcopy, "You returned a network"),
        (lambda model: {name: p.detach().clone() for name, p in model.named_parameters()}, "1.running_mean is missing"),
        (lambda model: [p.detach().clone() for p in model.parameters()], "yours returned list"),
        (lambda model: {name: torch.zeros_like(value) for name, value in model.state_dict().items()}, "aren't those"),
        (changes_model, "changed the network itself"),
    ],
)
def test_keep_mistakes(answer, part, capsys):
    exercises.q2.check(answer)
    assert part in capsys.readouterr().out


def test_keep_accepts_other_ways(capsys):
    exercises.q2.check(lambda model: {name: value.clone() for name, value in model.state_dict().items()})
    assert capsys.readouterr().out.startswith("✓")


def resume(*, optimizer_too=True, model_too=True, back=1, returns=True, **options):
    """A learner's answer with parts of it wrong or missing."""

    def answer(path, model, optimizer):
        saved = torch.load(path, **{"map_location": "cpu", "weights_only": True, **options})
        if model_too:
            model.load_state_dict(saved["model"])
        if optimizer_too:
            optimizer.load_state_dict(saved["optimizer"])
        return saved["epoch"] + back if returns else None

    return answer


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (resume(optimizer_too=False), "velocities were not restored"),
        (resume(model_too=False), "doesn't have the file's weights"),
        (resume(back=0), "return epoch + 1"),
        (resume(back=2), "you returned 6"),
        (resume(returns=False), "was not returned"),
        (resume(map_location=None), 'give torch.load map_location="cpu"'),
        (resume(weights_only=False), "ran code from the file"),
        (resume(back=1.0), "Return a whole number"),
    ],
)
def test_resume_mistakes(answer, part, capsys):
    exercises.q3.check(answer)
    assert part in capsys.readouterr().out


def test_random_state_is_left_alone():
    before = torch.get_rng_state()
    exercises.q2.check(lambda model: copy.deepcopy(model.state_dict()))
    exercises.q3.check(resume())
    assert torch.equal(torch.get_rng_state(), before)


def test_hints_and_solution_are_printed(capsys):
    exercises.q1.hint(2)
    exercises.q1.solution()
    out = capsys.readouterr().out
    assert "exist_ok=True" in out and "def checkpoint_path" in out
