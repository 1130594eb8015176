"""The course's network, `Tudui`, and its sibling with BatchNorm, ReLU and Dropout."""

import torch
from torch import Tensor, nn

IMAGE_SHAPE = (3, 32, 32)


def check_images(images: Tensor) -> None:
    """Raise ValueError with the way out unless images are (N, 3, 32, 32)."""
    shape = tuple(images.shape)
    if len(shape) == 4 and shape[1:] == IMAGE_SHAPE:
        return
    if len(shape) == 3 and shape[0] == 3:
        reason, steps, size = "the batch dimension is missing", ["images.unsqueeze(0)"], shape[1:]
    elif len(shape) == 3 and shape[2] == 3:
        reason, size = "channels come last and the batch dimension is missing", shape[:2]
        steps = ["images.permute(2, 0, 1).unsqueeze(0)"]
    elif len(shape) == 4 and shape[3] == 3:
        reason, steps, size = "channels come last (NHWC)", ["images.permute(0, 3, 1, 2)"], shape[1:3]
    elif len(shape) == 4 and shape[1] == 1:
        reason, steps, size = "the pictures are grey", ["images.expand(-1, 3, -1, -1)"], shape[2:]
    elif len(shape) == 4 and shape[1] == 4:
        reason, steps, size = "the pictures have an alpha channel", ["images[:, :3]"], shape[2:]
    elif len(shape) == 4 and shape[1] == 3:
        reason, steps, size = "resize them", [], shape[2:]
    elif len(shape) == 3 and shape[1:] in {(28, 28), (32, 32)}:
        reason, size = "these look like grey pictures without a channel dimension", shape[1:]
        steps = ["images.unsqueeze(1).expand(-1, 3, -1, -1)"]
    else:
        reason, steps, size = "give a batch of 32x32 RGB pictures", ["torch.ones((64, 3, 32, 32)) is one"], (32, 32)
    if size != (32, 32):
        steps.append('nn.functional.interpolate(images, size=(32, 32), mode="bilinear")')
    raise ValueError(f"images have shape {shape}, expected (N, 3, 32, 32): {reason}: {', then '.join(steps)}.")


class Tudui(nn.Module):
    """The network of XiaoTudui's lesson: layers and attribute name as there, so its state_dict loads here.

    Source: the "CIFAR 10 quick" model; the lesson leaves out the activations between its layers.

    145,578 parameters.

    Args:
        num_classes: logits per picture; 10 in the lesson.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.model1 = nn.Sequential(
            nn.Conv2d(3, 32, 5, 1, 2),  # in_channels, out_channels, kernel_size, stride, padding
            nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, 1, 2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.Linear(64, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32), float in [0, 1], to logits (N, num_classes).

        Raises:
            ValueError: another shape came; the message says how to turn it into this one.
        """
        check_images(images)
        return self.model1(images)


class TuduiNorm(nn.Module):
    """`Tudui` with BatchNorm and ReLU after each convolution and Dropout before the last layers.

    BatchNorm and Dropout are the layers that `train()` and `eval()` switch; `Tudui` has neither.
    Same input and output.

    Args:
        num_classes: logits per picture.
        dropout: share of the 1,024 features that training zeroes at random.
    """

    def __init__(self, num_classes: int = 10, dropout: float = 0.3) -> None:
        super().__init__()
        self.model1 = nn.Sequential(
            *_block(3, 32),
            *_block(32, 32),
            *_block(32, 64),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(64 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 3, 32, 32), float in [0, 1], to logits (N, num_classes). Raises ValueError as `Tudui` does."""
        check_images(images)
        return self.model1(images)


def _block(in_channels: int, out_channels: int) -> list[nn.Module]:
    # BatchNorm subtracts the mean, so a bias before it would have no effect.
    return [
        nn.Conv2d(in_channels, out_channels, 5, 1, 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


class Views(nn.Module):
    """A trained network that looks at each picture in several ways and takes the mean: test-time augmentation.

    It takes as many times as long; what it gains on photographs is in docs/recipes.md.

    Args:
        model: maps images (N, 3, 32, 32) to logits (N, num_classes).
        count: 2 for the picture and its mirror image, 6 for both of them at three places: as they are, and moved by a
            pixel up left and down right.

    Raises:
        ValueError: another count.
    """

    def __init__(self, model: nn.Module, count: int = 2) -> None:
        super().__init__()
        if count not in (2, 6):
            raise ValueError(f"count is {count}, but a picture can be looked at in 2 or in 6 ways.")
        self.model, self.count = model, count

    def forward(self, images: Tensor) -> Tensor:
        """The mean of the model's logits (N, num_classes) over all views of images (N, 3, 32, 32)."""
        if self.count == 6:
            padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
            images = torch.cat((images, padded[..., :-2, :-2], padded[..., 2:, 2:]))
        logits = self.model(torch.cat((images, images.flip(3))))
        return logits.unflatten(0, (self.count, -1)).mean(0)


MOST_CLASSES = 10_000  # more are taken for damage; the last layer alone would have 640,000 weights
MODELS = {model.__name__: model for model in (Tudui, TuduiNorm)}
