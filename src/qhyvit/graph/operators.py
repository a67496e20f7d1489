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
CONVOLUTIONS_1D = {aten.conv1d.default, aten.conv1d.padding}  # rewritten in two dimensions
LAYERS = {*CONVOLUTIONS, *CONVOLUTIONS_1D, aten.linear.default}
CHANNEL_AXIS_FROM_END: dict[object, int] = {
    aten.conv2d.default: 3,
    aten.linear.default: 1,
}  # of layers into which a BatchNorm that follows is folded

_REASONS = {  # why products by these operators, in all overloads, are no sites
    "only convolutions in one and two dimensions are quantized": "conv3d conv_tbc",
    "transposed convolutions are not quantized": "conv_transpose1d conv_transpose2d conv_transpose3d",
    "its weight or bias is computed from the input": "conv1d conv2d linear",
    "only torch.nn.functional.conv2d is quantized": "convolution _convolution",
    "only torch.matmul, torch.bmm, and einsum of two real matrices per image are quantized": (
        "matmul bmm addbmm addmm addmv addr chain_matmul dot einsum ger inner kron linalg_matmul linalg_matrix_power linalg_multi_dot"
        " linalg_vecdot matrix_power mm mv outer tensordot vdot _grouped_mm"
    ),
    "bilinear layers are not quantized": "bilinear",
    "distances between vectors are not quantized": "cdist pdist",
    "recurrent layers are not quantized": "lstm lstm_cell gru gru_cell rnn_tanh rnn_tanh_cell rnn_relu rnn_relu_cell",
}
UNQUANTIZED_PRODUCTS = {getattr(aten, name): reason for reason, names in _REASONS.items() for name in names.split()}

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
SCALINGS = {aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar}

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
SHAPE_READERS: dict[object, int] = {  # number of leading arguments whose values they read; of the others they read the shape
    aten.sym_size.int: 0,
    aten.expand_as.default: 1,
    aten.reshape_as.default: 1,
    aten.view_as.default: 1,
}
IDENTITIES_IN_EVAL = {aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.alpha_dropout.default}
