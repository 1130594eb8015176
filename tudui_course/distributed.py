"""Several processes, started by torchrun: each trains on its share of every batch, and all stay equal.

`torchrun --nproc-per-node=2 -m tudui_course train` runs the same program twice. Here is what the two tell each other:
their gradients' weighted mean, the sums that make loss and accuracy, and whether to stop. In a single process each of
these functions returns what it was given.
"""

import contextlib
import functools
import io
import os
import platform
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.nn  # imported once there is a group, it would hold it, and its threads, to the very end
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from tudui_course.errors import InputError, LostError


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that prints, logs and saves."""
    return rank() == 0


def own_device(device: torch.device) -> torch.device:
    """Of several accelerators like this one, that of this process: the first for the first on this machine ...

    (Not tried: no machine with several was at hand.)
    """
    if count() == 1 or device.type == "cpu":
        return device
    return torch.device(device.type, int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count())


def job() -> str:
    """What torchrun calls this training, the same after it has started the program anew; "" without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    return f"torchrun's process {os.getppid()}" if name == "none" else name


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the other processes if torchrun started this one; only the first prints to stdout.

    Raises:
        LostError: the others didn't come in time, the port is taken, or one was lost later.
        InputError: TUDUI_TIMEOUT is no number.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    seconds = timeout()
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=meet(seconds), rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]),
            timeout=timedelta(seconds=seconds),
        )  # fmt: skip
    except (RuntimeError, TimeoutError) as error:
        if "EADDRINUSE" in str(error):
            raise LostError(
                f"another program on {platform.node()} listens on port {os.environ['MASTER_PORT']}: give torchrun "
                "another --master-port, or --standalone, with which it looks for a free one."
            ) from None
        raise LostError(
            f"{where()} didn't meet the others within {seconds:g} s at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']}: see that torchrun runs on every machine with the same --nnodes and "
            "--rdzv-endpoint, and that no firewall is between them."
        ) from None
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]) % torch.accelerator.device_count())
    try:
        with contextlib.nullcontext() if is_first() else contextlib.redirect_stdout(io.StringIO()):
            yield
    except RuntimeError as error:
        # gloo, the CPU's backend, has no class of its own for a process that is gone
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        raise LostError(
            f"{where()} lost another process; what was saved before is intact. torchrun --max-restarts=3 starts anew "
            "by itself, --resume by hand."
        ) from None
    finally:
        dist.destroy_process_group()


def timeout() -> float:
    """How many seconds one process waits for another."""
    text = os.environ.get("TUDUI_TIMEOUT", "600")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise InputError(f"TUDUI_TIMEOUT is {text!r}, but it must be a number of seconds above 0: TUDUI_TIMEOUT=600.")
    return seconds


def where() -> str:
    """This process as a message names it: process 1 of 2 on HOST."""
    return f"process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} on {platform.node()}"


def meet(seconds: float) -> dist.Store:
    """A part of torchrun's store that is the same in all processes, and that no earlier attempt has written to.

    torchrun keeps one store over all its restarts; torch would look there for the others' addresses and find those of
    processes that are gone. So each process leaves a mark of its own, and the first confirms those of this attempt.

    Raises:
        TimeoutError: some process hasn't come.
    """
    store, mark, deadline = agent_store(), uuid.uuid4().hex, time.monotonic() + seconds
    number, names = int(os.environ["RANK"]), [f"tudui/mark/{one}" for one in range(int(os.environ["WORLD_SIZE"]))]
    store.set(names[number], mark)
    while time.monotonic() < deadline:
        if number == 0 and store.check(names):
            marks = [store.get(name).decode() for name in names]
            store.set("tudui/marks", " ".join(marks))
            if store.check([f"tudui/seen/{mark}/{one}" for one in marks[1:]]):
                return dist.PrefixStore(mark, store)
        elif number and store.check(["tudui/marks"]):
            marks = store.get("tudui/marks").decode().split()
            if mark in marks:
                store.set(f"tudui/seen/{marks[0]}/{mark}", "")
                return dist.PrefixStore(marks[0], store)
        time.sleep(0.02)
    raise TimeoutError


