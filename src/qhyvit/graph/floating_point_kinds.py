"""Kinds of results that mode full leaves in floating point, in words; `qhyvit.graph.floating_point` finds them in a network."""

from typing import Literal

Kind = Literal["logits", "layer", "product", "sum", "network", "other"]

# FQ-ViT's code (arXiv 2111.13824) rounds the first five.
KINDS: dict[Kind, str] = {
    "logits": "attention logits, between their product and the softmax",
    "layer": "results of layers and products that an addition, a norm or another operator reads",
    "product": "element-wise products, as in MobileViTv2 and Mobile-Former",
    "sum": "sums and means over an axis, and sums of unlike shapes",
    "network": "the output of the network, and all that is computed after its last layer",
    "other": "results of other operators, such as resizing and pooling",
}
