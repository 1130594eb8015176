"""Pictograms: 12,000 small drawings of the ten CIFAR-10 classes, made on the spot instead of downloaded.

They are drawings, not photographs: a model trained on them knows nothing about the real world. They exist so that the
course runs without the internet, and they come with CIFAR-10's shapes, class names and file format, so that
one word turns `Pictograms(...)` into `torchvision.datasets.CIFAR10(...)`.
"""

import contextlib
import hashlib
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import check_integrity

from tudui_course.data.drawings import CLASSES, draw
from tudui_course.errors import DownloadError, StorageError

TRAIN_SEED, TRAIN_PER_CLASS, TRAIN_FILES = 2021, 1000, 5
TEST_SEED, TEST_PER_CLASS = 2022, 200


def pickled(value) -> bytes:
    """Pickle opcodes (protocol 3) of a dict, list, str, int or (N, M) uint8 array; no header, no final dot.

    pickle.dumps may write the same object differently from one Python or numpy to the next, while
    torchvision compares MD5s. So the few opcodes needed are written by hand (`python -m pickletools FILE`).
    """
    if isinstance(value, dict):
        return b"}(" + b"".join(pickled(key) + pickled(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(pickled, value)) + b"e"
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    shape, raw = pickled(value.shape[0]) + pickled(value.shape[1]) + b"\x86", value.tobytes()
    return b"cnumpy\nndarray\n(" + shape + pickled("u1") + b"B" + struct.pack("<I", len(raw)) + raw + b"tR"


def batch(name: str, images: np.ndarray, targets: np.ndarray) -> dict:
    """One of CIFAR-10's files: pictures as rows of 3072 bytes, all red, then all green, then all blue."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
    names = [f"{CLASSES[target]}_{i:04d}.png" for i, target in enumerate(targets)]
    return {"batch_label": name, "labels": targets.tolist(), "data": rows, "filenames": names}


def draw_files() -> dict[str, bytes]:
    """Draw both sets; returns file name -> content, in CIFAR-10's Python format."""
    parts = zip(*(np.split(part, TRAIN_FILES) for part in draw(TRAIN_SEED, TRAIN_PER_CLASS)), strict=True)
    entries = {
        f"data_batch_{k}": batch(f"training batch {k} of {TRAIN_FILES}", *part) for k, part in enumerate(parts, start=1)
    }
    entries["test_batch"] = batch("testing batch 1 of 1", *draw(TEST_SEED, TEST_PER_CLASS))
    entries["batches.meta"] = {"label_names": CLASSES}
    return {name: b"\x80\x03" + pickled(entry) + b"." for name, entry in entries.items()}


def md5_of(raw: bytes) -> str:
    """MD5 as hex digits; not for security, which must be stated or a machine in FIPS mode refuses."""
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


# The files are the same everywhere, so their checksums can be written down: torchvision compares them before
# it unpickles a file. Whoever changes a drawing gets new ones by `python -m tudui_course.data.pictograms`.
MD5 = {
    "data_batch_1": "5a23acb73d6ed5d979415dad27dbd7d4",
    "data_batch_2": "ba10c9fc49a6643ad8d8f25a0eefcc88",
    "data_batch_3": "698fb83d706268ade6c404b78f31af5d",
    "data_batch_4": "4f3ad13b4b5276cc0d6c8b4d859c5072",
    "data_batch_5": "0a6e68214080e9a4f8f250a1ba64fce0",
    "test_batch": "a21cb7b0ca9f35c2e156c841dff77648",
    "batches.meta": "32d29edaa7133e2987b11ee1ac669729",
}


def damaged(folder: Path) -> list[str]:
    """Names of the files that are missing from `folder` or not what was drawn."""
    return [name for name, md5 in MD5.items() if not check_integrity(folder / name, md5)]


class Pictograms(CIFAR10):
    """Drop-in for torchvision's CIFAR10: 10,000 training and 2,000 test drawings, 32x32 RGB, balanced.

    Args:
        root: folder that holds, or will hold, `pictograms-batches-py`.
        train: True for the training set, False for the test set.
        transform, target_transform: as in CIFAR10; without them an item is (PIL image, int 0..9).
        download: draw the files if missing or damaged (seconds, no internet) where CIFAR10 would fetch them.

    Attributes: data (N, 32, 32, 3) uint8 0..255, targets (list of N ints 0..9), classes, class_to_idx.

    Raises:
        DownloadError: files are missing or damaged, and download is False.
        StorageError: the drawings can't be written.
    """

    base_folder = "pictograms-batches-py"
    train_list = [[name, md5] for name, md5 in MD5.items() if name.startswith("data_batch")]  # noqa: RUF012
    test_list = [["test_batch", MD5["test_batch"]]]  # noqa: RUF012
    meta = {"filename": "batches.meta", "key": "label_names", "md5": MD5["batches.meta"]}  # noqa: RUF012

    def __init__(self, root, train=True, transform=None, target_transform=None, download=False):
        root = Path(root).expanduser()
        folder = root / self.base_folder
        if not download and damaged(folder):
            raise DownloadError(f"Pictograms missing or damaged in {folder}: use download=True to draw them.")
        super().__init__(root, train, transform, target_transform, download)

    def download(self) -> None:
        """Draw what is missing or damaged; does nothing when all files are as they should be."""
        folder = self.root / self.base_folder
        if not damaged(folder):
            return
        content = draw_files()
        wrong = [name for name, raw in content.items() if md5_of(raw) != MD5[name]]
        if wrong:
            raise DownloadError(
                f"Pictograms came out differently on this machine ({wrong[0]}, numpy "
                f"{np.__version__}): please report it, and use CIFAR10 meanwhile."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Written beside, then renamed into place: another process, reading or drawing, sees whole files only.
            with tempfile.TemporaryDirectory(dir=self.root, prefix="pictograms-") as beside:
                for name in damaged(folder):
                    Path(beside, name).write_bytes(content[name])
                    with contextlib.suppress(PermissionError):  # Windows, while another process reads its copy
                        os.replace(Path(beside, name), folder / name)
        except OSError as error:
            raise StorageError(
                f"Pictograms can't be stored in {self.root} ({error.strerror or error}): make room for 40 MB, allow "
                "writing there, or set TUDUI_HOME to another folder."
            ) from None


if __name__ == "__main__":
    for name, raw in draw_files().items():
        print(f'    "{name}": "{md5_of(raw)}",')
