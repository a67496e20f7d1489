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


def test_a_repository_that_cannot_be_is_named(tmp_path):
    with pytest.raises(InputError, match=r"net\.safetensors: \.\./\.\. could not be downloaded \(.*\); connect"):
        weights.download(HubSource(hub="../.."), tmp_path / "net.safetensors")


def test_folder_in_which_no_lock_can_be_made_is_named(tmp_path):
    (tmp_path / "net.safetensors").touch()
    (tmp_path / "reports/weights.lock.guard").mkdir(parents=True)
    with pytest.raises(
        InputError, match=r"reports: no folder in which files can be made \(Is a directory\); give another, or make it one$"
    ):
        weights.pin_hash(tmp_path / "net.safetensors", Path("net.safetensors"), tmp_path / "reports/weights.lock.yaml")


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
