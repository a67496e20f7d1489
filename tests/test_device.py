import pytest
import torch

from qhyvit.device import choose_device
from qhyvit.errors import InputError


@pytest.mark.parametrize("stated", ["auto", "cpu"])
def test_cpu_is_chosen_without_a_gpu(monkeypatch, stated):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(stated) == "cpu"


def test_gpu_request_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device: cuda: PyTorch finds no GPU here"):
        choose_device("cuda")


@pytest.mark.parametrize(("stated", "expected"), [("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu")])
def test_gpu_is_used_if_available_and_requested(monkeypatch, stated, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    try:
        assert choose_device(stated) == expected
        assert torch.backends.cudnn.allow_tf32 == (expected == "cpu")
        assert torch.are_deterministic_algorithms_enabled() == (expected == "cuda")
    finally:
        torch.use_deterministic_algorithms(False)
