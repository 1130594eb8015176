"""The data: CIFAR-10, the drawn Pictograms, a folder of pictures; as torchvision has them, or fast in memory."""

from tudui_course.data.cifar10 import CIFAR10
from tudui_course.data.loaders import InMemory, load_data, make_loaders, open_dataset, read_data
from tudui_course.data.pictograms import Pictograms

__all__ = ["CIFAR10", "InMemory", "Pictograms", "load_data", "make_loaders", "open_dataset", "read_data"]
