"""Exercises of 02_model_shape_test: sizes after a layer, parameters of a layer, a network for larger pictures."""

import torch
from torch import nn

from tudui_course.checks.judges import judge_function, judge_model
from tudui_course.checks.table import exercise

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


q1 = exercise("02.1", judge_function(conv_size, CONVOLUTIONS))
q2 = exercise("02.2", judge_function(conv_parameters, CHANNELS))
q3 = exercise("02.3", judge_model(large, shape=(3, 64, 64)))
