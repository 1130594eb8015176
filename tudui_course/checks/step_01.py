"""Exercises of 01_dataloader: how many batches, which way round a picture lies, a loader that can be repeated."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from tudui_course.checks.judges import call, judge_function, judge_prediction, required
from tudui_course.checks.table import exercise

COUNTS = ((50_000, 64), (10_000, 64), (128, 64), (1000, 48), (63, 64), (65, 64))
SIZE, BATCH = 70, 16  # the last batch is a ragged one of 6


def batches(count, batch_size, drop_last):
    return len(DataLoader(range(count), batch_size, drop_last=drop_last))


def to_picture(image):
    return torch.stack([torch.stack(list(row), dim=-1) for row in zip(*image, strict=True)])


def picture(height, width):
    return torch.rand((3, height, width), generator=torch.Generator().manual_seed(height))


def judge_loader(make_loader):
    dataset = TensorDataset(torch.arange(SIZE).float(), torch.arange(SIZE))
    torch.manual_seed(1)
    loader = required(call(make_loader, dataset, BATCH, 5), DataLoader, "一个 DataLoader", "a DataLoader")
    yield "batch_size", loader.batch_size, BATCH
    first, second = order_of(loader), order_of(loader)
    yield f"{SIZE} 个样本，一轮里不同的 · different samples of {SIZE} in an epoch", len(set(first)), SIZE
    yield "一轮的样本 · samples in an epoch", len(first), SIZE
    yield "顺序没有打乱 · the order isn't shuffled", first == list(range(SIZE)), False
    torch.manual_seed(2)
    torch.rand(3)  # whatever else a program draws from the global generator
    again, other = order_of(make_loader(dataset, BATCH, 5)), order_of(make_loader(dataset, BATCH, 6))
    yield "同一个 seed 给出不同的顺序 · the same seed gave two orders", again != first, False
    yield "两个 seed 的顺序一样 · two seeds gave the same order", other == again, False
    yield "第二轮和第一轮的顺序一样 · the second epoch had the order of the first", second == first, False
    torch.manual_seed(3)
    make_loader(dataset, BATCH, 5)
    touched = torch.initial_seed() != 3 or torch.rand(1) != torch.rand(1, generator=torch.Generator().manual_seed(3))
    yield "全局随机数被动了 · the global random numbers were touched", bool(touched), False


def order_of(loader):
    """The samples of one epoch, by number."""
    return [int(target) for _, targets in loader for target in targets]


q1 = exercise("01.1", judge_function(batches, [(*case, drop) for case in COUNTS for drop in (False, True)]))
q2 = exercise("01.2", judge_function(to_picture, [(picture(32, 32),), (picture(4, 6),)]), within=0)
q3 = exercise("01.3", judge_loader)
q4 = exercise("01.4", judge_prediction(0.1, options=(1.0, 0.7, 0.4, 0.1)))
