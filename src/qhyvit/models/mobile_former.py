"""Mobile-Former: a MobileNet and a transformer of a few tokens, side by side, with a two-way bridge in every block.

Chen et al., "Mobile-Former: Bridging MobileNet and Transformer", CVPR 2022, arXiv 2108.05895. Attribute names follow
the released code (AAboys/MobileFormer), so that its checkpoints load strictly; where that code and the paper differ,
the code decides, because the checkpoints belong to it.

Shapes: maps are (B, C, H, W), tokens (B, T, D) with T at most 6; B is the batch. There is no positional encoding, so
images of any size will do; at multiples of 32 the maps halve exactly, as at the published 224.
"""

from typing import Any, NamedTuple

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

__all__ = ["MobileFormer"]  # register_model appends the seven sizes

BRIDGE_HEADS = 2
FORMER_HEADS = 4
SECOND_EXPANSION = 4  # of the second depthwise convolution in a downsampling block
HEAD_EXPANSION = 6


def split_heads(features: Tensor, heads: int) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads); each head owns consecutive channels."""
    return features.unflatten(2, (heads, -1)).transpose(1, 2)


def merge_heads(features: Tensor) -> Tensor:
    """(B, heads, N, C / heads) to (B, N, C), undoing `split_heads`."""
    return features.transpose(1, 2).flatten(2)


def map_to_pixels(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) to one vector per pixel, (B, H*W, C)."""
    return feature_map.flatten(2).transpose(1, 2)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention, (B, heads, N, d) over (B, heads, M, d) to (B, heads, N, d).

    Spelt out so that both products and the softmax are nodes of their own in a traced graph.
    """
    scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
    return scores.softmax(dim=3) @ value


class MobileToFormer(nn.Module):
    """Mobile→Former bridge (section 3): every token gathers from the map.

    The pixels are keys and values as they are, without projections. A gate in [0, 2] per token and channel weighs what
    was gathered.
    """

    def __init__(self, channels: int, token_dim: int) -> None:
        super().__init__()
        self.alpha = nn.Sequential(nn.Linear(token_dim, channels), nn.Hardsigmoid())
        self.q = nn.Linear(token_dim, channels)
        self.proj = nn.Linear(channels, token_dim)
        self.layer_norm = nn.LayerNorm(token_dim)

    def forward(self, feature_map: Tensor, tokens: Tensor) -> Tensor:
        """(B, C, H, W) and (B, T, D) to new tokens (B, T, D)."""
        pixels = split_heads(map_to_pixels(feature_map), BRIDGE_HEADS)
        gathered = merge_heads(attend(split_heads(self.q(tokens), BRIDGE_HEADS), pixels, pixels))
        gate = 2 * self.alpha(tokens)
        return self.layer_norm(tokens + self.proj(gate * gathered))


class Former(nn.Module):
    """Former sub-block (section 3): a post-norm transformer encoder layer over the tokens.

    Keys and values are the tokens as they are; `channel_mlp` is the output projection of the attention.
    """

    def __init__(self, token_dim: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(token_dim, 2 * token_dim), nn.GELU(), nn.Linear(2 * token_dim, token_dim))
        self.ffn_norm = nn.LayerNorm(token_dim)
        self.q = nn.Linear(token_dim, token_dim)
        self.channel_mlp = nn.Linear(token_dim, token_dim)
        self.layer_norm = nn.LayerNorm(token_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        memory = split_heads(tokens, FORMER_HEADS)
        mixed = merge_heads(attend(split_heads(self.q(tokens), FORMER_HEADS), memory, memory))
        tokens = self.layer_norm(tokens + self.channel_mlp(mixed))
        return self.ffn_norm(tokens + self.ffn(tokens))


class FormerToMobile(nn.Module):
    """Former→Mobile bridge (section 3): every pixel gathers from the tokens.

    The pixels are the queries as they are; `proj` makes the values. What was gathered is added without a projection.
    """

    def __init__(self, channels: int, token_dim: int) -> None:
        super().__init__()
        self.k = nn.Linear(token_dim, channels)
        self.proj = nn.Linear(token_dim, channels)

    def forward(self, feature_map: Tensor, tokens: Tensor) -> Tensor:
        """(B, C, H, W) and (B, T, D) to a new map (B, C, H, W)."""
        pixels = split_heads(map_to_pixels(feature_map), BRIDGE_HEADS)
        key = split_heads(self.k(tokens), BRIDGE_HEADS)
        value = split_heads(self.proj(tokens), BRIDGE_HEADS)
        gathered = merge_heads(attend(pixels, key, value)).transpose(1, 2)
        return feature_map + gathered.unflatten(2, feature_map.shape[2:])


class DynamicReLU(nn.Module):
    """max(a x, b x), where a token gives the slopes a in [0, 2] and b in [-1, 1] of each channel.

    Dynamic ReLU (Chen et al., ECCV 2020, arXiv 2003.10027) without intercepts; at initialisation it is close to a ReLU.
    """

    def __init__(self, channels: int, token_dim: int) -> None:
        super().__init__()
        squeezed = token_dim // 4
        self.hyper = nn.Sequential(nn.Linear(token_dim, squeezed), nn.ReLU(), nn.Linear(squeezed, 2 * channels), nn.Hardsigmoid())

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        """(B, C, H, W) and one token (B, D) to (B, C, H, W)."""
        first, second = self.hyper(token).unflatten(1, (-1, 1, 1)).chunk(2, dim=1)
        return torch.maximum(2 * first * feature_map, (2 * second - 1) * feature_map)


class ChannelShuffle(nn.Module):
    """Interleave the channels of `groups` equal groups, so that the next grouped convolution mixes them."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return feature_map.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


