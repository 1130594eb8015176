import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image
from torch import nn

from tudui_course import cli, doctor, run
from tudui_course.board import read_scalars
from tudui_course.checkpoint import read_checkpoint, save_checkpoint
from tudui_course.model import Tudui
from tudui_course.run_folder import INTERRUPTED, LOCK
from tudui_course.settings import Settings


@pytest.fixture
def tudui(monkeypatch, capsys):
    """Call the command line in this process; gives exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tudui", *map(str, arguments)])
        try:
            code = cli.main() or 0
        except SystemExit as exit_:
            code = exit_.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """The folder of a finished run; no test changes it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    run.train(Settings(str(pictures), epochs=2, batch_size=4), folder)
    return folder


def content(folder):
    """All files below a folder, with their bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], []])
def test_help_answers_without_importing_torch(arguments):
    code = (
        "import sys\nfrom tudui_course import cli\nsys.argv = ['tudui', *sys.argv[1:]]\n"
        "try:\n    cli.main()\nexcept SystemExit as exit_:\n    print('exit', exit_.code)\n"
        "print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["exit 0", "False False"]
    assert ("--lr" if "train" in arguments else "download") in done.stdout


def test_a_run_from_a_terminal_leaves_its_files_and_plain_lines(tmp_path):
    command = [sys.executable, "-m", "tudui_course", "train", "--limit", "300", "--epochs", "2", "--run-dir", "run a"]
    environment = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\r" not in done.stdout and b"\x1b" not in done.stdout
    lines = done.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines if line] == [
        "settings", "pictures", "machine", "run", "epoch", "epoch", "epoch", "1", "2", "test", "chosen", "checkpoints",
        "curves",
    ]  # fmt: skip
    assert "limit 300" in lines[0] and "300 to train, 300 to test, 10 classes" in lines[1]
    assert {path.name for path in (tmp_path / "run a").glob("*.pth")} == {
        "tudui_0.pth",
        "tudui_1.pth",
        "tudui_best.pth",
    }
    assert [step for step, _ in read_scalars(tmp_path / "run a")["test_accuracy"]] == [0, 1]
    words = shlex.split(lines[-1])
    assert words[0] == "curves" and words[2:] == ["-m", "tensorboard.main", "--logdir", "run a"]
    check = [words[1], "-c", "import sys, tensorboard; print(sys.prefix)"]  # what is printed can be typed there
    assert subprocess.check_output(check, cwd=tmp_path, text=True).strip() == sys.prefix


def test_the_table_tells_each_epoch(tudui, pictures, tmp_path):
    code, output, errors = tudui(
        "train", "--data", pictures, "--epochs", 2, "--batch-size", 4, "--order", "fixed", "--run-dir", tmp_path / "run"
    )  # fixed: all 51 pictures
    assert (code, errors) == (0, "")
    history = read_checkpoint(tmp_path / "run" / "tudui_1.pth")["progress"]["history"]
    rows = re.findall(r"^ +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)$", output, re.MULTILINE)
    for number, row, epoch in zip((1, 2), rows, history, strict=True):
        train, test = epoch["train"], epoch["test"]
        expected = [number, train["loss_sum"] / 51, train["correct"] / 51, test["loss_sum"] / 15]
        expected += [test["batch_loss_sum"], test["correct"] / 15]
        assert [float(figure) for figure in row] == pytest.approx(expected, abs=0.006)


def test_a_run_is_not_written_over(tudui, finished):
    before = content(finished)
    code, output, errors = tudui("train", "--data", "pictograms", "--run-dir", finished)
    assert (code, output) == (2, "")
    assert "--resume" in errors and "--run-dir" in errors and "--overwrite" in errors
    assert content(finished) == before


def test_overwrite_removes_only_the_runs_own_files(tudui, finished, pictures, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    foreign = ["notes.txt", "tudui_mine.pth", "weights.pth", "sub/tudui_0.pth"]
    (tmp_path / "run" / "sub").mkdir()
    for name in foreign:
        (tmp_path / "run" / name).write_text(name)
    (tmp_path / "run" / ".tudui_1.pth.123.tmp").write_text("of a killed run")
    old_events = {path.name for path in (tmp_path / "run").glob("events*")}
    code, _, _ = tudui(
        "train", "--data", pictures, "--epochs", 1, "--seed", 5, "--run-dir", tmp_path / "run", "--overwrite"
    )
    names = {str(name) for name in content(tmp_path / "run")}
    events = {name for name in names if name.startswith("events")}
    assert code == 0 and len(events) == 1 and not events & old_events
    assert names == {*foreign, "tudui_0.pth", "tudui_best.pth", LOCK, *events}
    assert all((tmp_path / "run" / name).read_text() == name for name in foreign)
    assert read_checkpoint(tmp_path / "run" / "tudui_0.pth")["settings"]["seed"] == 5


@pytest.mark.parametrize("name", ["pictures", "pictures/", "."])
def test_the_default_folder_is_named_after_the_data_and_never_taken_twice(tudui, pictures, tmp_path, monkeypatch, name):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path / "home"))
    shutil.copytree(pictures, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path if name.startswith("pictures") else tmp_path / "pictures")
    for _ in range(3):
        assert tudui("train", "--data", name, "--epochs", 1, "--batch-size", 17)[0] == 0
    runs = tmp_path / "home" / "runs"
    assert {path.name for path in runs.iterdir()} == {"pictures", "pictures-2", "pictures-3"}
    assert all((path / "tudui_0.pth").is_file() for path in runs.iterdir())


def test_resume_without_a_folder_takes_the_newest_run_from_anywhere(tudui, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path / "home"))
    shutil.copytree(pictures, tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert tudui("train", "--data", "pictures", "--epochs", 1)[0] == 0
    monkeypatch.chdir("/")
    code, output, _ = tudui("train", "--resume", "--epochs", 2)
    assert code == 0 and "resumed     at step 1, in epoch 2" in output
    assert (tmp_path / "home" / "runs" / "pictures-2" / "tudui_1.pth").is_file()
    assert not (tmp_path / "home" / "runs" / "pictures" / "tudui_1.pth").exists()


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--lr", "0.1", "lr 0.01, not 0.1"),
        ("--batch-size", "8", "batch-size 4, not 8"),
        ("--seed", "1", "seed 0, not 1"),
    ],
)
def test_a_resumed_run_cannot_become_another(tudui, finished, flag, value, told):
    before = content(finished)
    code, _, errors = tudui("train", "--resume", "--run-dir", finished, "--epochs", 3, flag, value)
    assert code == 2 and f"begun with {told}" in errors
    assert content(finished) == before


def test_resume_with_more_epochs_keeps_the_settings_it_was_begun_with(tudui, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    code, output, errors = tudui("train", "--resume", "--run-dir", tmp_path / "run", "--epochs", 3)
    assert (code, errors) == (0, "") and "resumed     at step 24, in epoch 3" in output
    settings = read_checkpoint(tmp_path / "run" / "tudui_2.pth")["settings"]
    assert (settings["epochs"], settings["batch_size"]) == (3, 4)


def test_pictures_kept_back_choose_the_best_epoch(tudui, pictures, tmp_path):
    code, output, errors = tudui(
        "train", "--data", pictures, "--epochs", 4, "--batch-size", 4, "--lr", 0.05, "--validation", 12,
        "--run-dir", tmp_path / "run",
    )  # fmt: skip
    assert (code, errors) == (0, "") and "39 to train, 12 kept back to choose by, 15 to test" in output
    history = read_checkpoint(tmp_path / "run" / "tudui_3.pth")["progress"]["history"]
    counts = {(row["train"]["count"], row["validation"]["count"], row["test"]["count"]) for row in history}
    assert counts == {(36, 12, 15)}
    right = [row["validation"]["correct"] for row in history]
    best = read_checkpoint(tmp_path / "run" / "tudui_best.pth")["progress"]["epoch"]
    assert best == right.index(max(right)) + 1
    assert f"chosen by      validation accuracy, {max(right) / 12:.4f} after epoch {best}" in output
    assert re.findall(r"validation accuracy ([\d.]+) ", output) == [f"{count / 12:.4f}" for count in right]
    curves = read_scalars(tmp_path / "run")
    assert [value for _, value in curves["validation_accuracy"]] == pytest.approx([count / 12 for count in right])
    code, output, _ = tudui("train", "--resume", "--run-dir", tmp_path / "run", "--epochs", 5)
    assert code == 0 and "12 kept back" in output


def test_of_a_folder_without_test_pictures_some_are_kept_back_to_test_with(tudui, pictures, tmp_path):
    code, _, errors = tudui("train", "--data", pictures / "train", "--run-dir", tmp_path / "no")
    assert code == 2 and "has no test pictures: keep some of the others back, for example --validation 10" in errors
    flags = ["--data", pictures / "train", "--validation", 12, "--epochs", 2, "--batch-size", 4]
    code, output, errors = tudui("train", *flags, "--run-dir", tmp_path / "run")
    assert (code, errors) == (0, "") and "39 to train, 12 to test" in output
    accuracy = re.search(r"test accuracy  ([\d.]+) \(best", output)[1]
    assert "chosen by      the pictures kept back, which are tested on, too" in output and "--validation" not in output
    code, output, _ = tudui("evaluate", tmp_path / "run" / "tudui_1.pth")
    assert code == 0 and "12 test pictures" in output and f"test accuracy   {accuracy}" in output
    code, output, _ = tudui("train", "--resume", "--run-dir", tmp_path / "run", "--epochs", 3)
    assert code == 0 and "39 to train, 12 to test" in output


def test_without_pictures_kept_back_the_table_says_what_the_best_was_chosen_by(tudui, pictures):
    _, output, _ = tudui("train", "--data", pictures, "--epochs", 1, "--batch-size", 17)
    assert "chosen by      test accuracy, which flatters the best epoch; --validation N" in output


@pytest.mark.parametrize("limit", [0, 7])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_evaluate_gives_the_figures_that_train_gave(tudui, pictures, tmp_path, limit, precision):
    _, trained, _ = tudui(
        "train", "--data", pictures, "--epochs", 1, "--batch-size", 3, "--lr", 0.05, "--limit", limit,
        "--precision", precision, "--run-dir", tmp_path / "run",
    )  # fmt: skip
    code, measured, errors = tudui("evaluate", tmp_path / "run" / "tudui_0.pth")
    assert (code, errors) == (0, "")
    loss, accuracy = re.search(r"test loss ([\d.]+) +test accuracy ([\d.]+)", trained).groups()
    assert re.search(r"test accuracy +([\d.]+)", measured)[1] == accuracy
    assert float(re.search(r"test loss +([\d.]+)", measured)[1]) == pytest.approx(float(loss), abs=2e-3)
    rows = [
        (float(share), int(count))
        for share, count in re.findall(r"^\w+ +([\d.]+|nan) +\((\d+) p", measured, re.MULTILINE)
    ]
    assert len(rows) == 3 and sum(count for _, count in rows) == (limit or 15)
    right = sum(share * count for share, count in rows if count)
    assert right / (limit or 15) == pytest.approx(float(accuracy), abs=1e-3)


def test_evaluate_wants_to_be_told_the_data_of_a_bare_state_dict(tudui, tmp_path):
    torch.save(Tudui().state_dict(), tmp_path / "weights.pth")
    code, output, errors = tudui("evaluate", tmp_path / "weights.pth")
    assert (code, output) == (2, "") and "name the data: --data" in errors
    code, output, errors = tudui("evaluate", tmp_path / "weights.pth", "--data", "pictograms")
    assert (code, errors) == (0, "") and "2,000 test pictures" in output


# Arguments, what the sentence on standard error says. {bad} stands for a folder of the files below, {run} for a run.
MISTAKES = [
    (["train", "--data", "mnist"], "'mnist' is neither a known data set"),
    (["train", "--data", "{bad}/nowhere"], "nowhere' is neither a known data set"),
    (["train", "--data", "{bad}/empty"], "train is missing"),
    (["train", "--data", "{bad}/differ"], "classes of"),
    (["train", "--data", "{bad}/unreadable"], "1 of 8 pictures"),
    (["train", "--batch-size", "0"], "batch size is 0"),
    (["train", "--batch-size", "-3"], "batch size is -3"),
    (["train", "--epochs", "0"], "epochs is 0"),
    (["train", "--lr", "0"], "learning rate is 0.0"),
    (["train", "--lr", "-0.1"], "learning rate is -0.1"),
    (["train", "--lr", "nan"], "learning rate is nan"),
    (["train", "--lr", "inf"], "learning rate is inf"),
    (["train", "--limit", "-1"], "limit is -1"),
    (["train", "--validation", "-1"], "validation is -1"),
    (["train", "--data", "{pictures}", "--validation", "49"], "49 of 51 pictures can't be kept back: give 1 to 48"),
    (["train", "--seed", "-1"], "seed is -1"),
    (["train", "--seed", str(2**32)], "seed is 4294967296"),
    (["train", "--keep", "-1"], "keep is -1"),
    (["train", "--device", "cuda:99"], "device 'cuda:99' isn't there; here you can use: auto, cpu"),
    (["train", "--device", "gpu"], "device 'gpu' is no device name"),
    (["train", "--data", "{pictures}", "--run-dir", "{bad}/text.pth"], "is a file; give the name of a folder"),
    (["train", "--data", "{pictures}", "--run-dir", "{bad}/text.pth/run"], "can't be written"),
    (["train", "--resume", "--run-dir", "{bad}/empty"], "holds no run to resume"),
    (["train", "--resume", "--run-dir", "{bad}/nowhere"], "holds no run to resume"),
    (["train", "--resume"], "holds no run to resume"),
    (["train", "--resume", "--run-dir", "{run}", "--overwrite"], "give one of them"),
    (["train", "--resume", "--run-dir", "{run}", "--lr", "nan"], "learning rate is nan"),
    (["train", "--resume", "--run-dir", "{bad}/broken"], "is damaged"),
    (["evaluate", "{bad}/truncated.pth"], "is damaged or no checkpoint at all"),
    (["evaluate", "{bad}/other.pth"], "another network than Tudui"),
    (["evaluate", "{bad}/text.pth"], "is damaged or no checkpoint at all"),
    (["evaluate", "{bad}/whole.pth"], "another network than Tudui: the network has the parameters"),
    (["evaluate", "{bad}"], "is a folder"),
    (["evaluate", "{bad}/nowhere.pth"], "doesn't exist"),
    (["evaluate", "{run}/tudui_0.pth", "--data", "mnist"], "'mnist' is neither"),
    (["evaluate", "{run}/tudui_0.pth", "--data", "{bad}/others"], "knows the classes"),
    (["evaluate", "{run}/tudui_0.pth", "--batch-size", "0"], "batch size is 0"),
    (["evaluate", "{run}/tudui_0.pth", "--device", "cuda:99"], "isn't there"),
]


@pytest.fixture(scope="module")
def bad(finished, tmp_path_factory):
    """Files and folders that can't be used."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    for data, names in (("differ", ("cat dog", "cat")), ("unreadable", ("cat dog",) * 2), ("others", ("cat dog",) * 2)):
        for part, classes in zip(("train", "test"), names, strict=True):
            for name in classes.split():
                (folder / data / part / name).mkdir(parents=True)
                for index in range(2):
                    picture = Image.new("RGB", (32, 32), (len(part), ord(name[0]), index))
                    picture.save(folder / data / part / name / f"{index}.png")
    (folder / "unreadable" / "test" / "cat" / "0.png").write_text("no picture")
    raw = (finished / "tudui_0.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(raw[: len(raw) // 2])
    (folder / "broken").mkdir()
    (folder / "broken" / "tudui_0.pth").write_bytes(raw[:-100])
    torch.save(nn.Linear(2, 2).state_dict(), folder / "other.pth")
    torch.save(nn.Linear(2, 2), folder / "whole.pth")
    (folder / "text.pth").write_text("epoch,loss")
    return folder


@pytest.mark.parametrize(
    ("arguments", "told"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_is_one_sentence_and_leaves_nothing_behind(
    tudui, tmp_path, monkeypatch, pictures, finished, bad, arguments, told
):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    before = content(finished), content(bad)
    code, output, errors = tudui(*(one.format(bad=bad, run=finished, pictures=pictures) for one in arguments))
    assert (code, output) == (2, "")
    assert errors.startswith("tudui: ") and told in errors
    sentence = errors.removeprefix("tudui: ").rstrip("\n")
    assert "\n" not in sentence or "unreadable" in str(arguments)  # there the pictures follow, one a line
    assert sentence.endswith(".")
    assert not (tmp_path / "runs").exists()
    assert (content(finished), content(bad)) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["train", "--learning-rate", "0.1"], "--learning-rate"),
        (["train", "--epochs", "many"], "--epochs"),
        (["train", "--precision", "float16"], "float16"),
        (["trian"], "trian"),
        (["evaluate"], "CHECKPOINT"),
    ],
)
def test_what_is_no_command_is_named_with_the_way_to_the_help(tudui, tmp_path, monkeypatch, arguments, named):
    monkeypatch.setenv("TUDUI_HOME", str(tmp_path))
    code, output, errors = tudui(*arguments)
    assert (code, output) == (2, "")
    assert named in errors and "--help" in errors and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_training_that_diverges_exits_with_1_and_keeps_what_was_saved(tudui, pictures, tmp_path):
    code, _, errors = tudui(
        "train", "--data", pictures, "--lr", "1e6", "--batch-size", 4, "--run-dir", tmp_path / "run"
    )
    assert code == 1 and [path.name for path in (tmp_path / "run").glob("*.pth")] == [INTERRUPTED]
    assert read_checkpoint(tmp_path / "run" / INTERRUPTED)["progress"]["step"] == 0
    assert re.fullmatch(
        r"tudui: epoch 1: the loss became NaN or infinite at step \d+ \(learning rate 1e\+06\): .*\n", errors
    )


