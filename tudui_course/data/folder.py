"""A folder of pictures, train/<class>/* and test/<class>/*, as people have it; decoded once and cached."""

import hashlib
import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from tudui_course.data.listing import LAYOUT, LISTED, check_listings, find_parts, list_pictures, say, say_left_out
from tudui_course.data.picture import SIZE, open_picture
from tudui_course.errors import InputError
from tudui_course.runtime import data_dir, write_whole

VERSION = 2  # of the cache's format; any other is decoded again


def read_folder(folder: Path | str, *, without_test: bool = False) -> tuple[tuple[Tensor, Tensor, list[str]], ...]:
    """Read train and test pictures, of any size and mode, as 32x32 RGB.

    The decoded pictures are cached under the data folder with a fingerprint of all file names, sizes and times, and
    decoded again when that changes. A warning tells of anything noticed on the way, such as files left out.

    Args:
        folder: holds train/<class>/*, and test/<class>/* or one of `TEST_NAMES` instead. Hidden files and folders
            are ignored.
        without_test: also accept train/ alone, or <class>/* alone.

    Returns:
        For train and for test (if there is one): images (N, 3, 32, 32) uint8, targets (N,) int64, class names.

    Raises:
        InputError: a folder is missing or empty, the classes differ, or pictures can't be read; all of those (the
            first 20) are named.
    """
    folder = Path(folder).resolve()
    paths = find_parts(folder)
    listings = {part: list_pictures(path) for part, path in paths.items()}
    classes = check_listings(paths, listings)
    say_left_out(folder, sum((listing.left_out for listing in listings.values()), Counter()))
    if "test" not in paths and not without_test:
        count = max(len(classes), len(listings["train"].samples) // 5)
        raise InputError(
            f"{folder} has no test pictures: keep some of the others back, for example --validation {count}, "
            f"or sort them ({LAYOUT})."
        )
    if "test" in paths and paths["test"].name.lower() != "test":
        say(f"{folder} has no test/: {paths['test'].name}/ is taken for it.")
    samples = {part: listing.samples for part, listing in listings.items()}
    fingerprint = fingerprint_of(folder, samples)
    cache = data_dir() / "folders" / (hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + ".pt")
    kept = read_cache(cache, fingerprint, paths)
    if kept is None:
        kept = decode_all(samples, folder)
        write_cache(cache, {"fingerprint": fingerprint, **kept})
    if kept["shared"]:
        say(
            f"{kept['shared']} of {len(kept['test'][1])} test pictures in {folder} are also among those to train on: "
            "the accuracy flatters; remove them from one of the two."
        )
    return tuple((*kept[part], classes) for part in paths)


def fingerprint_of(folder: Path, samples: dict[str, list[tuple[str, int]]]) -> str:
    """A digest of all file names, sizes and modification times."""
    digest = hashlib.sha256(str(VERSION).encode())
    for part in samples:
        for path, target in samples[part]:
            try:
                stat = os.stat(path)
                state = stat.st_size, stat.st_mtime_ns
            except OSError:  # a link that leads nowhere; decoding says so
                state = None
            line = (part, os.path.relpath(path, folder), target, state)
            digest.update(repr(line).encode())
    return digest.hexdigest()


def decode_all(samples: dict[str, list[tuple[str, int]]], folder: Path) -> dict[str, list[Tensor] | int]:
    """Decode each part: images (N, 3, 32, 32) uint8, targets (N,) int64; an InputError names what can't be decoded."""
    decoded, unreadable = {}, []
    for part, pictures in samples.items():
        images = np.zeros((len(pictures), SIZE, SIZE, 3), np.uint8)
        bar = tqdm(pictures, "reading pictures", unit=" pictures", disable=None, leave=False)
        for index, (path, _) in enumerate(bar):
            try:
                images[index] = open_picture(path)
            except InputError as error:
                unreadable.append(str(error))
        targets = torch.tensor([target for _, target in pictures])
        decoded[part] = [torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), targets]
    if unreadable:
        more = f"\n  and {len(unreadable) - LISTED} more" if len(unreadable) > LISTED else ""
        raise InputError(
            f"{len(unreadable)} of {sum(map(len, samples.values()))} pictures in {folder} can't be read; "
            "mend or remove them:\n  " + "\n  ".join(unreadable[:LISTED]) + more
        )
    return {**decoded, "shared": count_shared(decoded["train"][0], decoded["test"][0]) if "test" in decoded else 0}


def count_shared(train: Tensor, test: Tensor) -> int:
    """How many test pictures (N, 3, 32, 32) are among the training pictures, pixel for pixel."""
    known = {hashlib.sha256(image).digest() for image in train.numpy()}
    return sum(hashlib.sha256(image).digest() in known for image in test.numpy())


def read_cache(cache: Path, fingerprint: str, parts: Iterable[str]) -> dict[str, list[Tensor] | int] | None:
    """What was decoded earlier, or None if it is missing, damaged or out of date."""
    try:
        with zipfile.ZipFile(cache) as archive:
            sound = archive.testzip() is None  # torch.load looks at no checksum
        kept = torch.load(cache, weights_only=True)
        return kept if sound and kept["fingerprint"] == fingerprint and kept.keys() >= {"shared", *parts} else None
    except Exception:  # whatever is wrong with a cache, the remedy is to rebuild it
        return None


def write_cache(cache: Path, content: dict) -> None:
    """Write the cache so that nobody ever reads half of it; if it can't be written, that only costs time."""
    serialized = io.BytesIO()
    torch.save(content, serialized)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_whole(cache, serialized.getbuffer())
    except OSError as error:
        reason = error.strerror or "the disk may be full"
        say(f"the decoded pictures could not be kept in {cache} ({reason}): they are decoded anew next time.")
