"""A network that is traced in a second, to stand in for the experiment's model where commands are tested."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.loading import LoadedModel


class Hybrid(nn.Module):
    """A map [B, 8, 4, 4] that becomes tokens [B, 16, 8]: one bridge block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 8, 1)
        self.project, self.head = nn.Linear(8, 6), nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.project(self.conv(self.stem(images).relu()).flatten(2).transpose(1, 2)).mean(1))


def small_network() -> LoadedModel:
    """Hybrid with random weights, for images of 16 x 16 pixels."""
    torch.manual_seed(0)
    return LoadedModel(TracedModel.from_module(Hybrid(), torch.zeros(2, 3, 16, 16)), _to_tensor)


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
