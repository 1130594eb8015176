"""Exercises of 02_model_shape_test: sizes, parameters, a network for larger pictures, what a shape test notices."""

import torch
from torch import nn

from tudui_course.checks.judges import judge_function, judge_model, judge_prediction
from tudui_course.checks.table import exercise
from tudui_course.model import Tudui

# size, kernel, stride, padding
CONVOLUTIONS = ((32, 5, 1, 2), (32, 5, 1, 0), (32, 5, 2, 2), (224, 7, 2, 3), (9, 2, 3, 1), (16, 2, 2, 0))
CHANNELS = ((3, 32, 5), (32, 32, 5), (32, 64, 5), (1, 7, 3), (6, 1, 1))


def conv_size(size, kernel, stride, padding):
    layer = nn.Conv2d(1, 1, kernel, stride, padding, device="meta")  # meta: shapes without numbers
    return layer(torch.empty((1, 1, size, size), device="meta")).shape[-1]


def conv_parameters(in_channels, out_channels, kernel):
    layer = nn.Conv2d(in_channels, out_channels, kernel, device="meta")
    return sum(weights.numel() for weights in layer.parameters())


def large():
    blocks = [(nn.Conv2d(*channels, 5, padding=2), nn.MaxPool2d(2)) for channels in ((3, 32), (32, 32), (32, 64))]
    layers = [layer for block in blocks for layer in block]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 64), nn.Linear(64, 10))


def tests_of_narrower_padding():
    """What the notebook's three tests say of its network with padding 1 in the first convolution."""
    layers = Tudui().to("meta").model1
    layers[0] = nn.Conv2d(3, 32, 5, 1, 1, device="meta")
    passed = {"parameters": sum(weights.numel() for weights in layers.parameters()) == 145_578}
    for count, name in ((1, "shape, 1 picture"), (64, "shape, 64 pictures")):
        try:
            passed[name] = layers(torch.empty((count, 3, 32, 32), device="meta")).shape == (count, 10)
        except RuntimeError:
            passed[name] = False
    return {name: "passes" if one else "fails" for name, one in passed.items()}


q1 = exercise("02.1", judge_function(conv_size, CONVOLUTIONS))
q2 = exercise("02.2", judge_function(conv_parameters, CHANNELS))
q3 = exercise("02.3", judge_model(large, shape=(3, 64, 64)))
q4 = exercise("02.4", judge_prediction(tests_of_narrower_padding(), options=("passes", "fails")))
