import pytest
import torch

from qhyvit.device import choose_device
from qhyvit.errors import InputError


@pytest.mark.parametrize("stated", ["auto", "cpu"])
def test_without_a_gpu_networks_run_on_the_cpu(monkeypatch, stated):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(stated) == "cpu"


def test_a_gpu_that_is_not_there_is_missed(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: cuda: PyTorch finds no GPU here"):
        choose_device("cuda")


@pytest.mark.parametrize(("stated", "expected"), [("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")])
def test_a_gpu_is_used_where_it_is_wanted_and_there(monkeypatch, stated, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    try:
        assert choose_device(stated) == expected
        assert torch.backends.cudnn.allow_tf32 == (expected == "cpu")
        assert torch.are_deterministic_algorithms_enabled() == (expected == "cuda")
    finally:
        torch.use_deterministic_algorithms(False)
