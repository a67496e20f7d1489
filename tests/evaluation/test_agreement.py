import pytest
import torch

from qhyvit.evaluation.agreement import agreement


def test_agreement_by_hand():
    simulated = torch.tensor([[4.0, 1.0], [0.0, 2.0], [1.0, 0.5], [-8.0, 1.0]])
    found = torch.tensor([[4.0, 1.0], [0.0, 2.4], [1.0, 1.3], [-8.0, 1.8]])
    assert agreement(simulated, found) == pytest.approx({"agreement": 75, "median_difference": 0.05, "largest_difference": 0.1})


def test_equal_logits_agree_exactly():
    logits = torch.randn(5, 3)
    assert agreement(logits, logits) == {"agreement": 100, "median_difference": 0, "largest_difference": 0}
