"""Whole models, torch.save(model), as the lesson's scripts leave them: their weights, without running their code.

Whether a file holds the lesson's network is decided by its layers and their order, not by the names its author chose.
"""

import reprlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tudui_course.model import MOST_CLASSES, Tudui
from tudui_course.pickles import Call, ReadStorage, tensor_of


class OtherNetworkError(ValueError):
    """A file describes a network other than the course's; the message says where they differ."""


def weights_of(model: Call, read_storage: ReadStorage) -> dict[str, Tensor]:
    """Compare a model's notes with `Tudui` layer by layer, whatever the names, and read its weights.

    Raises:
        OtherNetworkError: a layer, a setting or a shape differs, or it has something `Tudui` lacks.
    """
    noted = list(layers_of(model, "the network", set()))
    classes = noted[8].state.get("out_features", 10) if len(noted) > 8 else 10
    if type(classes) is not int or not 1 <= classes <= MOST_CLASSES:
        raise OtherNetworkError(f"its last layer has {short(classes)} classes")
    with torch.device("meta"):  # shapes only, no memory
        reference = Tudui(classes)
    weights = {}
    for number, layer in reference.model1.named_children():
        found = noted[int(number)] if int(number) < len(noted) else None
        compare(found, layer, f"layer {number}")
        for name, parameter in layer.named_parameters():
            where, saved = f"the {name} of layer {number}", found.state["_parameters"][name]
            if saved is None:
                raise OtherNetworkError(f"{where} is missing")
            tensor = tensor_of(saved, read_storage)
            if tensor.shape != parameter.shape:
                found_shape, shape = short(tuple(tensor.shape)), tuple(parameter.shape)
                raise OtherNetworkError(f"{where} has the shape {found_shape}, not {shape}")
            weights[f"model1.{number}.{name}"] = tensor.float().clone()  # in memory of its own
    if len(noted) > len(reference.model1):
        raise OtherNetworkError(f"after its last layer it holds a {layer_name(noted[len(reference.model1)])}")
    return weights


def layers_of(module: Call, where: str, seen: set[int]) -> Iterator[Call]:
    """The layers of a module in order, including those in its Sequentials; the module may be of any class."""
    if id(module) in seen:  # nested copies could amount to more layers than can be counted
        raise OtherNetworkError(f"{where} is in it twice, or contains itself")
    seen.add(id(module))
    check_state(module, vars(nn.Sequential()), where)
    for name, part in module.state["_modules"].items():
        if not isinstance(part, Call) or not part.is_object:
            raise ValueError("a part is no object")
        if part.name == "torch.nn.modules.container.Sequential":
            yield from layers_of(part, f"its part {short(name)}", seen)
        else:
            yield part


def compare(noted: Call | None, layer: nn.Module, where: str) -> None:
    """Raise OtherNetworkError unless a layer's notes have its class, its settings and nothing else."""
    wanted = f"a {type(layer).__name__}({', '.join(main_settings(vars(layer)))})"
    if noted is None:
        raise OtherNetworkError(f"{where} is missing, {wanted}")
    same_class = noted.name == f"{type(layer).__module__}.{type(layer).__name__}"
    if not same_class or main_settings(noted.state) != main_settings(vars(layer)):
        raise OtherNetworkError(f"{where} is a {layer_name(noted)}, not {wanted}")
    check_state(noted, vars(layer), where)


def check_state(noted: Call, settings: dict, where: str) -> None:
    """Raise OtherNetworkError if a module's notes have settings other than these, or anything more."""
    for key, value in noted.state.items():
        if key.startswith("_"):
            usual = not key.startswith("__") and not ("hook" in key and value)
        elif key == "training" or key not in settings:
            usual = value is None or type(value) in (bool, int, float, str)
        else:
            usual = one_number(value) == one_number(settings[key])
        if not usual:
            raise OtherNetworkError(f"{where} has {short(key)} {short(value)}, not {settings.get(key)}")
    containers = ("_parameters", "_buffers") if noted.state["_modules"] else ("_parameters", "_buffers", "_modules")
    for kind in containers:
        if type(noted.state[kind]) is not dict:  # a set of anything else could take for ever
            raise ValueError(f"{kind} is no dict")
        if set(noted.state[kind]) != set(settings[kind]):
            raise OtherNetworkError(f"{where} has the {kind[1:]} {short(list(noted.state[kind]))}")


def one_number(value: object) -> object:
    """5 for (5, 5), which means the same to torch; anything else unchanged."""
    twice = type(value) is tuple and len(value) == 2 and type(value[0]) is int and value[0] == value[1]
    return value[0] if twice else value


def main_settings(state: dict) -> list[str]:
    """What identifies a layer: its channels or features, and its kernel."""
    keys = ("in_channels", "out_channels", "in_features", "out_features", "kernel_size")
    return [short(one_number(state[key])) for key in keys if key in state]


def layer_name(noted: Call) -> str:
    """A layer as it would be written: Conv2d(3, 64, 3)."""
    return f"{printable(noted.name.rpartition('.')[2])}({', '.join(main_settings(noted.state))})"


def short(value: object) -> str:
    """What a file holds, safe to print: plain values only, and not too many."""
    return reprlib.repr(value) if isinstance(value, bool | int | float | str | tuple | list | None) else "(an object)"


def printable(text: object, longest: int = 60) -> str:
    """What a file holds, safe to print: no terminal control characters, and not too long."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text)[:longest])
