"""ATen operators of a traced graph, grouped by what they compute."""

import operator
from typing import Literal

import torch

aten = torch.ops.aten

SITE_KINDS: dict[object, Literal["conv", "linear", "matmul"]] = {
    aten.conv2d.default: "conv",
    aten.linear.default: "linear",
    aten.matmul.default: "matmul",
    aten.bmm.default: "matmul",
}
MATMULS = {aten.matmul.default, aten.bmm.default}
CONVOLUTIONS = {aten.conv2d.default, aten.conv2d.padding}
FOLDABLE = {aten.conv2d.default, aten.linear.default}  # a BatchNorm that follows is a change of their weights and biases

NORMS = {
    aten.batch_norm.default: "batch_norm",
    aten.layer_norm.default: "layer_norm",
    aten.group_norm.default: "group_norm",
}
ACTIVATIONS = {
    aten.gelu.default,
    aten.hardsigmoid.default,
    aten.hardswish.default,
    aten.hardtanh.default,
    aten.relu.default,
    aten.relu6.default,
    aten.sigmoid.default,
    aten.silu.default,
    aten.tanh.default,
}
SOFTMAX = aten.softmax.int
ADD = aten.add.Tensor

REDUCTIONS = {aten.mean.dim, aten.sum.dim_IntList, aten.amax.default, aten.amin.default}
COPYING_MOVES = {  # move data as views do, to new memory
    aten.flip.default,
    aten.im2col.default,
    aten.index.Tensor,
    aten.index_select.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.repeat.default,
    aten.repeat_interleave.self_int,
    aten.roll.default,
}
STRIDED_VIEWS = {aten.view.default, aten._unsafe_view.default}  # need an input of certain strides
JOINS = {aten.cat.default, aten.pad.default, aten.reshape_as.default, operator.getitem}  # rearrange the elements of several tensors
IDENTITIES_IN_EVAL = {aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.alpha_dropout.default}
