import multiprocessing
import socket
import threading
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub.utils import get_session
from safetensors.torch import load_file, save_file

from qhyvit.config.models import HubSource
from qhyvit.data.locks import locked
from qhyvit.errors import InputError
from qhyvit.models import weights

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # the example of FIPS 180-2, Appendix B.1


def test_a_download_is_copied_whole(tmp_path, monkeypatch):
    save_file({"w": torch.ones(2)}, tmp_path / "cached")
    monkeypatch.setattr(weights, "hf_hub_download", lambda repository, filename: tmp_path / "cached")
    weights.download(HubSource(hub="timm/net.tag"), tmp_path / "data/net.safetensors")
    assert torch.equal(load_file(tmp_path / "data/net.safetensors")["w"], torch.ones(2))


@pytest.mark.parametrize(("content", "accepted"), [(b"abc", True), (b"abd", False)])
def test_download_with_another_hash_than_the_hub_states_is_refused(tmp_path, monkeypatch, content, accepted):
    blob, link = tmp_path / "blobs" / SHA256_OF_ABC, tmp_path / "model.safetensors"
    blob.parent.mkdir()
    blob.write_bytes(content)
    link.symlink_to(blob)
    monkeypatch.setattr(weights, "hf_hub_download", lambda repository, filename: str(link))
    refused = pytest.raises(InputError, match=rf"net\.safetensors: timm/net\.tag was downloaded to .*{SHA256_OF_ABC} with another sha256")
    with nullcontext() if accepted else refused:
        weights.download(HubSource(hub="timm/net.tag"), tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").exists() == accepted


def test_published_weights_with_another_hash_than_the_hub_states_are_refused(tmp_path, monkeypatch):
    blob = tmp_path / SHA256_OF_ABC
    blob.write_bytes(b"abd")
    asked = []
    monkeypatch.setattr(weights, "hf_hub_download", lambda *names: asked.append(names) or str(blob))
    with pytest.raises(InputError, match=rf"^mobilevit_xxs: timm/mobilevit_xxs\.cvnets_in1k was downloaded to .*{SHA256_OF_ABC} with"):
        weights.check_published("mobilevit_xxs")
    blob.write_bytes(b"abc")
    weights.check_published("mobilevit_xxs")
    assert asked == 2 * [("timm/mobilevit_xxs.cvnets_in1k", "model.safetensors")]


@pytest.mark.parametrize("constructor", ["gcvit_tiny", "mobile_former_26m"])
def test_published_weights_whose_hash_nobody_states_are_refused(constructor):
    with pytest.raises(InputError, match=f"^{constructor}: timm publishes no weights on the hub, whose hash could be checked; give a file"):
        weights.check_published(constructor)


def test_connection_that_breaks_is_one_line(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()  # without an answer
        url = f"http://127.0.0.1:{server.getsockname()[1]}/model.safetensors"
        monkeypatch.setattr(weights, "hf_hub_download", lambda repository, filename: get_session().get(url))
        with pytest.raises(InputError, match=r"net\.safetensors: timm/net\.tag could not be downloaded \(.+\); check the network"):
            weights.download(HubSource(hub="timm/net.tag"), tmp_path / "net.safetensors")


def test_an_unreachable_hub_is_named(tmp_path, monkeypatch):
    def fail(repository, filename):
        raise OSError("no route to host")

    monkeypatch.setattr(weights, "hf_hub_download", fail)
    with pytest.raises(InputError, match=r"timm/net\.tag could not be downloaded \(no route to host\)"):
        weights.download(HubSource(hub="timm/net.tag"), tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_cannot_be_is_named(tmp_path):
    with pytest.raises(InputError, match=r"net\.safetensors: \.\./\.\. could not be downloaded \(Repo id must .*\); check the network"):
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
    assert yaml.safe_load(lock.read_text()) == {"${WEIGHTS}/net.safetensors": SHA256_OF_ABC}
    weights.pin_hash(path, stated, lock)
    path.write_bytes(b"abd")
    with pytest.raises(InputError, match=rf"net\.safetensors: sha256 .* is not {SHA256_OF_ABC}"):
        weights.pin_hash(path, stated, lock)


def test_pins_of_two_processes_are_both_kept(tmp_path):
    """One waits for the lock that the other holds while it reads and writes the pins."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    lock = tmp_path / "weights.lock.yaml"
    pin = partial(weights.pin_hash, tmp_path / "two", Path("two"), lock)
    with locked(lock.with_suffix(".guard")):
        other = multiprocessing.get_context("fork").Process(target=pin)
        other.start()
        other.join(1)
        assert other.is_alive()
        assert not lock.exists()
    other.join()
    assert other.exitcode == 0
    weights.pin_hash(tmp_path / "one", Path("one"), lock)
    assert yaml.safe_load(lock.read_text()).keys() == {"one", "two"}
