"""What a run prints, and what evaluating a checkpoint prints."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from tudui_course.metrics import EpochResult
from tudui_course.resume import EpochRecord, Progress, best_epoch
from tudui_course.run_folder import BEST, epoch_name
from tudui_course.runtime import short_path, typed
from tudui_course.settings import Settings


def print_start(
    settings: Settings,
    run_dir: Path,
    *loaders: DataLoader,
    progress: Progress,
    resume: bool = False,
    passed_over: Sequence[str] = (),
) -> None:
    """Say what is about to happen; `passed_over` are sentences about checkpoints that a resumed run can't use."""
    print(f"settings    {settings}")
    train, test, *validation = (len(loader.dataset) for loader in loaders)
    kept_back = f"{validation[0]:,} kept back to choose by, " if validation else ""
    classes = len(loaders[0].dataset.classes)
    print(f"pictures    {train:,} to train, {kept_back}{test:,} to test, {classes} classes")
    print(f"machine     torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    print(f"run folder  {short_path(run_dir)}")
    for sentence in passed_over:
        print(f"passed over {sentence}")
    if resume and not progress.step:
        print("resumed     from its start: the run was stopped before its first checkpoint")
    elif resume:
        print(f"resumed     at step {progress.step:,}, in epoch {progress.epoch + 1}")
    print(flush=True)


def print_epoch(record: EpochRecord, seconds: float) -> None:
    """One finished epoch on one line."""
    validation = f"validation accuracy {record.validation.accuracy:.4f}   " if record.validation else ""
    print(
        f"epoch {record.epoch + 1:2d}   train loss {record.train.loss:.4f}   test loss {record.test.loss:.4f}   "
        f"test accuracy {record.test.accuracy:.4f}   {validation}{seconds:5.1f} s",
        flush=True,
    )


def print_end(run_dir: Path, history: list[EpochRecord], kept_back: int = 0) -> None:
    """The epochs as a table, and where everything is."""
    best, last = best_epoch(history), history[-1]
    place = short_path(run_dir)
    others = " and earlier ones" if len(history) > 1 else ""
    print(f"\n{format_table(history)}\n")
    print(f"test accuracy  {last.test.accuracy:.4f} (best {best.test.accuracy:.4f}, after epoch {best.epoch + 1})")
    if best.validation:
        print(f"chosen by      validation accuracy, {best.validation.accuracy:.4f} after epoch {best.epoch + 1}")
    elif kept_back:
        print("chosen by      the pictures kept back, which are tested on, too: that flatters the best epoch")
    else:
        print("chosen by      test accuracy, which flatters the best epoch; --validation N keeps pictures back for it")
    print(f"checkpoints    {place}/{epoch_name(last.epoch)}{others}, the best in {place}/{BEST}")
    print(f"curves         {typed('python')} -m tensorboard.main --logdir {shlex.quote(place)}")


def format_table(history: list[EpochRecord]) -> str:
    """The finished epochs as a table; the sum over batches is the number that the lesson prints."""
    heading = "epoch   train loss   train accuracy   test loss   (sum of batch means)   test accuracy"
    lines = [heading + ("   validation accuracy" if history[0].validation else "")]
    lines += [
        f"{row.epoch + 1:5d}   {row.train.loss:10.4f}   {row.train.accuracy:14.4f}   {row.test.loss:9.4f}   "
        f"{row.test.batch_loss_sum:20.2f}   {row.test.accuracy:13.4f}"
        + (f"   {row.validation.accuracy:19.4f}" if row.validation else "")
        for row in history
    ]
    return "\n".join(lines)


def how_to_continue(progress: Progress, settings: Settings, run_dir: Path, keep: int) -> str:
    """What a stopped run says: how far it has come, and the command that continues it."""
    if progress.step == 0:
        return "Stopped before the first step; there is nothing to continue."
    kept = f" --keep {keep}" if keep else ""
    return (
        f"Stopped at step {progress.step:,} (epoch {progress.epoch + 1} of {settings.epochs}) and saved. "
        f"Continue with:\n  {typed('tudui')} train --resume --run-dir {shlex.quote(short_path(run_dir))}{kept}"
    )


def print_evaluation(path: Path, data: str, result: EpochResult, confusion: Tensor, classes: list[str]) -> None:
    """Loss and accuracy of a checkpoint, then class by class."""
    print(f"checkpoint      {short_path(path)}\ndata            {data}, {result.count:,} test pictures")
    print(f"test loss       {result.loss:.4f}\ntest accuracy   {result.accuracy:.4f}\n")
    for name, row, share in zip(classes, confusion, confusion.diag() / confusion.sum(1), strict=True):
        print(f"{name:14s}  {share:.4f}  ({int(row.sum())} pictures)")
