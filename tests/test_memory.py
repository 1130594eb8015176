"""What graphs keep: counted by hand for a small network, and let go when nothing needs it any more."""

import pytest
import torch
from torch import nn

from tudui_course.memory import SavedTensors

MB = 2**20


@pytest.fixture
def parts():
    """A network, and inputs of 1 MB that it squares: its graph keeps the inputs, the hidden layer and no weight."""
    model = nn.Sequential(nn.Linear(256, 512), nn.Tanh(), nn.Linear(512, 1))
    return model, torch.ones(1024, 256)


def test_a_loss_keeps_what_its_layers_need_and_lets_go_with_it(parts):
    model, inputs = parts
    with SavedTensors(model) as saved:
        loss = model(inputs).sum()
    # the first layer keeps its inputs; tanh its result, which is the last layer's input too, and counts once
    assert saved.megabytes() == (inputs.nbytes + 1024 * 512 * 4) / MB
    del loss
    assert saved.megabytes() == 0


def test_backward_lets_go_and_what_is_recorded_outside_does_not_count(parts):
    model, inputs = parts
    with SavedTensors(model) as saved:
        losses = [model(inputs).sum() for _ in range(2)]
    one = saved.megabytes() - 1024 * 512 * 4 / MB  # both share the inputs, and the second has a hidden layer of its own
    losses[0].backward()
    assert saved.megabytes() == one
    losses.append(model(inputs).sum())
    assert saved.megabytes() == one
    losses[1].backward()
    assert saved.megabytes() == 0
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_kept(parts, mode):
    model, inputs = parts
    with SavedTensors(model) as saved, mode():
        outputs = model(inputs)
    assert saved.megabytes() == 0 and len(outputs) == 1024


def test_watch_notes_what_is_kept_after_each_batch(parts):
    model, inputs = parts
    with SavedTensors(model) as saved:
        kept = [model(batch).sum() for batch in saved.watch([inputs] * 3)]
    hidden, shared = 1024 * 512 * 4 / MB, inputs.nbytes / MB
    assert saved.history == [shared + hidden, shared + 2 * hidden, shared + 3 * hidden] and len(kept) == 3
