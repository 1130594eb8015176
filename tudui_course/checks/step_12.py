"""Exercises of 12_several_processes: gradients brought together; a share of a batch; set_epoch; exact accuracy."""

import torch
from torch.utils.data import DistributedSampler

from tudui_course.checks.judges import judge_function, judge_prediction
from tudui_course.checks.table import exercise


def combined(sizes, weights):
    """Whether so weighted gradients of shares of these sizes make the gradient of the whole batch's mean loss."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(sum(sizes), 3, generator=generator, dtype=torch.float64)
    weight = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def gradient(part):
        return torch.autograd.grad(((part @ weight - 1) ** 2).mean(), weight)[0]

    parts = [one * gradient(part) for one, part in zip(weights, inputs.split(sizes), strict=True)]
    return "same" if torch.allclose(sum(parts), gradient(inputs)) else "different"


TRUTH = {
    "4 and 4 pictures, plain mean": combined([4, 4], [1 / 2, 1 / 2]),
    "3 and 5 pictures, plain mean": combined([3, 5], [1 / 2, 1 / 2]),
    "3 and 5 pictures, weighted 3/8 and 5/8": combined([3, 5], [3 / 8, 5 / 8]),
}


def share(batch, rank, world):
    return list(torch.tensor(batch).tensor_split(world)[rank].tolist())


def accuracy(correct, count):
    right, wrong = sum(correct), sum(count) - sum(correct)
    return right / (right + wrong)


def seen(count, epochs, rank, world):
    sampler, orders = DistributedSampler(range(count), num_replicas=world, rank=rank, seed=0), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        orders.append((epoch, list(sampler)))
    return orders


SHARES = [(list(range(8)), 1, 2), (list(range(10)), 0, 3), (list(range(10)), 2, 3), ([5, 6], 2, 3)]

q1 = exercise("12.1", judge_prediction(TRUTH, options=("same", "different")))
q2 = exercise("12.2", judge_function(share, SHARES))
q3 = exercise("12.3", judge_function(seen, [(12, 3, 0, 2), (12, 3, 1, 2), (9, 3, 0, 1)]))
q4 = exercise("12.4", judge_function(accuracy, [([3, 1], [4, 4]), ([4, 0], [4, 1]), ([1, 0, 0], [2, 1, 0])]))
