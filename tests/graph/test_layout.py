import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.layout import Layout, find_layouts
from qhyvit.graph.trace import trace


class Network(nn.Module):
    """Applies functions to a map of 4 channels; they may use the layers."""

    def __init__(self, functions):
        super().__init__()
        self.functions = functions
        self.linear = nn.Linear(4, 4)
        self.merge = nn.Linear(16, 8)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.class_token = nn.Parameter(torch.randn(1, 1, 4))
        self.queries = nn.Parameter(torch.randn(1, 5, 4))

    def forward(self, x):
        return torch.cat([function(self, x).reshape(-1) for function in self.functions])


def layouts_of(functions, height=4, width=4) -> list[Layout]:
    """The layouts of the results, all from one graph."""
    graph_module = trace(Network(functions), torch.randn(2, 4, height, width))
    (output,) = (node for node in graph_module.graph.nodes if node.op == "output")
    (joined,) = output.all_input_nodes
    layouts = find_layouts(graph_module)
    return [layouts[flat.args[0]] for flat in joined.args[0]]


def unfold(net, x):
    """MobileViT: 2x2 patches of a 4x4 map, [B, C, 4 pixels of a patch, 4 patches]; the shape is that of the map."""
    x = x.reshape(-1, 2, 2, 2).transpose(1, 2)
    return x.reshape(-1, 4, 4, 4).transpose(2, 3)


def fold(net, x):
    x = x.transpose(2, 3).reshape(-1, 2, 2, 2).transpose(1, 2)
    return x.reshape(-1, 4, 4, 4)


def unfold_im2col(net, x):
    return F.unfold(x, kernel_size=2, stride=2).reshape(-1, 4, 4, 4)


def fold_by_shuffle(net, x):
    return F.pixel_shuffle(x.reshape(-1, 16, 2, 2), 2)


def windows(net, x):
    """Swin: 2x2 windows of channels-last maps, [B * windows, 4, C]."""
    x = x.permute(0, 2, 3, 1).reshape(-1, 2, 2, 2, 2, 4)
    return x.transpose(2, 3).reshape(-1, 4, 4)


def merge_windows(net, x):
    return x.reshape(-1, 2, 2, 2, 2, 4).transpose(2, 3).reshape(-1, 4, 4, 4)


def tokens(net, x):
    return x.flatten(2).transpose(1, 2)


def heads(net, x):
    return x.flatten(2).unflatten(1, (2, -1)).transpose(2, 3)


def attend(query, key_value):
    return (query @ key_value.transpose(-2, -1)).softmax(-1) @ key_value


def attend_transposed(net, x):
    """Keys by queries, as some networks compute it; the result is [B, C, N]."""
    x = x.flatten(2)
    return x @ (x.transpose(1, 2) @ x).softmax(1)


def with_class_token(net, x):
    return torch.cat([net.class_token.expand(x.shape[0], -1, -1), tokens(net, x)], 1)


def merge_patches(net, x):
    """Swin: the pixels of a 2x2 patch become channels, which a linear layer reads."""
    x = x.permute(0, 2, 3, 1).reshape(-1, 2, 2, 2, 2, 4)
    return net.merge(x.permute(0, 1, 3, 4, 2, 5).flatten(3))


MAPS = {
    "elementwise": lambda net, x: x.relu() + 1,
    "channels last": lambda net, x: net.linear(x.permute(0, 2, 3, 1)),
    "channel groups": lambda net, x: x.unflatten(1, (2, 2)).transpose(1, 2),
    "convolution": lambda net, x: net.conv(x),
    "gate": lambda net, x: x * x.mean((2, 3), keepdim=True),
    "attention to places": lambda net, x: torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1),
    "there and back": lambda net, x: tokens(net, x).transpose(1, 2).unflatten(2, (4, 4)),
    "fold": lambda net, x: fold(net, unfold(net, x).relu()),
    "fold by shuffle": lambda net, x: fold_by_shuffle(net, unfold_im2col(net, x).relu()),
    "windows merged": lambda net, x: merge_windows(net, net.linear(windows(net, x))),
    "attention folded": lambda net, x: attend(tokens(net, x), tokens(net, x)).transpose(1, 2).reshape(-1, 4, 4, 4),
    "transposed attention folded": lambda net, x: attend_transposed(net, x).unflatten(2, (4, 4)),
    "class token removed": lambda net, x: with_class_token(net, x)[:, 1:].transpose(1, 2).unflatten(2, (4, 4)),
    "roll": lambda net, x: x.roll((1, 1), (2, 3)),
}
RESIZED = {
    "max pool": lambda net, x: F.max_pool2d(x, 2),
    "strided slice": lambda net, x: x[:, :, ::2, ::2],
    "patches merged": merge_patches,
}
TOKENS = {
    "flattened": tokens,
    "heads": heads,
    "unfolded at an ambiguous size": unfold,
    "unfolded by im2col": unfold_im2col,
    "pixels of a patch as channels": lambda net, x: unfold_im2col(net, x).reshape(-1, 16, 2, 2),
    "windows": lambda net, x: net.linear(windows(net, x)),
    "class token": with_class_token,
    "scores": lambda net, x: tokens(net, x) @ tokens(net, x).transpose(1, 2),
    "scores of queries": lambda net, x: net.queries @ x.flatten(2),
    "attention": lambda net, x: attend(tokens(net, x), tokens(net, x)),
    "rows of a column": lambda net, x: net.linear(x.permute(3, 0, 2, 1).flatten(0, 1)),
    "channels and rows": lambda net, x: x.flatten(1, 2),
}
NEITHER = {
    "pooled": lambda net, x: x.mean((2, 3)),
    "pooled tokens": lambda net, x: tokens(net, x).mean(1),
    "pooled map": lambda net, x: F.adaptive_avg_pool2d(x, 1),
    "class token alone": lambda net, x: with_class_token(net, x)[:, 0],
    "queries after attention": lambda net, x: attend(net.queries.expand(x.shape[0], -1, -1), tokens(net, x)),
    "greatest value": lambda net, x: x.amax(),
    "channel attention": lambda net, x: x.flatten(2) @ tokens(net, x),
}


@pytest.fixture(scope="module")
def layouts():
    cases = MAPS | RESIZED | TOKENS | NEITHER
    return dict(zip(cases, layouts_of(cases.values()), strict=True))


@pytest.mark.parametrize("case", MAPS)
def test_map_keeps_its_grid(layouts, case):
    assert layouts[case].grid == (4, 4)


@pytest.mark.parametrize("case", RESIZED)
def test_resized_map_has_a_grid_of_the_new_size(layouts, case):
    assert layouts[case].grid == (2, 2)


@pytest.mark.parametrize("case", TOKENS)
def test_rearranged_pixels_are_tokens(layouts, case):
    assert layouts[case].kind == "tokens"


@pytest.mark.parametrize("case", NEITHER)
def test_other_tensors_are_neither_map_nor_tokens(layouts, case):
    assert layouts[case].kind == "neither"


def test_rows_and_columns_are_not_exchanged():
    folded, misfolded, enlarged = layouts_of(
        [
            lambda net, x: x.flatten(2).unflatten(2, (4, 6)),
            lambda net, x: x.flatten(2).unflatten(2, (6, 4)),
            lambda net, x: F.interpolate(x.transpose(2, 3), scale_factor=2),
        ],
        height=4,
        width=6,
    )
    assert folded.grid == (4, 6)
    assert misfolded.kind == "tokens"
    assert enlarged.grid == (8, 12)
