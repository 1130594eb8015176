"""The command line: tudui course, train, evaluate, predict, convert, download, doctor.

torch is imported inside the commands, so that `tudui --help` answers at once.
"""

import contextlib
import io
import os
import re
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg, subcommand

from tudui_course.console import harmless, show_anything
from tudui_course.errors import CourseError, CourseWarning, DivergedError, InputError, LostError, StoppedError
from tudui_course.settings import Settings


@dataclass(frozen=True)
class Course:
    """Write the notebooks into a folder of your own and open JupyterLab there; later calls bring what is new."""

    folder: Positional[Annotated[Path, arg(metavar="FOLDER")]] = Path("tudui_notebooks")
    """Made if missing. A notebook that you changed is never written over."""
    fresh: Annotated[str, arg(metavar="NN")] = ""
    """Put notebook NN as the course has it beside yours, 03 for example."""
    language: Annotated[str, arg(metavar="zh|en|both")] = ""
    """Language of the text; by default what the folder has, both in a new one."""
    outputs: Annotated[str, arg(metavar="yes|no")] = ""
    """no leaves the stored outputs out, so that you guess before you see; by default what the folder has, or yes."""
    no_lab: bool = False
    """Only write the notebooks."""

    def run(self) -> None:
        from tudui_course import course

        chosen = {"language": self.language, "outputs": self.outputs}
        if self.fresh:
            path = course.write_fresh(self.folder, self.fresh, **chosen)
            print(f"new      {path.name}")
        else:
            print("\n".join(course.write_course(self.folder, **chosen)))
        if not self.no_lab:
            sys.exit(course.open_lab(self.folder))


@dataclass(frozen=True)
class Train:
    """Train the course's network; checkpoints and TensorBoard files go to a run folder."""

    settings: OmitArgPrefixes[Settings] = field(default_factory=Settings)
    run_dir: Annotated[str, arg(metavar="DIR")] = ""
    """Folder of the run; by default runs/<data>, or runs/<data>-2 ... where that is taken."""
    resume: bool = False
    """Go on with the run in --run-dir (by default the newest), from wherever it was stopped."""
    overwrite: bool = False
    """Begin anew in --run-dir, removing the run that is in there."""
    keep: int = 0
    """Keep the checkpoints of the last so many epochs and the best one; 0 keeps all."""

    def run(self) -> None:
        from tudui_course import distributed, run

        if self.keep < 0:
            raise InputError(f"keep is {self.keep}, but it counts checkpoints: a number above 0, or 0 for all of them.")
        if self.resume and self.overwrite:
            raise InputError("--resume continues a run and --overwrite begins it anew: give one of them.")
        run_dir = distributed.shared(self.resumed_dir) if self.resume else self.run_dir
        run.train(self.settings, run_dir, resume=self.resume, overwrite=self.overwrite, keep=self.keep)

    def resumed_dir(self) -> Path:
        from tudui_course.run_folder import newest_run_dir

        return Path(self.run_dir) if self.run_dir else newest_run_dir()

    def stored_settings(self) -> Settings:
        """The settings of the run to resume: they take the place of the flags' defaults."""
        from tudui_course.checkpoint import newest_checkpoint

        checkpoint, _ = newest_checkpoint(self.resumed_dir())
        return Settings.from_dict(checkpoint["settings"]) if checkpoint else Settings()


