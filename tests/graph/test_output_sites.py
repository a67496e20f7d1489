import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


def found(model, x):
    graph_module = trace(model, x)
    fold_batch_norm(graph_module)
    return [(tensor.name, tensor.kind, tensor.axis) for tensor in find_output_sites(graph_module)]


class ConvNet(nn.Module):
    """A residual block of convolutions, and a head that pools."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU())
        self.branch = nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.BatchNorm2d(4))
        self.last = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.last(x + self.branch(x)).mean((2, 3)))


def test_activation_read_by_a_skip_or_pooling_is_an_output_site():
    assert found(ConvNet(), torch.randn(2, 3, 8, 8)) == [
        ("stem.2.activation", "activation", 1),  # read by the skip too
        ("add", "add", 1),
        ("last.norm", "norm", 1),  # follows no convolution, so it is not folded
    ]


class Transformer(nn.Module):
    """A block of attention and MLP before a linear layer."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(8) for _ in range(3))
        self.qkv = nn.Linear(8, 24)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + ((q @ k.transpose(2, 3)).softmax(3) @ v).transpose(1, 2).flatten(2)
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm3(x))


def test_residual_stream_of_a_transformer_has_output_sites():
    assert found(Transformer(), torch.randn(2, 6, 8)) == [("add", "add", -1), ("add2", "add", -1)]


class LinearAttention(nn.Module):
    """Weighs keys by a softmax over the tokens and gates the values with their sum, as MobileViTv2 does."""

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Conv2d(4, 9, 1), nn.Conv2d(4, 4, 1)
        self.norm = nn.GroupNorm(1, 4)

    def forward(self, x):
        q, k, v = self.qkv(x).split([1, 4, 4], dim=1)
        context = (k * q.softmax(3)).sum(3, keepdim=True)
        return self.proj(self.norm(F.relu(v) * context) * 2)


def test_results_read_by_elementwise_operators_are_output_sites():
    assert found(LinearAttention(), torch.randn(2, 4, 5, 6)) == [
        ("softmax", "softmax", None),
        ("activation", "activation", 1),
        ("norm.norm", "norm", 1),
    ]


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda x: x.transpose(2, 3).flatten(2).unflatten(2, (8, 8)),
        lambda x: torch.cat([x, x], 3).chunk(2, 3)[1],
        lambda x: F.pad(x.flip(2), (1, 1, 1, 1))[:, :, 1:-1, 1:-1],
        lambda x: F.pixel_unshuffle(x, 2),
    ],
    ids=["views", "cat-chunk", "pad-flip", "unshuffle"],
)
def test_rearranged_tensor_read_by_a_site_is_no_output_site(rearrange):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 1), nn.LazyConv2d(4, 1)

        def forward(self, x):
            x = F.relu(self.first(x))
            return self.second(rearrange(x))

    network, x = Network(), torch.randn(2, 3, 8, 8)
    network(x)
    assert found(network, x) == []


class Sums(nn.Module):
    """Additions of a scalar, a table, a tensor that broadcasts, and of two tensors of one shape, before a layer and after the last."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("table", torch.randn(6, 4))

    def forward(self, x):
        y = self.first(x)
        y = torch.cos(torch.cos(y + 1) + self.table)
        y = torch.cos(y + y.mean(1, keepdim=True))
        y = self.second(torch.cos(x + y))
        return y + self.third(y)


def test_addition_of_two_computed_tensors_is_an_output_site():
    assert found(Sums(), torch.randn(2, 6, 4)) == [("add", "add", -1)]


class ChannelsLast(nn.Module):
    """LayerNorm and linear layers on [B, H, W, C], with an addition in each layout, and a norm over whole images."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(3, 4, 1), nn.LayerNorm(4), nn.Linear(4, 4)
        self.whole, self.last = nn.LayerNorm((4, 8, 8)), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        x = self.conv(x)
        y = self.norm(x.permute(0, 2, 3, 1))
        y = torch.cos(y + self.linear(y))
        return self.last(torch.cos(self.whole(x + y.permute(0, 3, 1, 2))))


def test_channel_axis_is_taken_from_the_nearest_layer():
    assert found(ChannelsLast(), torch.randn(2, 3, 8, 8)) == [
        ("norm.norm", "norm", -1),
        ("add", "add", -1),
        ("add2", "add", 1),
        ("whole.norm", "norm", -3),
    ]


class OneNameForTwo(nn.Module):
    """A layer whose module is called what the sum next to it would be."""

    def __init__(self):
        super().__init__()
        self.add = nn.Linear(4, 4)

    def forward(self, x):
        return self.add(torch.cos(x + torch.tanh(x))) + x


def test_output_site_names_are_unique_among_all_sites():
    graph_module = trace(OneNameForTwo(), torch.randn(2, 4))
    assert [site.name for site in find_sites(graph_module)] == ["add"]
    assert [tensor.name for tensor in find_output_sites(graph_module)] == ["activation", "add2"]


class Masked(nn.Module):
    """An attention with a mask for each image, of which hidden keys are minus infinity."""

    def __init__(self, mask, weigh=lambda scores: scores.softmax(-1)):
        super().__init__()
        self.qkv, self.head, self.mask, self.weigh = nn.Linear(8, 24), nn.Linear(8, 5), mask, weigh
        self.hidden = nn.Buffer(torch.full((6, 6), -torch.inf).triu(1))

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        scores = q @ k.mT
        return self.head(self.weigh(scores + self.mask(scores, self.hidden)) @ v)


MASKS = {
    "expanded": lambda scores, hidden: hidden.expand_as(scores),
    "filled": lambda scores, hidden: torch.zeros_like(scores).masked_fill(hidden < 0, -torch.inf),
    "computed": lambda scores, hidden: scores.amax(2, keepdim=True) * 0 + hidden,
    "scaled": lambda scores, hidden: (scores + hidden.expand_as(scores)) * 0.5,
}


@pytest.mark.parametrize("mask", MASKS)
def test_logits_with_a_mask_are_no_output_site(mask):
    assert found(Masked(MASKS[mask]), torch.randn(2, 6, 8)) == []


WEIGHTS = {
    "less the largest": lambda scores: (scores - scores.amax(-1, keepdim=True)).softmax(-1),
    "clamped": lambda scores: scores.clamp(min=-5e4).softmax(-1),
    "exponential": lambda scores: scores.exp() / scores.exp().sum(-1, keepdim=True),
    "log softmax": lambda scores: scores.log_softmax(-1).exp(),
}
LARGE = {
    "expanded": MASKS["expanded"],
    "filled": MASKS["filled"],
    "selected": lambda scores, hidden: torch.where(hidden < 0, -1e9, torch.zeros_like(scores)),
    "scaled": lambda scores, hidden: ((hidden < 0).float() * -1e4).expand_as(scores),
    "of the rest": lambda scores, hidden: (1 - torch.ones_like(scores) * (hidden == 0)) * -1e4 + scores * 0,
}


@pytest.mark.parametrize("weigh", WEIGHTS)
@pytest.mark.parametrize("mask", LARGE)
def test_logits_with_a_large_mask_are_no_output_site_whatever_reads_them(mask, weigh):
    assert found(Masked(LARGE[mask], WEIGHTS[weigh]), torch.randn(2, 6, 8)) == []


def test_sum_of_logits_without_a_mask_is_an_output_site():
    model = Masked(lambda scores, _: scores.roll(1, -1) * 0.5, WEIGHTS["clamped"])
    assert found(model, torch.randn(2, 6, 8)) == [("add", "add", -1)]
