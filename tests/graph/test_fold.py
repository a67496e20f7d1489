import pytest
import torch
from torch import nn
from traced_networks import SIZE, traced_network

from qhyvit.errors import InputError
from qhyvit.graph.fold import fold_and_check, fold_batch_norm
from qhyvit.graph.operators import CHANNEL_AXIS_FROM_END, aten
from qhyvit.graph.trace import trace


class TwoReaders(nn.Module):
    """The convolution's output is read by another node than the norm, so the norm must stay."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


def test_norm_whose_input_has_other_readers_is_not_folded():
    model = TwoReaders().eval()
    x = torch.randn(2, 3, 8, 8)
    graph_module = trace(model, x)
    assert fold_batch_norm(graph_module) == 0
    torch.testing.assert_close(graph_module(x), model(x))


class Normalized(nn.Module):
    """A layer, which may be followed by a function, and a norm after it, on what a function makes of an image [B, 4, 4, 4]."""

    def __init__(self, features, layer, norm):
        super().__init__()
        self.features, self.layer, self.norm = features, layer, norm
        for parameter in ("weight", "bias", "running_mean"):
            if getattr(norm, parameter) is not None:
                nn.init.normal_(getattr(norm, parameter))
        if norm.running_var is not None:
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x):
        return self.norm(self.layer(self.features(x)))


def tokens(x):
    return x.flatten(2).mT  # [B, 16, 4]


class Transposed(nn.Module):
    def forward(self, x):
        return x.mT


class Half(nn.Module):
    def forward(self, x):
        return x[:, :4]


def means(x):
    return x.mean((2, 3))


BY_AXIS = {  # features, layer and norm, and how many norms are folded
    "channels of a map": (nn.Identity(), lambda: nn.Conv2d(4, 6, 1), lambda: nn.BatchNorm2d(6), 1),
    "features of a linear layer": (means, lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1d(6), 1),
    "without weights": (means, lambda: nn.Linear(4, 6), lambda: nn.BatchNorm1d(6, affine=False), 1),
    "tokens, as many as channels": (tokens, lambda: nn.Linear(4, 16), lambda: nn.BatchNorm1d(16), 0),
    "tokens, fewer than channels": (tokens, lambda: nn.Linear(4, 32), lambda: nn.BatchNorm1d(16), 0),
    "a line of pixels": (lambda x: x.flatten(2), lambda: nn.Conv1d(4, 6, 3), lambda: nn.BatchNorm1d(6), 1),
    "tokens of all images": (tokens, lambda: nn.Sequential(nn.Linear(4, 6), nn.Flatten(0, 1)), lambda: nn.BatchNorm1d(6), 1),
    "tokens, channels moved": (tokens, lambda: nn.Sequential(nn.Linear(4, 16), Transposed()), lambda: nn.BatchNorm1d(16), 1),
    "some of the channels": (nn.Identity(), lambda: nn.Sequential(nn.Conv2d(4, 8, 1), Half()), lambda: nn.BatchNorm2d(4), 0),
    "channels and tokens in one": (tokens, lambda: nn.Sequential(nn.Linear(4, 2), nn.Flatten(1)), lambda: nn.BatchNorm1d(32), 0),
    "channels shuffled": (nn.Identity(), lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.ChannelShuffle(2)), lambda: nn.BatchNorm2d(6), 0),
    "without statistics": (nn.Identity(), lambda: nn.Conv2d(4, 6, 1), lambda: nn.BatchNorm2d(6, track_running_stats=False), 0),
}


def test_norm_of_a_layer_whose_shape_alone_is_read_again_is_folded():
    class Shaped(nn.Module):  # as in LeViT
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
            nn.init.normal_(self.norm.running_mean)

        def forward(self, x):
            x = self.linear(x)
            return self.norm(x.flatten(0, 1)).reshape_as(x)

    model, x = Shaped(), torch.randn(5, 3, 4)
    graph_module = trace(model, torch.zeros(2, 3, 4))
    assert fold_and_check(graph_module, x) == 1
    torch.testing.assert_close(graph_module(x), model(x))


@pytest.mark.parametrize("case", BY_AXIS)
def test_norm_is_folded_along_the_axis_of_channels_alone(case):
    features, layer, norm, count = BY_AXIS[case]
    model, x = Normalized(features, layer(), norm()).eval(), torch.randn(5, 4, 4, 4)
    graph_module = trace(model, torch.zeros(2, 4, 4, 4))
    assert fold_and_check(graph_module, x) == count
    torch.testing.assert_close(graph_module(x), model(x))


def test_norm_that_folding_changes_is_refused(monkeypatch):
    monkeypatch.setitem(CHANNEL_AXIS_FROM_END, aten.linear.default, 2)  # as if tokens were channels
    graph_module = trace(Normalized(tokens, nn.Linear(4, 16), nn.BatchNorm1d(16)), torch.zeros(2, 4, 4, 4))
    with pytest.raises(InputError, match=r"its 1 BatchNorms change the logits by \d.* when they are folded"):
        fold_and_check(graph_module, torch.zeros(2, 4, 4, 4))


class Chaotic(nn.Module):
    """Amplifies the last bits of its layer's values until they are all that its result depends on."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return (self.norm(self.layer(x)) * 2**24).sin().mean((2, 3))


def test_network_that_rounding_changes_as_much_is_folded():
    model = Chaotic()
    model.norm.running_var.uniform_(0.5, 2)
    model.eval()
    graph_module = trace(model, torch.zeros(2, 4, 4, 4))
    assert fold_and_check(graph_module, torch.zeros(2, 4, 4, 4)) == 1


# Layers that the released code of Q-HyViT wraps: 90 in every MobileViTv1, 65 in every MobileViTv2.
@pytest.mark.parametrize(("name", "norms", "sites"), [("mobilevit_xxs", 32, 90), ("mobilevitv2_050", 25, 65)])
def test_folded_network_is_equal_and_has_all_sites(name, norms, sites):
    model, traced = traced_network(name)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == norms
    assert not traced.graph_module.graph.find_nodes(op="call_function", target=aten.batch_norm.default)
    x = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        expected, folded = model(x), traced.graph_module(x)
    assert float((folded - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert len({site.name for site in traced.sites}) == len(traced.sites) == sites
    modules = dict(model.named_modules())
    for site in traced.sites:
        if site.kind == "conv":
            assert site.groups == modules[site.name].groups
