"""The exercises of 02_model_shape_test: right, blank, and each typical mistake with its own message."""

import pytest
import torch
from torch import nn

from tudui_course.checks import step_02 as exercises
from tudui_course.checks.base import solved
from tudui_course.model import Tudui


def says(exercise, answer, message, capsys):
    exercise.check(answer)
    out = capsys.readouterr().out
    assert out.startswith(f"✗ {exercise.name}") and message in out
    assert solved() == []


SIZES = [
    (lambda size, kernel, stride, padding: (size + 2 * padding - kernel) // stride, "+1 at the end is missing"),
    (lambda size, kernel, stride, padding: (size - kernel) // stride + 1, "padding isn't counted"),
    (lambda size, kernel, stride, padding: (size + padding - kernel) // stride + 1, "on one side only"),
    (lambda size, kernel, stride, padding: size + 2 * padding - kernel + 1, "isn't divided by the stride"),
    (lambda size, kernel, stride, padding: (size + 2 * padding - kernel + 1) // stride, "+1 comes after"),
    (lambda size, kernel, stride, padding: (size + 2 * padding - kernel) / stride + 1, "whole number: use //"),
    (lambda size, kernel, stride, padding: -(-(size + 2 * padding - kernel) // stride) + 1, "you rounded up"),
    (lambda size, kernel, stride, padding: size, "doesn't always stay"),
    (lambda size, kernel, stride, padding: 7, "you returned 7, expected 32"),
    (lambda size, kernel, stride, padding: "32", "str: '32'"),
    (lambda size, kernel, stride, padding: torch.ones(2), "yours returned Tensor"),
    (lambda size, kernel, stride, padding: size // 0, "ZeroDivisionError"),
    (32, "needs a function, but you gave an int"),
]


@pytest.mark.parametrize("answer, message", SIZES)
def test_size_says_what_is_wrong(answer, message, capsys):
    says(exercises.q1, answer, message, capsys)


PARAMETERS = [
    (lambda inputs, outputs, kernel: inputs * outputs * kernel**2, "biases are missing"),
    (lambda inputs, outputs, kernel: inputs * outputs * kernel**2 + inputs, "not for each input"),
    (lambda inputs, outputs, kernel: inputs * outputs * kernel**2 + 1, "not one for all"),
    (lambda inputs, outputs, kernel: inputs * outputs * kernel + outputs, "kernel is a square"),
    (lambda inputs, outputs, kernel: outputs * kernel**2 + outputs, "kernel for every input channel"),
    (lambda inputs, outputs, kernel: (inputs * kernel**2 + inputs) * outputs, "Too many biases"),
    (lambda inputs, outputs, kernel: inputs * kernel**2 + 1, "one output channel's share"),
    (lambda inputs, outputs, kernel: 2432, "nn.Conv2d(32, 32, 5): you returned 2432, expected 25632"),
    (lambda inputs, outputs, kernel: "many", "str: 'many'"),
    (lambda inputs, outputs, kernel: nn.Conv2d(inputs, outputs, kernel).weight, "yours returned Parameter"),
    (lambda inputs: 3, "TypeError"),
    (2432, "needs a function, but you gave an int"),
]


@pytest.mark.parametrize("answer, message", PARAMETERS)
def test_parameters_say_what_is_wrong(answer, message, capsys):
    says(exercises.q2, answer, message, capsys)


def network(*end, flatten=True):
    layers = [nn.Conv2d(3, 32, 5, 1, 2), nn.MaxPool2d(2), nn.Conv2d(32, 32, 5, 1, 2), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(32, 64, 5, 1, 2), nn.MaxPool2d(2), *([nn.Flatten()] if flatten else [])]
    return nn.Sequential(*layers, *end)


NETWORKS = [
    (lambda: network(nn.Linear(64 * 4 * 4, 64), nn.Linear(64, 10)), "three poolings make 8x8"),
    (lambda: network(nn.Linear(64 * 8 * 8, 64)), "(2, 3, 64, 64) -> (2, 64): expected (2, 10)"),
    (lambda: network(nn.Linear(64 * 8 * 8, 64), nn.Linear(64, 10), flatten=False), "three poolings make 8x8"),
    (lambda: network(nn.Linear(64 * 8 * 8, 64), nn.Linear(64, 10), nn.Softmax(1)), "No Softmax"),
    (lambda: network(nn.Linear(64 * 8 * 8, 10)), "Keep the layers as they were"),
    (lambda: network(nn.Unflatten(1, (1, 4096)), nn.Linear(4096, 64), nn.Linear(64, 10)), "-> (2, 1, 10)"),
    (lambda: Tudui(), "the network raised: images have shape (2, 3, 64, 64)"),
    (lambda: Tudui, "the class Tudui"),
    (lambda: "network", "yours returned str"),
    (lambda: torch.ones(2, 10), "yours returned Tensor"),
    (lambda: nn.Linear("a", "b"), "TypeError"),
    (Tudui(), "the network raised"),
    (3, "needs a function, but you gave an int"),
]


@pytest.mark.parametrize("answer, message", NETWORKS)
def test_network_says_what_is_wrong(answer, message, capsys):
    says(exercises.q3, answer, message, capsys)