def shuffle(channel_groups: int, groups: int) -> nn.Module:
    """Shuffle `channel_groups` in networks with grouped 1×1 convolutions (`groups` > 1), which alone need it."""
    return ChannelShuffle(channel_groups) if groups > 1 else nn.Identity()


def pointwise(in_channels: int, out_channels: int, groups: int) -> list[nn.Module]:
    """1×1 convolution and batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, 1, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


def depthwise(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """3×3 convolution in which every input channel gives out / in output channels, and batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=in_channels, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


class LiteBottleneck(nn.Module):
    """First block of every network, without tokens: widening depthwise, then pointwise convolution (MicroNet's)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, groups: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.has_skip = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *depthwise(in_channels, hidden, stride),
            nn.ReLU6(),
            shuffle(in_channels, groups),
            *pointwise(hidden, out_channels, groups),
        )

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        output = self.conv(feature_map)
        return feature_map + output if self.has_skip else output


class MobileFormerBlock(nn.Module):
    """Mobile-Former block (section 3): Mobile→Former, Former, Mobile and Former→Mobile, in this order.

    Subclasses give the Mobile sub-block: convolutions whose dynamic ReLUs the first token controls.
    """

    def _add_former_path(self, in_channels: int, out_channels: int, token_dim: int) -> None:
        """Add the token side; subclasses call this last.

        Published lists of layers count modules as the released code registers them: convolutions first.
        """
        self.local_global = MobileToFormer(in_channels, token_dim)
        self.global_block = Former(token_dim)
        self.global_local = FormerToMobile(out_channels, token_dim)

    def mobile(self, feature_map: Tensor, token: Tensor) -> Tensor:
        """Mobile sub-block: (B, in, H, W) and the first token (B, D) to (B, out, H', W'), skip connection included."""
        raise NotImplementedError

    def forward(self, feature_map: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in, H, W) and (B, T, D) to (B, out, H', W') and (B, T, D)."""
        tokens = self.global_block(self.local_global(feature_map, tokens))
        feature_map = self.mobile(feature_map, tokens[:, 0])
        return self.global_local(feature_map, tokens), tokens


