"""A hybrid network of one's own, registered in timm as the models file asks for, that is exported in a second."""

from copy import deepcopy
from typing import Any

import qhyvit.models  # noqa: F401  # before timm, which needs a torchvision that fits PyTorch

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model  # isort: skip
from torch import Tensor, nn

default_cfgs = generate_default_cfgs({"tiny_hybrid": {"input_size": (3, 64, 64), "num_classes": 2, "classifier": "head"}})


class TinyHybrid(nn.Module):
    """A map that becomes tokens, one bridge block, with a depthwise convolution before it and an attention behind it."""

    def __init__(self, num_classes: int = 2, in_chans: int = 3) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.stem, self.norm_of_map = nn.Conv2d(in_chans, 4, 4, stride=4), nn.BatchNorm2d(4)
        self.depthwise, self.expand = nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 8, 1)
        self.norm, self.queries, self.values = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.expand(self.depthwise(self.norm_of_map(self.stem(images)).relu()))
        tokens = features.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        queries = self.queries(normed)
        attention = (queries @ queries.transpose(1, 2)).softmax(-1)
        return self.head((tokens + attention @ self.values(normed)).mean(1))


def with_buffers(network: nn.Module) -> nn.Module:
    """Return a copy whose convolutions and linear layers have buffers in place of parameters."""
    copy = deepcopy(network)
    for layer in copy.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            for name, value in list(layer.named_parameters()):
                delattr(layer, name)
                layer.register_buffer(name, value.detach())
    return copy


@register_model
def tiny_hybrid(pretrained: bool = False, **arguments: Any) -> nn.Module:
    return build_model_with_cfg(TinyHybrid, "tiny_hybrid", pretrained, **arguments)
