import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from qhyvit.config.models import HubSource
from qhyvit.errors import InputError
from qhyvit.models import weights


def test_a_download_is_copied_whole(tmp_path, monkeypatch):
    save_file({"w": torch.ones(2)}, tmp_path / "cached")
    monkeypatch.setattr(weights, "hf_hub_download", lambda repository, filename: tmp_path / "cached")
    weights.download(HubSource(hub="timm/net.tag"), tmp_path / "data/net.safetensors")
    assert torch.equal(load_file(tmp_path / "data/net.safetensors")["w"], torch.ones(2))


def test_an_unreachable_hub_is_named(tmp_path, monkeypatch):
    def fail(repository, filename):
        raise OSError("no route to host")

    monkeypatch.setattr(weights, "hf_hub_download", fail)
    with pytest.raises(InputError, match=r"timm/net\.tag could not be downloaded \(no route to host\)"):
        weights.download(HubSource(hub="timm/net.tag"), tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_becomes_safetensors(tmp_path):
    torch.save({"epoch": 3, "state_dict": {"module.w": torch.arange(6.0).view(2, 3).t()}}, tmp_path / "net.pth.tar")
    weights.convert_checkpoint(tmp_path / "net.pth.tar", tmp_path / "net.safetensors")
    assert torch.equal(load_file(tmp_path / "net.safetensors")["w"], torch.arange(6.0).view(2, 3).t())


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_checkpoint_with_code_in_it_is_not_opened(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    save({"state_dict": {"w": torch.ones(1)}, "args": Trap()}, tmp_path / "net.pth.tar")
    with pytest.raises(InputError, match=r"net\.pth\.tar: cannot be opened safely"):
        weights.convert_checkpoint(tmp_path / "net.pth.tar", tmp_path / "net.safetensors")
    assert not (tmp_path / "trap-was-sprung").exists()
    assert not (tmp_path / "net.safetensors").exists()


def test_weights_with_another_hash_than_recorded_are_refused(tmp_path):
    path, lock = tmp_path / "net.safetensors", tmp_path / "weights.lock.yaml"
    path.write_bytes(b"abc")
    stated = Path("${WEIGHTS}/net.safetensors")
    weights.pin_hash(path, stated, lock)
    # The example of FIPS 180-2, Appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert yaml.safe_load(lock.read_text()) == {"${WEIGHTS}/net.safetensors": expected}
    weights.pin_hash(path, stated, lock)
    path.write_bytes(b"abd")
    with pytest.raises(InputError, match=rf"net\.safetensors: sha256 .* is not {expected}"):
        weights.pin_hash(path, stated, lock)