@dataclass(frozen=True)
class Evaluate:
    """Measure loss and accuracy of a checkpoint on the test pictures, class by class."""

    checkpoint: Positional[Annotated[Path, arg(metavar="CHECKPOINT")]]
    """A file like runs/pictograms/tudui_9.pth; or photographs, a network for photographs that comes with the course."""
    data: Annotated[str, arg(metavar="NAME|DIR")] = ""
    """pictograms, cifar10 or a folder; by default what the checkpoint was trained on."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    batch_size: int = 256
    """Pictures at a time; changes the speed, not the result."""
    views: Literal[1, 2, 6] = 1
    """Looks at each picture: 2 with its mirror image, 6 with both moved by a pixel too. More accurate on photographs,
    and as many times as slow."""

    def run(self) -> None:
        from tudui_course.evaluate import evaluate_checkpoint

        evaluate_checkpoint(self.checkpoint, self.data, self.device, self.batch_size, views=self.views)


@dataclass(frozen=True)
class Predict:
    """Say what a checkpoint's network takes your own pictures for."""

    checkpoint: Positional[Annotated[Path, arg(metavar="CHECKPOINT")]]
    """A file like runs/pictograms/tudui_9.pth; or photographs, a network for photographs that comes with the course."""
    pictures: Positional[Annotated[tuple[Path, ...], arg(metavar="PICTURE...")]]
    """Pictures of any size and kind."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    json: bool = False
    """Print one JSON array, with an object for each picture, and nothing else."""
    figure: Annotated[Path | None, arg(metavar="FILE.png")] = None
    """Draw the pictures as they are and as the network sees them into this file."""

    def run(self) -> None:
        from tudui_course.predict import predict_files

        unread = predict_files(self.checkpoint, self.pictures, self.device, as_json=self.json, figure=self.figure)
        sys.exit(2 if unread else 0)


@dataclass(frozen=True)
class Convert:
    """Write an older file, torch.save(model) or torch.save(model.state_dict()), as a checkpoint of this course."""

    old: Positional[Annotated[Path, arg(metavar="OLD.pth")]]
    """The file; none of the code it asks for is run."""
    new: Positional[Annotated[Path, arg(metavar="NEW.pth")]]
    """The checkpoint to write; missing folders are made."""
    overwrite: bool = False
    """Replace NEW.pth if it is there."""

    def run(self) -> None:
        from tudui_course.checkpoint import convert
        from tudui_course.runtime import short_path

        model, said = convert(self.old, self.new, overwrite=self.overwrite)
        weights = model.state_dict().values()
        count = sum(parameter.numel() for parameter in model.parameters())
        print(f"converted   {short_path(self.old)} to {short_path(self.new)}")
        for sentence in said:
            print(f"understood  {sentence}")
        print(f"in it       {type(model).__name__}, {count:,} parameters in {len(weights)} tensors")
        print("not in it   optimizer, settings, class names: such files lack them, so no run can be resumed from it")


@dataclass(frozen=True)
class Download:
    """Fetch CIFAR-10 (170 MB), from its own host or a mirror; checked, and continued where it was interrupted."""

    def run(self) -> None:
        from tudui_course.data.cifar10 import CIFAR10
        from tudui_course.runtime import data_dir, short_path, typed

        CIFAR10(data_dir(), download=True)
        print(f"CIFAR-10 is in {short_path(data_dir())}: {typed('tudui')} train --data cifar10")


@dataclass(frozen=True)
class Doctor:
    """Look at this machine and say what works, what doesn't, and how to mend it."""

    def run(self) -> None:
        from tudui_course.doctor import examine

        sys.exit(0 if examine() else 1)


Command = Course | Train | Evaluate | Predict | Convert | Download | Doctor


def parse(arguments: list[str], settings: Settings) -> Command:
    """Read the arguments; `settings` are the defaults of `train`.

    Raises:
        InputError: what tyro refuses, in one sentence instead of its box.
    """
    box, train_command = io.StringIO(), Annotated[Train, subcommand(default=Train(settings))]
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                Course | train_command | Evaluate | Predict | Convert | Download | Doctor,
                prog="tudui",
                description="The complete PyTorch training routine, from the data to the checkpoints.",
                args=arguments,
                config=(FlagCreatePairsOff,),
            )
    except SystemExit as exit_:
        if exit_.code != 2:
            raise
        raise InputError(unboxed(box.getvalue())) from None


def unboxed(box: str) -> str:
    """tyro's box as one sentence: what is wrong, what may have been meant, where the help is."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    parts = [" ".join(part.split("\n")).strip() for part in re.split("\n─+\n", "\n".join(lines))]
    wrong, *hints = [part.strip() for part in parts if part.strip()] or [box.strip()]
    told = [wrong.rstrip(".")]
    for hint in hints:
        if hint.startswith("Perhaps you meant"):
            told.append(f"perhaps you meant {re.findall('--[a-z-]+', hint)[0]}")
        elif hint.startswith("Available"):
            told.append(hint[0].lower() + hint[1:])
    command = re.search(r"(tudui[a-z ]*) --help", hints[-1] if hints else "")
    return f"{'; '.join(told)}. For help: {command[1] if command else 'tudui'} --help."


def main() -> None:
    """Run a command; a user's mistake is one sentence on stderr and exit code 2, never a traceback."""
    show_anything()
    warnings.showwarning = show_warning
    arguments = sys.argv[1:] or ["--help"]
    try:
        command = parse(arguments, Settings())
        train(command, arguments) if isinstance(command, Train) else command.run()
    except BrokenPipeError:  # `tudui train | head`
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        tell("Interrupted; nothing more is saved.")
        sys.exit(130)
    except (StoppedError, DivergedError, LostError) as error:
        tell(error if isinstance(error, StoppedError) else f"tudui: {harmless(error)}")
        sys.exit(error.exit_code)
    except CourseError as error:
        tell(f"tudui: {harmless(error)}", by="LOCAL_RANK")
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder without permission ...: the system's own words
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"tudui: {where}{error.strerror}; what was saved before is intact.", file=sys.stderr)
        sys.exit(2)


def train(command: Train, arguments: list[str]) -> None:
    """Train, together with the other processes if torchrun started this one."""
    from tudui_course import distributed

    with distributed.joined():
        if command.resume:
            command = parse(arguments, distributed.shared(command.stored_settings))
        command.run()


def tell(message: object, by: str = "RANK") -> None:
    """Print to stderr; of several processes that torchrun started only the first, or the first of each machine.

    Args:
        by: "RANK" for what all of them would say, "LOCAL_RANK" for what may concern one machine alone.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get(by, "0") == "0":
        print(message, file=sys.stderr)


def show_warning(message: Warning, category: type[Warning], *rest: object) -> None:
    """Print a warning of ours as one sentence, any other as python does."""
    if issubclass(category, CourseWarning):
        print(f"tudui: {harmless(message)}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *rest[:2]))