class BottleneckBlock(MobileFormerBlock):
    """Mobile-Former block that keeps the resolution: Mobile is an inverted bottleneck."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, token_dim: int, groups: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.has_skip = in_channels == out_channels
        self.conv1 = nn.Sequential(*pointwise(in_channels, hidden, groups), shuffle(groups, groups))
        self.hyper1 = DynamicReLU(hidden, token_dim)
        self.conv2 = nn.Sequential(*depthwise(hidden, hidden, stride=1))
        self.hyper2 = DynamicReLU(hidden, token_dim)
        self.conv3 = nn.Sequential(*pointwise(hidden, out_channels, groups), shuffle(groups, groups))
        self._add_former_path(in_channels, out_channels, token_dim)

    def mobile(self, feature_map: Tensor, token: Tensor) -> Tensor:
        """(B, in, H, W) and (B, D) to (B, out, H, W)."""
        hidden = self.hyper1(self.conv1(feature_map), token)
        hidden = self.hyper2(self.conv2(hidden), token)
        output = self.conv3(hidden)
        return feature_map + output if self.has_skip else output


class DownsampleBlock(MobileFormerBlock):
    """Mobile-Former block that halves the resolution: Mobile is two depthwise-pointwise pairs, the second residual."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, token_dim: int, groups: int) -> None:
        super().__init__()
        hidden1 = expansion * in_channels
        hidden3 = SECOND_EXPANSION * out_channels
        self.conv1 = nn.Sequential(*depthwise(in_channels, hidden1, stride=2), shuffle(in_channels, groups))
        self.hyper1 = DynamicReLU(hidden1, token_dim)
        self.conv2 = nn.Sequential(*pointwise(hidden1, out_channels, groups))
        self.conv3 = nn.Sequential(*depthwise(out_channels, hidden3, stride=1), shuffle(out_channels, groups))
        self.hyper3 = DynamicReLU(hidden3, token_dim)
        self.conv4 = nn.Sequential(*pointwise(hidden3, out_channels, groups))
        self._add_former_path(in_channels, out_channels, token_dim)

    def mobile(self, feature_map: Tensor, token: Tensor) -> Tensor:
        """(B, in, H, W) and (B, D) to (B, out, H / 2, W / 2)."""
        reduced = self.conv2(self.hyper1(self.conv1(feature_map), token))
        return reduced + self.conv4(self.hyper3(self.conv3(reduced), token))


class ClassifierHead(nn.Module):
    """Classifier on the pooled map and the first token."""

    def __init__(self, channels: int, token_dim: int, hidden: int, num_classes: int, groups: int, drop_rate: float) -> None:
        super().__init__()
        pooled = HEAD_EXPANSION * channels
        self.conv = nn.Sequential(shuffle(groups, groups), *pointwise(channels, pooled, groups), nn.ReLU6())
        self.fc = nn.Sequential(nn.Linear(pooled + token_dim, hidden), nn.BatchNorm1d(hidden), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Dropout(drop_rate), nn.Linear(hidden, num_classes))

    def forward(self, feature_map: Tensor, token: Tensor) -> Tensor:
        """(B, C, H, W) and one token (B, D) to logits (B, num_classes)."""
        pooled = nn.functional.hardswish(self.conv(feature_map).mean(dim=(2, 3)))
        return self.classifier(self.fc(torch.cat((pooled, token), dim=1)))


class Size(NamedTuple):
    """Settings in which the networks differ; one row per bottleneck, the first of which is the lite one."""

    stem_channels: int
    token_count: int
    token_dim: int
    groups: int  # of every pointwise convolution
    head_hidden: int
    drop_rate: float  # before the classifier, as in the published training
    bottlenecks: tuple[tuple[int, int, int], ...]  # (output channels, expansion, stride)


# fmt: off
_BOTTLENECKS_26M = (
    (12, 3, 2), (12, 3, 1), (24, 6, 2), (24, 3, 1), (48, 6, 2), (48, 4, 1), (64, 6, 1), (96, 6, 2), (96, 6, 1),
)
SIZES = {
    "mobile_former_26m": Size(8, 3, 128, 4, 1024, 0.1, _BOTTLENECKS_26M),
    "mobile_former_52m": Size(8, 3, 128, 1, 1024, 0.2, _BOTTLENECKS_26M),
    "mobile_former_96m": Size(12, 4, 128, 1, 1280, 0.2, (
        (12, 2, 1), (16, 6, 2), (32, 6, 2), (32, 3, 1), (64, 6, 2), (64, 4, 1), (88, 6, 1), (128, 6, 2), (128, 6, 1),
    )),
    "mobile_former_151m": Size(12, 6, 192, 1, 1280, 0.2, (
        (12, 2, 1), (16, 6, 2), (16, 3, 1), (32, 6, 2), (32, 3, 1), (64, 6, 2), (64, 4, 1), (88, 6, 1), (88, 6, 1),
        (128, 6, 2), (128, 6, 1), (128, 6, 1),
    )),
    "mobile_former_214m": Size(12, 6, 192, 1, 1600, 0.2, (
        (12, 2, 1), (20, 6, 2), (20, 3, 1), (40, 6, 2), (40, 4, 1), (80, 6, 2), (80, 4, 1), (112, 6, 1), (112, 6, 1),
        (160, 6, 2), (160, 6, 1), (160, 6, 1),
    )),
    "mobile_former_294m": Size(16, 6, 192, 1, 1920, 0.3, (
        (16, 2, 1), (24, 6, 2), (24, 4, 1), (48, 6, 2), (48, 4, 1), (96, 6, 2), (96, 4, 1), (128, 6, 1), (128, 6, 1),
        (192, 6, 2), (192, 6, 1), (192, 6, 1),
    )),
    "mobile_former_508m": Size(24, 6, 192, 1, 1920, 0.3, (
        (24, 2, 1), (40, 6, 2), (40, 3, 1), (72, 6, 2), (72, 3, 1), (128, 6, 2), (128, 4, 1), (176, 6, 1), (176, 6, 1),
        (240, 6, 2), (240, 6, 1), (240, 6, 1),
    )),
}
# fmt: on


