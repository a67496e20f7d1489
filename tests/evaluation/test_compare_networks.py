"""Table that compares the forms of a network, from logits by hand."""

import pytest
import torch

from qhyvit.evaluation.networks import compare_networks

FP32 = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
QUANTIZED = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]])


def network(logits):
    """A network that looks up its logits by the value of the image."""
    return lambda images: logits[images[:, 0, 0, 0].long()]


@pytest.fixture
def compared():
    images = torch.arange(4.0).view(4, 1, 1, 1)
    return lambda labels: compare_networks({"FP32": network(FP32), "simulation": network(QUANTIZED)}, {}, images, labels)


def test_accuracies_are_those_of_each_network(compared):
    table = compared([1, 1, 1, 0])
    assert table.network.tolist() == ["FP32", "simulation"]
    assert table["top-1 (%)"].tolist() == ["25.00", "50.00"]
    assert table["top-1 equal to FP32 (%)"].tolist() == ["100.00", "75.00"]


def test_divergence_is_the_mean_over_images(compared):
    p = 1 / (1 + torch.tensor(-2.0, dtype=torch.float64).exp())
    of_changed = (p - (1 - p)) * 2  # logits swapped: both logarithms differ by 2
    assert compared(None)["KL from FP32 (nats)"].tolist() == ["0.00000", f"{float(of_changed) / 4:.5f}"]


def test_there_is_no_accuracy_without_labels(compared):
    assert list(compared(None).columns) == ["network", "top-1 equal to FP32 (%)", "KL from FP32 (nats)"]
