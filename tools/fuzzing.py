"""Random damage to real files, for tests and for `make faults`: each file ends in success or in one sentence."""

import io
import random
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from tudui_course.checkpoint import load_model, read_checkpoint, save_checkpoint
from tudui_course.data.picture import open_picture
from tudui_course.errors import CourseError
from tudui_course.foreign import open_file
from tudui_course.model import Tudui, TuduiNorm

SLOWEST = 10.0  # seconds that any file may take; most take milliseconds
READERS = {
    "read_checkpoint": read_checkpoint,
    "load_model": load_model,
    "open_file (whole models)": open_file,
    "open_picture": open_picture,
}


def make_files(folder: Path) -> dict[str, list[bytes]]:
    """Real files to begin with: checkpoints, state_dicts and whole models in both formats; pictures of many kinds."""
    torch.manual_seed(0)
    model = Tudui(3)
    save_checkpoint(folder / "checkpoint.pth", model, torch.optim.SGD(model.parameters(), 0.1))
    for form, new in (("zip", True), ("old", False)):
        options = {"_use_new_zipfile_serialization": new}
        torch.save(TuduiNorm(3).state_dict(), folder / f"state-{form}.pth", **options)
        torch.save({"net": model.state_dict(), "acc": 0.5}, folder / f"wrapped-{form}.pth", **options)
        with warnings.catch_warnings(action="ignore"):
            torch.save(model.model1, folder / f"whole-{form}.pth", **options)
    picture = Image.effect_mandelbrot((40, 30), (-2, -1.5, 1, 1.5), 30)
    for mode in ("RGB", "L", "RGBA", "P", "1", "I;16", "CMYK"):
        for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM", "TGA", "JPEG2000"):
            try:
                picture.convert("L" if mode == "I;16" else mode).save(folder / f"{kind}-{mode}.pic", format=kind)
            except (OSError, ValueError):  # this kind of file has no such mode
                (folder / f"{kind}-{mode}.pic").unlink(missing_ok=True)
    return {
        kind: [path.read_bytes() for path in sorted(folder.glob(f"*.{kind}")) if path.stat().st_size]
        for kind in ("pth", "pic")
    }


def damage(raw: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """One to three of: a bit, a byte, a run of bytes, a cut, a piece left out, put in twice or taken from another."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        if not changed:
            break
        start = rng.randrange(len(changed))
        length = min(rng.choice((1, 2, 4, 8, 64, 1000)), len(changed) - start)
        match rng.randrange(7):
            case 0:
                changed[start] ^= 1 << rng.randrange(8)
            case 1:
                changed[start] = rng.choice((0, 1, 127, 128, 255))
            case 2:
                changed[start : start + length] = rng.randbytes(length)
            case 3:
                del changed[start:]
            case 4:
                del changed[start : start + length]
            case 5:
                changed[start:start] = changed[start : start + length]
            case 6:
                other = rng.choice(others)
                changed[start : start + length] = other[start : start + length]
    return bytes(changed)


def damage_inside(raw: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Damage one record of a zip archive and write the archive anew, so that its checksums hold: the reader's turn."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in records if name.endswith("data.pkl")) if rng.random() < 0.8 else rng.choice([*records])
    records[name] = damage(records[name], rng, others)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return file.getvalue()


def fuzz(name: str, count: int, folder: Path, seed: int = 0) -> dict[str, int]:
    """Give a reader `count` damaged files.

    Returns:
        How many were read, and how many were refused with a sentence.

    Raises:
        AssertionError: another exception came, or it took too long; the file stays as folder/failed.
    """
    reader, rng = READERS[name], random.Random(f"{name} {seed}")
    (folder / "corpus").mkdir(exist_ok=True)
    files = make_files(folder / "corpus")["pic" if reader is open_picture else "pth"]
    counts, path = {"read": 0, "refused": 0}, folder / "fuzzed"
    for _ in range(count):
        raw = rng.choice(files)
        inside = raw[:2] == b"PK" and rng.random() < 0.7
        content = damage_inside(raw, rng, files) if inside else damage(raw, rng, files)
        path.write_bytes(content)
        try_one(reader, path, counts)
    return counts


def try_one(reader: Callable, path: Path, counts: dict[str, int]) -> None:
    """Give one file to a reader; anything but success or one printable sentence fails."""
    started = time.monotonic()
    try:
        with warnings.catch_warnings(action="ignore"):
            reader(path)
        counts["read"] += 1
    except CourseError as error:
        sentence = str(error)
        assert "\n" not in sentence and len(sentence) < 2000, sentence
        counts["refused"] += 1
    except BaseException as error:
        path.rename(path.with_name("failed"))
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert time.monotonic() - started < SLOWEST, path.rename(path.with_name("failed"))
