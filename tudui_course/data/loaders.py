"""Train and test DataLoaders for any of the three data sets, and what makes them fast."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.datasets import ImageFolder

from tudui_course import distributed
from tudui_course.data.cifar10 import CIFAR10
from tudui_course.data.folder import read_folder
from tudui_course.data.listing import LAYOUT, class_folders, find_parts, list_pictures
from tudui_course.data.pictograms import Pictograms
from tudui_course.data.picture import open_picture
from tudui_course.distributed import ShareLoader
from tudui_course.errors import InputError
from tudui_course.runtime import data_dir

NAMES = {"pictograms": Pictograms, "cifar10": CIFAR10}


class Batch(Sequence):
    """Pictures and targets of a batch as two tensors, which any DataLoader takes for a list of (picture, target).

    Attributes:
        images: (N, 3, 32, 32), float32.
        targets: (N,), int64.
    """

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.targets[index])


def collate(batch: Sequence) -> tuple[Tensor, Tensor]:
    """A DataLoader's collate_fn: a `Batch` is complete already, anything else is left to torch."""
    return (batch.images, batch.targets) if isinstance(batch, Batch) else default_collate(batch)


class InMemory(Dataset):
    """Pictures kept as one uint8 tensor, gathered a whole batch at a time.

    Reading 64 pictures through PIL and ToTensor takes milliseconds; one gather and one division take a fraction of
    one, and give the same floats, bit for bit.

    Attributes:
        images: (N, 3, 32, 32) uint8.
        targets: (N,) int64.
        classes: class names; a target is an index into them.
        transform: called with each batch of images (N, 3, 32, 32), float32 in [0, 1]; or None.
    """

    def __init__(
        self, images: Tensor, targets: Tensor, classes: list[str], transform: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.images, self.targets, self.classes, self.transform = images, targets, classes, transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One picture, (3, 32, 32) float32 in [0, 1] as ToTensor gives it, transformed, and its class index."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> Batch:
        """All pictures of a batch at once; a DataLoader calls this where a data set has it."""
        index = torch.tensor(indices)
        # images[index] / 255 would take twice as long.
        images = self.images.index_select(0, index).float().div_(255)
        return Batch(self.transform(images) if self.transform else images, self.targets[index])

    def first(self, limit: int) -> "InMemory":
        """The same classes with at most `limit` pictures, drawn evenly over the set (a folder is sorted by class)."""
        return self.mixed(seed=0, limit=limit) if 0 < limit < len(self) else self

    def mixed(self, seed: int, limit: int | None = None) -> "InMemory":
        """The same pictures (at most `limit` of them) in a random order that the seed decides."""
        index = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:limit]
        return InMemory(self.images[index], self.targets[index], self.classes, self.transform)

    def split(self, count: int, seed: int = 0) -> tuple["InMemory", "InMemory"]:
        """Hold back `count` pictures, from each class in proportion to its size; the seed decides which.

        Returns:
            The other pictures and those kept back, each in their original order. Every class has a picture among the
            others; also among those kept back, if `count` is at least the number of classes and the class has two.

        Raises:
            InputError: `count` is below 1, or leaves a class without a picture to train on.
        """
        sizes = self.targets.bincount(minlength=len(self.classes))
        most = len(self) - int((sizes > 0).sum())
        if not 1 <= count <= most:
            raise InputError(
                f"{count} of {len(self)} pictures can't be kept back: give 1 to {most}, so that each class keeps one."
            )
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        order = order[self.targets[order].argsort(stable=True)]  # class by class, in a random order within each
        rank = torch.cat([torch.arange(size) for size in sizes])  # 0 is a class's first
        size = sizes.repeat_interleave(sizes)
        share = torch.where(rank == size - 1, torch.inf, rank / size)  # a class's last one stays
        kept = torch.zeros(len(self), dtype=torch.bool)
        kept[order[share.argsort(stable=True)[:count]]] = True
        return tuple(
            InMemory(self.images[part], self.targets[part], self.classes, self.transform) for part in (~kept, kept)
        )

    def transformed(self, transform: Callable[[Tensor], Tensor] | None) -> "InMemory":
        """The same pictures, sharing memory, with `transform` applied to each batch."""
        return InMemory(self.images, self.targets, self.classes, transform)


