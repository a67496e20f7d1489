"""The tiny hybrid network as a loaded model, to stand in for the experiment's where commands are tested."""

import torch
from tiny_hybrid import TinyHybrid
from torchvision.transforms import Compose, ToTensor

from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.loading import LoadedModel


def small_network() -> LoadedModel:
    """TinyHybrid with random weights, for images of 16 x 16 pixels."""
    torch.manual_seed(0)
    return LoadedModel(TracedModel.from_module(TinyHybrid().eval(), torch.zeros(2, 3, 16, 16)), Compose([ToTensor()]))
