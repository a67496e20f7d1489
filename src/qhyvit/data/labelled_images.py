"""Labelled images as inputs of a network."""

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from qhyvit.data.entries import Entry, read_checked

Transform = Callable[[Image.Image], Tensor]  # from an image to the input of a network [3, H, W]


class LabelledImages(Dataset[tuple[Tensor, int]]):
    """Transformed images of some entries, with their labels."""

    def __init__(self, entries: list[Entry], transform: Transform) -> None:
        self.entries = entries
        self.transform = transform

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        entry = self.entries[index]
        return self.transform(read_checked(entry)), entry.label
