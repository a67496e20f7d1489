import pytest
import torch
from torch import nn
from traced_networks import traced_network

from qhyvit.graph.bridge import BridgeBlock, find_bridge_blocks
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace

CHANNELS = 8


def bridges(model: nn.Module, size: int = 8) -> list[BridgeBlock]:
    graph_module = trace(model, torch.randn(2, 3, size, size))
    fold_batch_norm(graph_module)
    return find_bridge_blocks(graph_module, find_sites(graph_module))


def names(sites) -> str:
    return " ".join(site.name for site in sites)


def ends(block: BridgeBlock) -> tuple[str, str]:
    return names(block.before), names(block.after)


def to_tokens(x):
    return x.flatten(2).transpose(1, 2)


def to_map(x, size):
    return x.transpose(1, 2).unflatten(2, (size, size))


def attend(query, key, value):
    return (query @ key.transpose(-2, -1)).softmax(-1) @ value


class Attention(nn.Module):
    """Self-attention of the pixels with a residual, [B, C, H, W] to [B, C, H, W]."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)
        self.qkv = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.mlp = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x):
        tokens = to_tokens(x)
        tokens = tokens + attend(*self.qkv(self.norm(tokens)).chunk(3, -1))
        return to_map(tokens + self.mlp(tokens), x.shape[2])


class Residual(nn.Module):
    """A stem and a residual convolution before the attentions; the second one leaves a map of the same size again."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.local = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.first = Attention()
        self.middle = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.second = Attention()
        self.down = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.third = Attention()

    def forward(self, x):
        x = self.stem(x)
        x = self.second(self.middle(self.first(x + self.local(x))))
        return self.third(self.down(x))


class Joined(nn.Module):
    """Tokens of a map and of one of half its size, of which those of the larger are also read alone."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)
        self.first, self.join = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x):
        x = self.stem(x)
        large, small = to_tokens(x), to_tokens(self.down(x))
        return self.first(large).sum(1) + self.join(torch.cat([large, small], 1)).sum(1)


def test_block_of_joined_maps_does_not_begin_at_one_that_another_block_has():
    assert [ends(block) for block in bridges(Joined())] == [("stem", "first"), ("down", "join")]


def test_conversion_counts_once_per_size_of_map():
    first, second = bridges(Residual())
    assert ends(first) == ("local", "first.qkv")
    assert names(first.sites) == "local first.qkv"
    assert (first.kind, first.map_shape, first.token_shape) == ("conversion", (8, 8, 8), (64, 8))
    assert ends(second) == ("down", "third.qkv")
    assert (second.map_shape, second.token_shape) == ((8, 4, 4), (16, 8))


class SeparateLayers(nn.Module):
    """Queries, keys and values of tokens are linear layers of their own."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.q, self.k, self.v = (nn.Linear(CHANNELS, CHANNELS) for _ in range(3))

    def forward(self, x):
        tokens = to_tokens(self.stem(x))
        return attend(self.q(tokens), self.k(tokens), self.v(tokens))


def test_block_of_separate_queries_keys_and_values_has_one_output():
    (block,) = bridges(SeparateLayers())
    assert names(block.sites) == "stem q"


class ConvolutionalAttention(nn.Module):
    """Queries, keys and values are maps first; the heads of the scores are mixed; the gate belongs to neither side."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.gate = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.q, self.k, self.v = (nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(3))
        self.mix = nn.Conv2d(2, 2, 1)
        self.proj = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x):
        x = self.stem(x)
        q, k, v = (layer(x).unflatten(1, (2, -1)).flatten(3) for layer in (self.q, self.k, self.v))
        v = v * self.gate(x.mean((2, 3), keepdim=True)).unflatten(1, (2, -1)).flatten(3)
        y = v @ self.mix((k.transpose(2, 3) @ q).softmax(2))
        return x + self.proj(y.flatten(1, 2).unflatten(2, (8, 8)))


def test_one_attention_is_one_conversion():
    (block,) = bridges(ConvolutionalAttention())
    assert ends(block) == ("q k v", "matmul1 matmul2")
    assert names(block.sites) == "q k v matmul1 mix matmul2"


class TwoStreams(nn.Module):
    """Three tokens read the pixels and write back to them."""

    def __init__(self, project_pixels: bool):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, 3, 4))
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.pixel_k = nn.Linear(CHANNELS, CHANNELS) if project_pixels else nn.Identity()
        self.q = nn.Linear(4, CHANNELS)
        self.gate = nn.Linear(4, CHANNELS)
        self.proj = nn.Linear(CHANNELS, 4)
        self.k, self.v = nn.Linear(4, CHANNELS), nn.Linear(4, CHANNELS)
        self.head = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x):
        feature_map = self.stem(x)
        pixels, tokens = to_tokens(feature_map), self.tokens.expand(x.shape[0], -1, -1)
        gathered = attend(self.q(tokens), self.pixel_k(pixels), pixels)
        tokens = tokens + self.proj(self.gate(tokens).sigmoid() * gathered)
        return self.head(to_map(pixels + attend(pixels, self.k(tokens), self.v(tokens)), 8))


def test_every_exchange_is_a_block():
    to_global, to_local = bridges(TwoStreams(project_pixels=False))
    assert (to_global.kind, to_local.kind) == ("exchange", "exchange")
    assert names(to_global.sites) == "q matmul1 matmul2 gate proj"
    assert ends(to_global) == ("q gate", "matmul1 matmul2 proj")
    assert names(to_local.sites) == "k v matmul3 matmul4"
    assert ends(to_local) == ("k v", "matmul3 matmul4")
    assert (to_global.map_shape, to_global.token_shape) == (to_local.map_shape, to_local.token_shape) == ((8, 8, 8), (3, 4))


def test_projections_of_pixels_belong_to_the_exchange():
    to_global, to_local = bridges(TwoStreams(project_pixels=True))
    assert names(to_global.sites) == "q pixel_k matmul1 matmul2 gate proj"
    assert to_local.kind == "exchange"


class Function(nn.Module):
    """A function of a map, and layers for it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.linear = nn.Linear(CHANNELS, CHANNELS)
        self.merge = nn.Linear(4 * CHANNELS, CHANNELS)
        self.classifier = nn.Linear(64 * CHANNELS, 2)
        self.weight = nn.Parameter(torch.randn(CHANNELS, CHANNELS))

    def forward(self, x):
        return self.function(self, self.stem(x))


