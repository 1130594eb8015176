import pytest
import torch
from torch import nn

from tudui_course.model import Tudui, TuduiNorm, Views


class SeedTudui(nn.Module):
    """The class as the lesson's section 3 writes it."""

    def __init__(self):
        super().__init__()
        self.model1 = nn.Sequential(
            nn.Conv2d(3, 32, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.Linear(64, 10),
        )

    def forward(self, x):
        x = self.model1(x)
        return x


def test_number_of_parameters():
    assert sum(parameter.numel() for parameter in Tudui().parameters()) == 145_578


@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
def test_the_lessons_shape_test(network):
    assert network()(torch.ones((64, 3, 32, 32))).shape == (64, 10)


@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
def test_number_of_classes_can_be_chosen(network):
    assert network(3)(torch.ones((2, 3, 32, 32))).shape == (2, 3)


def test_weights_of_the_lessons_class_load_strictly_and_give_the_same_logits():
    torch.manual_seed(0)
    seed, ours = SeedTudui(), Tudui()
    images = torch.rand(5, 3, 32, 32)
    assert not torch.equal(ours(images), seed(images))
    ours.load_state_dict(seed.state_dict(), strict=True)
    assert torch.equal(ours(images), seed(images))


def test_same_seed_gives_the_lessons_initial_weights():
    torch.manual_seed(0)
    seed = SeedTudui().state_dict()
    torch.manual_seed(0)
    ours = Tudui().state_dict()
    assert list(ours) == list(seed)
    assert all(torch.equal(ours[name], seed[name]) for name in seed)


def test_only_tudui_norm_has_layers_that_train_and_eval_switch():
    switched = (nn.BatchNorm2d, nn.Dropout)
    assert not any(isinstance(layer, switched) for layer in Tudui().modules())
    assert {type(layer) for layer in TuduiNorm().modules() if isinstance(layer, switched)} == set(switched)


@pytest.mark.parametrize(
    "shape",
    [
        (3, 32, 32),
        (3, 28, 28),
        (3, 480, 640),
        (32, 32, 3),
        (480, 640, 3),
        (8, 32, 32, 3),
        (8, 64, 48, 3),
        (8, 1, 28, 28),
        (8, 1, 32, 32),
        (8, 4, 32, 32),
        (8, 4, 64, 64),
        (8, 3, 64, 64),
        (8, 3, 31, 32),
        (8, 28, 28),
        (8, 32, 32),
    ],
)
@pytest.mark.parametrize("network", [Tudui, TuduiNorm])
def test_wrong_shape_is_named_and_the_remedy_works_as_written(network, shape):
    images = torch.rand(shape)
    with pytest.raises(ValueError, match="expected") as raised:
        network()(images)
    message = str(raised.value)
    assert f"images have shape {shape}, expected (N, 3, 32, 32)" in message
    for expression in message.rsplit(": ", 1)[1].removesuffix(".").split(", then "):
        images = eval(expression, {"images": images, "nn": nn})
    assert network()(images).shape == (len(images), 10)
    assert len(images) == (1 if 3 in (shape[0], shape[-1]) and len(shape) == 3 else 8)


@pytest.mark.parametrize("shape", [(8, 3072), (3072,), (), (8, 2, 32, 32), (8, 3, 32), (1, 8, 3, 32, 32)])
def test_shape_without_a_sure_remedy_is_named_beside_an_example(shape):
    with pytest.raises(ValueError, match="is one") as raised:
        Tudui()(torch.zeros(shape))
    assert f"images have shape {shape}, expected (N, 3, 32, 32)" in str(raised.value)
    example = str(raised.value).rsplit(": ", 1)[1].removesuffix(" is one.")
    assert Tudui()(eval(example)).shape == (64, 10)


def test_remedies_keep_the_pictures_content():
    images = torch.rand(2, 3, 32, 32)
    with pytest.raises(ValueError, match="channels come last") as raised:
        Tudui()(images.permute(0, 2, 3, 1))
    expression = str(raised.value).rsplit(": ", 1)[1].removesuffix(".")
    assert torch.equal(eval(expression, {"images": images.permute(0, 2, 3, 1)}), images)


def test_another_number_of_views_is_told():
    with pytest.raises(ValueError, match="count is 3, but a picture can be looked at in 2 or in 6 ways"):
        Views(Tudui(), 3)
