"""How much memory the graphs behind losses hold: the tensors that they keep for their backward passes."""

import weakref
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """Measures, in MB of 2**20 bytes, what the graphs recorded in a `with` block keep, as long as they keep it::

        with SavedTensors(model) as saved:
            loss = loss_fn(model(images), targets)
        saved.megabytes()  # 20.0; after `del loss` 0.0

    The process's own memory says less: it depends on the allocator. This figure depends on shapes alone. The model's
    weights don't count, for they are there anyway.

    Attributes:
        history: what `watch` has seen, in MB.
    """

    def __init__(self, model: nn.Module) -> None:
        self.history: list[float] = []
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        self._alive: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        super().__init__(self._keep, lambda kept: kept)

    def __enter__(self) -> "SavedTensors":
        super().__enter__()
        return self

    def megabytes(self) -> float:
        """What is kept now; memory that two tensors share counts once."""
        storages = (kept.untyped_storage() for kept in self._alive.values())
        sizes = {storage.data_ptr(): storage.nbytes() for storage in storages}
        return sum(size for place, size in sizes.items() if place not in self._weights) / 2**20

    def watch(self, batches: Iterable) -> Iterator:
        """Give the batches one by one, and note in `history` what is kept after each."""
        for batch in batches:
            yield batch
            self.history.append(self.megabytes())

    def _keep(self, tensor: Tensor) -> Tensor:
        kept = tensor.detach()  # the same memory, but no graph: else it would keep itself alive
        self._alive[id(kept)] = kept
        return kept