def merge_patches(net, x):
    x = x.permute(0, 2, 3, 1).reshape(-1, 4, 2, 4, 2, CHANNELS)
    return net.merge(x.permute(0, 1, 3, 2, 4, 5).flatten(3))


def pool_by_attention(net, x):
    return x.flatten(2) @ to_tokens(x).mean(2, keepdim=True).softmax(1)


LOCAL = {
    "classifier": lambda net, x: net.classifier(x.flatten(1)),
    "pooled": lambda net, x: net.linear(x.mean((2, 3))),
    "channels last": lambda net, x: net.linear(x.permute(0, 2, 3, 1)),
    "patches merged": merge_patches,
    "pooled by attention": pool_by_attention,
}


@pytest.mark.parametrize("case", LOCAL)
def test_network_without_tokens_has_no_block(case):
    assert bridges(Function(LOCAL[case])) == []


def channel_attention(net, x):
    x = net.linear(to_tokens(x))
    return (x.transpose(1, 2) @ x).softmax(-1) @ x.transpose(1, 2)


@pytest.mark.parametrize("function", [channel_attention, lambda net, x: net.linear(to_tokens(x)) @ net.weight])
def test_product_without_a_second_stream_is_no_exchange(function):
    assert [block.kind for block in bridges(Function(function))] == ["conversion"]


def conversions(*pairs: str) -> list[tuple[str, str]]:
    return [(before, after) for before, after in (pair.split(" -> ") for pair in pairs)]


MOBILEVIT = [f"stages.{stage}.1.conv_1x1 -> stages.{stage}.1.transformer.0.attn" for stage in (2, 3, 4)]
FIRST, ENTRY = "stages.2.blocks.4.token_mixer", "stages.3.downsample.attn"
NETWORKS = {
    "mobilenetv2_100": [],
    "mobilevitv2_050": conversions(*(f"{pair}.qkv_proj" for pair in MOBILEVIT)),
    "efficientformer_l1": conversions("stages.3.blocks.2.mlp.fc2 -> stages.3.blocks.4.token_mixer.qkv"),
    "efficientformerv2_s0": conversions(
        f"{FIRST}.q.conv {FIRST}.k.conv {FIRST}.v.conv -> {FIRST}.matmul1 {FIRST}.matmul2",
        f"{ENTRY}.q.proj.conv {ENTRY}.k.conv {ENTRY}.v.conv -> {ENTRY}.matmul1 {ENTRY}.matmul2",
    ),
    "mobilevit_xxs": conversions(*(f"{pair}.qkv" for pair in MOBILEVIT)),
    "mobile_former_26m": [
        (f"{block}.q {block}.alpha.0", f"{block}.matmul1 {block}.matmul2 {block}.proj")
        if block.endswith("local_global")
        else (f"{block}.k {block}.proj", f"{block}.matmul1 {block}.matmul2")
        for block in [*(f"features.{index}.{way}" for index in range(1, 9) for way in ("local_global", "global_local")), "local_global"]
    ],
}


@pytest.mark.parametrize("name", NETWORKS)
def test_bridge_blocks_of_the_networks_are_where_the_paper_has_them(name):
    _, traced = traced_network(name)
    blocks = find_bridge_blocks(traced.graph_module, traced.sites)
    assert [ends(block) for block in blocks] == NETWORKS[name]
    members = [site.name for block in blocks for site in block.sites]
    assert len(set(members)) == len(members)