class MobileFormer(nn.Module):
    """Mobile-Former image classifier: stem, lite bottleneck, Mobile-Former blocks, a last bridge, head (section 3).

    `drop_rate` defaults to that of the size.
    """

    def __init__(self, size: Size, num_classes: int = 1000, in_chans: int = 3, drop_rate: float | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.tokens = nn.Embedding(size.token_count, size.token_dim)
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, size.stem_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(size.stem_channels),
            nn.ReLU6(),
        )
        (channels, expansion, stride), *rows = size.bottlenecks
        self.features = nn.ModuleList([LiteBottleneck(size.stem_channels, channels, expansion, stride, size.groups)])
        for out_channels, expansion, stride in rows:
            block = BottleneckBlock if stride == 1 else DownsampleBlock
            self.features.append(block(channels, out_channels, expansion, size.token_dim, size.groups))
            channels = out_channels
        self.local_global = MobileToFormer(channels, size.token_dim)
        drop_rate = size.drop_rate if drop_rate is None else drop_rate
        self.classifier = ClassifierHead(channels, size.token_dim, size.head_hidden, num_classes, size.groups, drop_rate)
        self.apply(_initialise)

    def forward_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, in_chans, H, W) to the last map (B, C, H / 32, W / 32) and tokens (B, T, D)."""
        tokens = self.tokens.weight.expand(images.shape[0], -1, -1)
        lite, *blocks = self.features
        feature_map = lite(self.stem(images))
        for block in blocks:
            feature_map, tokens = block(feature_map, tokens)
        return feature_map, self.local_global(feature_map, tokens)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, in_chans, H, W) to logits (B, num_classes)."""
        feature_map, tokens = self.forward_features(images)
        return self.classifier(feature_map, tokens[:, 0])


def _initialise(module: nn.Module) -> None:
    """Random weights as the released code draws them; norms and the token table keep PyTorch's defaults."""
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        nn.init.normal_(module.weight, std=(2 / (height * width * module.out_channels)) ** 0.5)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


default_cfgs = generate_default_cfgs(
    {
        name: {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "stem.0",
            "classifier": "classifier.classifier.1",
        }
        for name in SIZES
    }
)


def _create(name: str, pretrained: bool, **kwargs: Any) -> MobileFormer:
    return build_model_with_cfg(MobileFormer, name, pretrained, size=SIZES[name], **kwargs)


@register_model
def mobile_former_26m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-26M, named after its published FLOPs."""
    return _create("mobile_former_26m", pretrained, **kwargs)


@register_model
def mobile_former_52m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-52M, named after its published FLOPs."""
    return _create("mobile_former_52m", pretrained, **kwargs)


@register_model
def mobile_former_96m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-96M, named after its published FLOPs."""
    return _create("mobile_former_96m", pretrained, **kwargs)


@register_model
def mobile_former_151m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-151M, named after its published FLOPs."""
    return _create("mobile_former_151m", pretrained, **kwargs)


@register_model
def mobile_former_214m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-214M, named after its published FLOPs."""
    return _create("mobile_former_214m", pretrained, **kwargs)


@register_model
def mobile_former_294m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-294M, named after its published FLOPs."""
    return _create("mobile_former_294m", pretrained, **kwargs)


@register_model
def mobile_former_508m(pretrained: bool = False, **kwargs: Any) -> MobileFormer:
    """Mobile-Former-508M, named after its published FLOPs."""
    return _create("mobile_former_508m", pretrained, **kwargs)
