"""What is in a folder of pictures: which parts, classes and files count, and which are left out."""

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tudui_course.data.picture import HEIC, endings, heic_hint, reads_heic
from tudui_course.errors import CourseWarning, InputError

LISTED = 20  # names in a message
TEST_NAMES = ("test", "val", "valid", "validation")  # the first that is there is the test set
LAYOUT = "a folder of pictures holds train/<class>/* and test/<class>/*"


class Listing(NamedTuple):
    """What a folder of class folders holds.

    Attributes:
        classes: their names, in order.
        samples: (path, index of its class) of each picture, in ImageFolder's order.
        left_out: how many files of each ending can't be read as pictures.
    """

    classes: list[str]
    samples: list[tuple[str, int]]
    left_out: Counter


def say(sentence: str) -> None:
    """Warn the caller of `read_folder`."""
    warnings.warn(sentence, CourseWarning, stacklevel=3)


def find_parts(folder: Path) -> dict[str, Path]:
    """The folders of the train and of the test pictures; without "test" where there is none.

    Their names may be in upper or lower case.

    Raises:
        InputError: there are no pictures to train on.
    """
    inside = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_dir()}
    test = next((inside[name] for name in TEST_NAMES if name in inside), None)
    if "train" not in inside:
        if test or not any(map(holds_pictures, class_folders(folder))):
            raise InputError(f"{folder / 'train'} is missing: {LAYOUT}.")
        return {"train": folder}
    if test is None:
        return {"train": inside["train"]}
    return {"train": inside["train"], "test": test}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: .ipynb_checkpoints, ._x.jpg, .DS_Store, Thumbs.db ..."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def class_folders(part: Path) -> list[Path]:
    """The folders of the classes, in the order of their names."""
    return sorted(path for path in part.iterdir() if path.is_dir() and not is_hidden(path.name))


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture directly in this folder."""
    try:
        return any(ending_of(path.name) in endings() and not is_hidden(path.name) for path in folder.iterdir())
    except OSError:
        return False


def list_pictures(part: Path) -> Listing:
    """List what a folder of class folders holds."""
    folders = class_folders(part)
    listing = Listing([folder.name for folder in folders], [], Counter())
    loose = [path.name for path in part.iterdir() if not (path.is_dir() or is_hidden(path.name))]
    listing.left_out.update(map(ending_of, loose))
    for target, folder in enumerate(folders):
        for path in walk(folder):
            if ending_of(path) in endings():
                listing.samples.append((path, target))
            else:
                listing.left_out[ending_of(path)] += 1
    return listing


def walk(folder: Path) -> list[str]:
    """All files in a folder and below, except hidden ones, in ImageFolder's order; links are followed."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} can't be read ({error.strerror}); allow it, or remove that folder.")

    found = []
    for root, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in folders if not is_hidden(name) and not leads_back(os.path.join(root, name))]
        found.append((root, sorted(name for name in files if not is_hidden(name))))
    return [os.path.join(root, name) for root, names in sorted(found) for name in names]


def leads_back(path: str) -> bool:
    """Whether a folder is a link to one that contains it; following it would never end."""
    return os.path.islink(path) and Path(path).parent.resolve().is_relative_to(Path(path).resolve())


def ending_of(name: str) -> str:
    """The ending of a file's name, ".jpg" or "without an ending", under which it is counted where it is left out."""
    return os.path.splitext(name)[1].lower() or "without an ending"


def say_left_out(folder: Path, left_out: Counter) -> None:
    """Count the files that are no pictures, or none that can be read here."""
    if left_out:
        kinds = ", ".join(f"{ending} ({count})" for ending, count in sorted(left_out.items()))
        hint = f" ({heic_hint()})" if set(left_out) & set(HEIC) and not reads_heic() else ""
        files = "file" if left_out.total() == 1 else "files"
        say(f"{left_out.total()} {files} left out of {folder}: {kinds}{hint}.")


def check_listings(paths: dict[str, Path], listings: dict[str, Listing]) -> list[str]:
    """The class names, after checking that all parts have the same ones, at least two, with pictures of each."""
    train, test = listings["train"], listings.get("test", listings["train"])
    for part, listing in listings.items():
        if not listing.classes:
            raise InputError(f"{paths[part]} can't be used: no class folders in it; {LAYOUT}.")
    if train.classes != test.classes:
        only_train = sorted(set(train.classes) - set(test.classes))
        only_test = sorted(set(test.classes) - set(train.classes))
        raise InputError(
            f"the classes of {paths['train']} and {paths['test']} differ (only in {paths['train'].name}: {only_train}, "
            f"only in {paths['test'].name}: {only_test}): give both the same class folders."
        )
    for part, listing in listings.items():
        present = {target for _, target in listing.samples}
        lacking = [name for target, name in enumerate(listing.classes) if target not in present]
        if lacking:
            raise InputError(f"{paths[part]} can't be used: no pictures in {', '.join(lacking[:LISTED])}; {LAYOUT}.")
    if len(train.classes) < 2:
        raise InputError(f"{paths['train']} has one class folder, {train.classes[0]!r}; telling apart takes two.")
    return train.classes