def read_data(data: str, *, limit: int = 0, keep_back: int = 0, seed: int = 0) -> tuple[InMemory, InMemory]:
    """Read a train and a test set into memory.

    Args:
        data: "pictograms" (drawn on first use), "cifar10", or a folder with train/<class>/* and test/<class>/*.
        limit: at most this many pictures of each set; 0 for all.
        keep_back: how many pictures of a folder without a test set become one, as `InMemory.split` picks them; it
            changes nothing if there is a test set (see `has_test_set`).
        seed: decides which.

    Raises:
        InputError: neither a known name nor a folder, or a folder that can't be used.
        DownloadError: CIFAR-10 isn't there.
        StorageError: what was drawn can't be written.
    """
    if data in NAMES:
        train, test = (
            from_cifar10(NAMES[data](data_dir(), train=train, download=data == "pictograms")) for train in (True, False)
        )
    elif is_folder(data):
        train, *test = (InMemory(*part) for part in read_folder(Path(data).expanduser(), without_test=keep_back > 0))
        train, test = (train, *test) if test else train.split(keep_back, seed)
    else:
        raise InputError(
            f"data {data!r} is neither a known data set ({', '.join(NAMES)}) nor a folder; "
            "give one of these names, or a folder that holds train/<class>/* and test/<class>/*."
        )
    return train.first(limit), test.first(limit)


def is_folder(data: str) -> bool:
    """Whether data is a folder, rather than the name of a data set or nothing at all."""
    return bool(data) and data not in NAMES and Path(data).expanduser().is_dir()


def has_test_set(data: str) -> bool:
    """Whether data have test pictures of their own; a folder of class folders, or with train/ alone, has none."""
    return not is_folder(data) or "test" in find_parts(Path(data).expanduser())


def fingerprint(*sets: InMemory) -> str:
    """A digest of all pictures, targets and class names of these data sets: 64 hexadecimal digits, the same everywhere.

    Transforms don't count. 60,000 pictures take 0.1 s on a CPU with instructions for SHA-256.
    """
    digest = hashlib.sha256()
    for one in sets:
        digest.update(json.dumps([one.classes, one.images.shape]).encode())
        for tensor in (one.images, one.targets):
            digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def open_dataset(data: str, train: bool, transform=None) -> Dataset:
    """Open one set as torchvision has it: one PIL picture at a time, through `transform`, as the lesson reads it.

    Args:
        data: "pictograms", "cifar10" or a folder, as for `read_data`.
        train: the training set if True, else the test set.
        transform: called with each PIL picture; ToTensor() turns it into (3, 32, 32) float32 in [0, 1].
    """
    if data in NAMES:
        return NAMES[data](data_dir(), train=train, transform=transform, download=True)
    folder, part = Path(data).expanduser(), "train" if train else "test"
    parts = find_parts(folder)
    if part not in parts:
        raise InputError(f"{folder / part} is missing: {LAYOUT}.")
    return PictureFolder(parts[part], transform=transform, loader=open_picture)


class PictureFolder(ImageFolder):
    """torchvision's ImageFolder of what counts here: no hidden files and folders, and all endings that can be read."""

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Class names, and the index of each."""
        classes = [folder.name for folder in class_folders(Path(directory))]
        return classes, {name: index for index, name in enumerate(classes)}

    @staticmethod
    def make_dataset(directory: str, *_: object, **__: object) -> list[tuple[str, int]]:
        """(path, class index) of each picture."""
        return list_pictures(Path(directory)).samples


def from_cifar10(dataset: CIFAR10 | Pictograms) -> InMemory:
    """Put a torchvision CIFAR10, or a data set like it, into memory; its transform is ignored."""
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return InMemory(images, torch.tensor(dataset.targets), dataset.classes)


def make_loaders(
    train: Dataset,
    test: Dataset,
    batch_size: int = 64,
    *,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    **options,
) -> tuple[DataLoader, DataLoader]:
    """Make the two ordinary DataLoaders of a run.

    Args:
        train: the training set; shuffled anew each epoch, from a generator of its own.
        test: the test set, never shuffled.
        batch_size: pictures per batch.
        seed: decides the order of the training pictures.
        shuffle: False to go through the training set in its own order.
        drop_last: leave out a training epoch's last batch if it is smaller; no test picture is ever left out.
        **options: further DataLoader arguments, for both: num_workers, pin_memory ...
    """
    generator = torch.Generator().manual_seed(seed)
    options = {"collate_fn": collate, **options}
    make = ShareLoader if distributed.count() > 1 else DataLoader
    train_loader = make(train, batch_size, shuffle=shuffle, drop_last=drop_last, generator=generator, **options)
    return train_loader, make(test, batch_size, **options)


def load_data(data: str = "pictograms", batch_size: int = 64, *, seed: int = 0, limit: int = 0, **options):
    """Return the train and test DataLoaders of "pictograms", "cifar10" or a folder: `make_loaders(*read_data(...))`."""
    return make_loaders(*read_data(data, limit=limit), batch_size, seed=seed, **options)
