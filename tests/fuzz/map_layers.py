"""Layers of random modules that take maps [C, H, W]."""

import torch
import torch.nn.functional as F
from grammar import Function, batch_norm, divisor, layer, pick, randomized, reparametrized
from torch import nn


@layer(3)
def convolution(draw, c, h, w):
    groups = divisor(draw, c)
    padding, mode = pick(draw, 0, 1, (1, 0), (0, 2), "same", "valid"), pick(draw, "zeros", "zeros", "circular", "reflect", "replicate")
    stride = 1 if padding == "same" else pick(draw, 1, 2, (2, 1), (1, 3))
    kernel, dilation, bias = (pick(draw, 1, 2, 3, 4), pick(draw, 1, 2, 3)), pick(draw, 1, 2, (1, 2)), pick(draw, True, False)
    out = groups * pick(draw, 1, 2)
    return reparametrized(draw, nn.Conv2d(c, out, kernel, stride, padding, dilation, groups, bias, mode))


@layer(3)
def normalized_convolution(draw, c, h, w):
    groups, bias, order = divisor(draw, c), pick(draw, True, False), pick(draw, 1, -1)
    layers = [reparametrized(draw, nn.Conv2d(c, c, 3, padding=1, groups=groups, bias=bias)), batch_norm(draw, 3, c)]
    return nn.Sequential(*layers[::order], pick(draw, nn.ReLU(inplace=True), nn.GELU(), nn.Identity(), nn.Hardswish(), nn.Dropout(0.5)))


@layer(3)
def transposed_convolution(draw, c, h, w):
    groups, stride = divisor(draw, c), pick(draw, 1, 2)
    upsample = nn.ConvTranspose2d(c, groups * 2, 3, stride, 1, stride - 1, groups, pick(draw, True, False))
    return nn.Sequential(upsample, batch_norm(draw, 3, groups * 2)) if pick(draw, True, False) else upsample


@layer(3, keeps=True)
def shared_convolution(draw, c, h, w):
    convolution, first, second = nn.Conv2d(c, c, 1, bias=pick(draw, True, False)), batch_norm(draw, 3, c), batch_norm(draw, 3, c)
    forms = {
        "one norm": lambda m, x: m.first(m.convolution(m.first(m.convolution(x)).relu())),
        "two norms": lambda m, x: m.second(m.convolution(m.first(m.convolution(x)).relu_())),
        "read by two norms": lambda m, x: (lambda y: m.first(y) + m.second(y).relu())(m.convolution(x)),
        "read by norm and sum": lambda m, x: (lambda y: m.first(y) + y)(m.convolution(x)),
        "chain of norms": lambda m, x: m.second(m.first(m.convolution(x))),
        "norm of a detached result": lambda m, x: m.first(m.convolution(x).detach()),
    }
    form = pick(draw, *forms)
    return Function(forms[form], convolution=convolution, first=first, second=second, form=form)


@layer(3, keeps=True)
def map_norm(draw, c, h, w):
    channels_last = lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # noqa: E731
    forms = [
        lambda: nn.GroupNorm(divisor(draw, c), c),
        lambda: nn.InstanceNorm2d(c, affine=pick(draw, True, False), track_running_stats=pick(draw, True, False)),
        lambda: nn.LayerNorm([c, h, w]),
        lambda: Function(channels_last, norm=randomized(nn.LayerNorm(c, bias=pick(draw, True, False)))),
        lambda: Function(channels_last, norm=randomized(nn.RMSNorm(c))),
        lambda: batch_norm(draw, 3, c),
    ]
    return randomized(pick(draw, *forms)())


@layer(3)
def resize(draw, c, h, w):
    forms = [
        lambda: nn.MaxPool2d(pick(draw, 2, 3), stride=pick(draw, 1, 2), padding=1, ceil_mode=pick(draw, True, False)),
        lambda: nn.AvgPool2d(2, stride=pick(draw, 1, 2), ceil_mode=pick(draw, True, False), count_include_pad=pick(draw, True, False)),
        lambda: nn.AdaptiveAvgPool2d(pick(draw, 1, 2, (3, 2))),
        lambda: nn.AdaptiveMaxPool2d(pick(draw, 1, 2)),
        lambda: nn.Upsample(scale_factor=2, mode=pick(draw, "nearest", "bilinear", "bicubic")),
        lambda: nn.PixelUnshuffle(2),
        lambda: nn.PixelShuffle(2),
        lambda: nn.ChannelShuffle(2),
        lambda: nn.ZeroPad2d((1, 0, 0, 2)),
        lambda: nn.ReflectionPad2d(1),
        lambda: Function(lambda m, x: x.roll((1, -1), (2, 3)).flip(1)),
        lambda: Function(lambda m, x: F.unfold(x, 2, stride=2).mT),
        lambda: Function(lambda m, x: torch.cat([x[:, :, ::2], x[:, :, 1::2]][:1], 1)),
    ]
    return pick(draw, *forms)()


@layer(3)
def to_tokens(draw, c, h, w):
    forms = [
        lambda m, x: x.flatten(2).mT,
        lambda m, x: x.flatten(2),
        lambda m, x: x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1]),
    ]
    return Function(pick(draw, *forms, lambda m, x: x.view(x.shape[0], x.size(1), -1).transpose(1, 2).contiguous()))
