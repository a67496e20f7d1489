"""Networks of the paper, traced once for all tests of a process."""

from functools import cache

import torch
from torch import nn

from qhyvit.config.models import Model
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.zoo import build

SIZE = 128  # pixels per side; the bridge blocks are those of the networks' own sizes


@cache
def traced_network(name: str) -> tuple[nn.Module, TracedModel]:
    """Return a network with random weights and BatchNorms, and its folded graph; tests must leave both as they are."""
    torch.manual_seed(0)
    module = "qhyvit.models.mobile_former" if name.startswith("mobile_former") else None
    model = build(Model(family="", constructor=name, module=module), classes=4, size=SIZE)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(std=0.1)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias, std=0.1)
    return model.eval(), TracedModel.from_module(model, torch.rand(2, 3, SIZE, SIZE))