def summed(values: Tensor) -> Tensor:
    """The sum of all processes' tensors, in every process; shape and dtype must be the same in all."""
    if count() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def shared(make: Callable[[], object]) -> object:
    """What `make` returns in the first process, the only one that calls it, in every process."""
    box = [make() if is_first() else None]
    if count() > 1:
        dist.broadcast_object_list(box)
    return box[0]


def largest(number: int) -> int:
    """The largest of all processes' numbers, in every process."""
    if count() == 1:
        return number
    box = torch.tensor(number)
    dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def read_once(read: Callable[[], list]) -> list:
    """Have one process of each machine call `read`; all of that machine share its memory.

    `read` returns tensors and plain values; all processes get the same, the tensors in the same pages of memory.
    """
    if count() == 1:
        return read()
    first_here = int(os.environ["LOCAL_RANK"]) == 0
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory()) if first_here else None
        if first_here:
            torch.save(read(), Path(folder, "data.pt"))
        machine = os.environ["GROUP_RANK"]
        folders = dict(one for one in everybody((machine, folder)) if one[1])
        data = torch.load(Path(folders[machine], "data.pt"), mmap=True, weights_only=True)
        dist.barrier()  # all have it open before its name is removed; what is mapped stays
    return data


def everybody(value: object) -> list:
    """The values of all processes, by rank."""
    values = [None] * count()
    dist.all_gather_object(values, value)
    return values


def refuse_differences(data: str) -> None:
    """Raise InputError, naming the machines, unless all processes have the same fingerprint of the pictures."""
    if count() == 1:
        return
    found = everybody((data, platform.node()))
    hosts = {one: sorted({host for other, host in found if other == one}) for one, _ in found}
    if len(hosts) > 1:
        sides = " and others on ".join(", ".join(names) for names in hosts.values())
        raise InputError(f"the pictures on {sides} differ; copy the same ones to every machine.")


class ShareLoader(DataLoader):
    """A DataLoader that goes through the same batches in every process, and yields this one's share of each.

    Every process gathers and augments the whole batch, which takes a hundredth of a step: so all draw the same random
    numbers, in the order in which a single process would, and any number of processes sees the same pictures.

    Attributes:
        weight: this process's part of the batch yielded last, 0 to 1; the parts of all add up to 1.
    """

    weight = 1.0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, targets in super().__iter__():
            share, its_targets = (one.tensor_split(count())[rank()] for one in (images, targets))
            self.weight = len(its_targets) / len(targets)
            yield share, its_targets


def wrap(model: nn.Module, loader: DataLoader) -> nn.Module:
    """Have the processes' gradients added up during backward, each weighted by its share of the loader's batch.

    The sum is the gradient of the whole batch's mean loss, whatever the shares. BatchNorm normalizes each share by
    itself, as DistributedDataParallel does by default; its running statistics are those of the first process.
    """
    if count() == 1:
        return model
    device = next(model.parameters()).device
    wrapped = DistributedDataParallel(model, device_ids=None if device.type == "cpu" else [device.index])
    wrapped.register_comm_hook(loader, add_weighted)
    return wrapped


def add_weighted(loader: ShareLoader, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DistributedDataParallel's hook: the sum over all processes of weight times gradient."""
    gradients = bucket.buffer()
    if loader.weight:
        gradients.mul_(loader.weight)
    else:
        gradients.zero_()  # the mean loss of no picture is NaN
    dist.all_reduce(gradients)  # not asynchronously: Python would be called back in a thread of the backend
    done = torch.futures.Future()
    done.set_result(gradients)
    return done


def same_random_state() -> None:
    """Give every process the first one's random state on the CPU.

    Where shares differ in size, Dropout has drawn more numbers in one than in the other; a resumed run starts from the
    first one's.
    """
    if count() > 1:
        state = torch.get_rng_state()
        dist.broadcast(state, 0)
        torch.set_rng_state(state)


@functools.cache
def agent_store() -> dist.TCPStore:
    """The store that torchrun keeps for as long as it lives, or, where it keeps none, the first process."""
    serves = os.environ["RANK"] == "0" and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    address, port, limit = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timedelta(seconds=timeout())
    return dist.TCPStore(address, port, is_master=serves, timeout=limit, wait_for_workers=False)