def test_a_fault_of_our_own_is_not_hidden(tudui, monkeypatch):
    monkeypatch.setattr(run, "train", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tudui("train")


def test_a_files_own_words_do_not_steer_the_terminal(tudui, tmp_path):
    save_checkpoint(tmp_path / "a.pth", Tudui(), settings={"data": "no\x1b[2Jwhere"})
    code, _, errors = tudui("evaluate", tmp_path / "a.pth")
    assert code == 2 and "\x1b" not in errors and "where" in errors


def test_doctor_finds_all_well_here_and_names_each_subject(tudui):
    code, output, _ = tudui("doctor")
    assert code == 0
    subjects = [line[5:18].strip() for line in output.splitlines()]
    assert all(line.startswith("ok   ") for line in output.splitlines())
    assert subjects == [
        "Python", "torch", "torchvision", "tensorboard", "setuptools", "jupyterlab", "nbval", "matplotlib",
        "operators", "jupyter", "devices", "precision", "data sets", "disk", "TensorBoard",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "remedy"),
    [
        ("2.9.1", '"torch>=2.10"'),
        ("1.13", '"torch>=2.10"'),
        ("2.10.0", ""),
        ("2.15.0+cpu", ""),
        ("3.0", ""),
        ("2.10", ""),
    ],
)
def test_doctor_tells_how_to_mend_an_old_version(monkeypatch, found, remedy):
    monkeypatch.setattr(doctor, "version", lambda name: found)
    name, version, fix = doctor.check_package("torch", 2, 10)
    assert (name, version, fix) == (
        "torch",
        found,
        f"{sys.executable} -m pip install --upgrade {remedy}" if remedy else "",
    )


def test_doctor_tells_how_to_mend_what_is_missing(monkeypatch, capsys):
    assert doctor.check_package("no-such-package", 1)[1:] == ("missing", f"{doctor.INSTALL} no-such-package")
    assert doctor.check_package("no-such-package")[2] == ""
    monkeypatch.setattr(doctor, "check_packages", lambda: [("torch", "missing", "install torch")])
    monkeypatch.setattr(doctor, "check_tensorboard", lambda: ("TensorBoard", "starts and answers", ""))
    assert doctor.examine() is False
    assert "fix  torch        missing\n                  -> install torch\n" in capsys.readouterr().out
