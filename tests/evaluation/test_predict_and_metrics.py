import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.evaluation.predict import predict
from qhyvit.graph.memory_layout import with_channels_last
from qhyvit.graph.trace import trace


def test_top1_against_a_loop():
    logits, labels = torch.randn(50, 3), torch.randint(0, 3, (50,))
    expected = [max(range(3), key=row.__getitem__) == label for row, label in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert top1_correct(logits, labels).tolist() == expected


def test_kl_against_scipy():
    reference, logits = torch.randn(9, 5), torch.randn(9, 5)
    expected = np.mean([entropy(p, q) for p, q in zip(reference.double().softmax(1), logits.double().softmax(1), strict=True)])
    assert mean_kl(reference, logits) == pytest.approx(expected, rel=1e-6)
    assert mean_kl(logits, logits) == pytest.approx(0, abs=1e-12)


def test_many_networks_share_one_reading_of_the_images():
    images = [(torch.randn(count, 3, 8, 8), torch.arange(count)) for count in (3, 3, 1)]
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 5)) for _ in range(2)]
    logits, labels = predict(networks, iter(images))
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    for network, found in zip(networks, logits, strict=True):
        expected = torch.stack([network(image[None])[0] for batch, _ in images for image in batch])
        assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(*logits, atol=1e-2)


class Filtered(nn.Module):
    """A convolution, a filter of frequencies by a complex parameter [C, H, W / 2 + 1, 2], and a product with a parameter of five axes."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.filter, self.scale = nn.Parameter(torch.randn(4, 8, 5, 2)), nn.Parameter(torch.randn(1, 1, 4, 1, 1))

    def forward(self, x):
        frequencies = torch.fft.rfft2(self.conv(x)) * torch.view_as_complex(self.filter)
        return self.head((torch.fft.irfft2(frequencies, s=(8, 8))[:, None] * self.scale)[:, 0].mean((2, 3)))


def test_weights_of_convolutions_alone_are_channels_last_in_copies():
    network = trace(Filtered(), torch.randn(2, 3, 8, 8))
    images = torch.randn(1, 3, 8, 8)
    expected, strides = network(images), {name: tensor.stride() for name, tensor in network.named_parameters()}
    (logits,), _ = predict([network], [(images, torch.zeros(1))])
    assert torch.allclose(logits, expected, atol=1e-5)
    assert {name: tensor.stride() for name, tensor in network.named_parameters()} == strides
    changed = {name: tensor.stride() for name, tensor in with_channels_last(network).named_parameters() if tensor.stride() != strides[name]}
    assert changed == {"conv.weight": (27, 1, 9, 3)}


class Viewed(nn.Module):
    """Makes a vector of a map by a view, as classifiers often do."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 6 * 6, 5)

    def forward(self, x):
        return self.head(self.conv(x).relu().view(x.shape[0], -1))


def test_view_of_a_map_is_evaluated():
    network, image = trace(Viewed(), torch.randn(2, 3, 8, 8)), torch.randn(3, 8, 8)
    (logits,), _ = predict([network], [(image[None], torch.zeros(1))])
    assert torch.allclose(logits, network(image[None]), atol=1e-5)
