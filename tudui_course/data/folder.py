"""A folder of pictures, DIR/train/<class>/* and DIR/test/<class>/*, decoded once and kept."""

import functools
import hashlib
import logging
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset
from tqdm import tqdm

from tudui_course.errors import InputError
from tudui_course.runtime import data_dir

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs as an error it also raises

SIZE = 32
LISTED = 20  # unreadable pictures named in a message
Part = tuple[Tensor, Tensor, list[str]]


def read_folder(folder: Path | str) -> tuple[Part, Part]:
    """Read train and test pictures, of any size and mode, as 32x32 RGB.

    What was decoded is kept under the data folder together with a fingerprint of all file names, sizes and times, and
    decoded again when that changes.

    Args:
        folder: holds train/<class>/* and test/<class>/*, as torchvision.datasets.ImageFolder reads each of them.

    Returns:
        For train and for test: images (N, 3, 32, 32) uint8, targets (N,) int64, class names.

    Raises:
        InputError: a folder is missing or empty, the classes differ, or pictures can't be read; all of those (the
            first 20) are named.
    """
    folder = Path(folder).resolve()
    samples = {part: list_samples(folder / part) for part in ("train", "test")}
    classes = same_classes(folder)
    fingerprint = fingerprint_of(folder, samples)
    cache = data_dir() / "folders" / (hashlib.sha256(str(folder).encode()).hexdigest()[:16] + ".pt")
    kept = read_cache(cache, fingerprint)
    if kept is None:
        kept = decode_all(samples, folder)
        write_cache(cache, {"fingerprint": fingerprint, **kept})
    return tuple((*kept[part], classes) for part in ("train", "test"))


def list_samples(part: Path) -> list[tuple[str, int]]:
    """All (path, class index) of one part, in ImageFolder's order."""
    if not part.is_dir():
        raise InputError(f"{part} is missing: a folder of pictures holds train/<class>/* and test/<class>/*.")
    try:
        _, class_to_idx = find_classes(str(part))
        return make_dataset(str(part), class_to_idx, extensions=IMG_EXTENSIONS)
    except FileNotFoundError as error:
        raise InputError(f"{part} can't be used: {error}") from None


def same_classes(folder: Path) -> list[str]:
    """The class names, after making sure that train and test have the same."""
    train, test = (find_classes(str(folder / part))[0] for part in ("train", "test"))
    if train != test:
        only_train, only_test = sorted(set(train) - set(test)), sorted(set(test) - set(train))
        raise InputError(
            f"the classes of {folder / 'train'} and {folder / 'test'} differ (only in train: {only_train}, "
            f"only in test: {only_test}): give both the same class folders."
        )
    if len(train) < 2:
        raise InputError(f"{folder / 'train'} has one class folder, {train[0]!r}; to tell classes apart takes two.")
    return train


def fingerprint_of(folder: Path, samples: dict[str, list[tuple[str, int]]]) -> str:
    """A digest of all file names, sizes and modification times."""
    digest = hashlib.sha256()
    for part in samples:
        for path, target in samples[part]:
            try:
                stat = os.stat(path)
            except OSError as error:
                hint = "a link that leads nowhere? Remove it"
                raise InputError(f"{path} can't be read ({error.strerror}): {hint}.") from None
            line = (os.path.relpath(path, folder), target, stat.st_size, stat.st_mtime_ns)
            digest.update(repr(line).encode())
    return digest.hexdigest()


def decode_all(samples: dict[str, list[tuple[str, int]]], folder: Path) -> dict[str, list[Tensor]]:
    """Decode all pictures, or raise InputError with the names of those of both parts that can't be."""
    decoded, unreadable = {}, []
    for part in samples:
        decoded[part] = decode(samples[part], unreadable)
    if unreadable:
        more = f"\n  and {len(unreadable) - LISTED} more" if len(unreadable) > LISTED else ""
        raise InputError(
            f"{len(unreadable)} of {sum(map(len, samples.values()))} pictures in {folder} can't be read; "
            "mend or remove them:\n  " + "\n  ".join(unreadable[:LISTED]) + more
        )
    return decoded


def decode(samples: list[tuple[str, int]], unreadable: list[str]) -> list[Tensor]:
    """Decode one part: images (N, 3, 32, 32) uint8 and targets (N,) int64; what can't be read is added to a list."""
    images = np.zeros((len(samples), SIZE, SIZE, 3), np.uint8)
    for index, (path, _) in enumerate(tqdm(samples, "reading pictures", unit=" pictures", disable=None, leave=False)):
        try:
            images[index] = open_picture(path)
        except InputError as error:
            unreadable.append(str(error))
    targets = torch.tensor([target for _, target in samples])
    return [torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), targets]


def open_picture(path: Path | str, size: int = SIZE, *, crop: bool = True) -> Image.Image:
    """Read a picture of any mode and size as the network sees it: upright, RGB, size x size.

    The shorter side is scaled to `size` and the middle cut out, so nothing is squeezed; transparent parts become
    white. With crop=False nothing is cut off, and the longer side is `size` at most.

    Raises:
        InputError: it is no picture, damaged, or so large that decoding it would fill the memory.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=formats()) as image:
                image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
                image = ImageOps.exif_transpose(image)
                image = to_rgb(image)
                if not crop:
                    image.thumbnail((size, size), Image.Resampling.BILINEAR)
                    return image
                return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS // 10**6
        raise InputError(f"{path}: more than {limit} million pixels, not decoded; make it smaller first.") from None
    except Image.UnidentifiedImageError:
        phone = str(path).lower().endswith((".heic", ".heif"))
        hint = " (HEIC, as phones take them: save it as JPEG first)" if phone else ""
        raise InputError(f"{path}: not a picture that can be read{hint}.") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except Exception as error:  # Pillow's decoders raise whatever they stumble over in a damaged file
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        reason = "a folder, not a picture" if os.path.isdir(path) else reason
        raise InputError(f"{path}: {reason}.") from None


@functools.cache
def formats() -> list[str]:
    """All formats that Pillow decodes itself; for EPS it would start Ghostscript, which runs programs in the file."""
    Image.init()
    return [name for name in Image.OPEN if name != "EPS"]


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: 16-bit grey is scaled to 8 bits, transparency is laid over white."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).clip(0, 65535) // 256).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def read_cache(cache: Path, fingerprint: str) -> dict[str, list[Tensor]] | None:
    """What was decoded earlier, or None where it is missing, damaged or of another state of the folder."""
    try:
        kept = torch.load(cache, weights_only=True)
        return {part: kept[part] for part in ("train", "test")} if kept["fingerprint"] == fingerprint else None
    except Exception:  # whatever is wrong with a cache, the remedy is to make it anew
        return None


def write_cache(cache: Path, content: dict) -> None:
    """Write the cache so that nobody ever reads half of it; a folder that can't be written only costs time."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_suffix(f".{os.getpid()}.tmp")
        try:
            torch.save(content, temporary)
            os.replace(temporary, cache)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError is what torch.save makes of a full disk
        warnings.warn(f"the decoded pictures could not be kept in {cache}: {error}", stacklevel=2)
