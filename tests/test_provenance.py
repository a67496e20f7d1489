"""Record of the origin of a result."""

import hashlib
from importlib.metadata import version

import torch

import qhyvit.provenance as provenance_module
from qhyvit.provenance import provenance


def test_record_names_all_that_can_change_a_result(tmp_path, monkeypatch):
    (tmp_path / "weights").write_bytes(b"weights")
    monkeypatch.setattr(provenance_module, "git_commit", lambda: "0123456")
    monkeypatch.setattr(provenance_module, "processor", lambda: "Kind of processor")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert provenance({"weights": tmp_path / "weights"}, {"seed": 0}, device="cuda") == {
        "package": version("qhyvit"),
        "commit": "0123456",
        "torch": torch.__version__,
        "device": "cuda",
        "processor": "Kind of processor",
        "threads": 3,
        "inputs": {"weights": hashlib.sha256(b"weights").hexdigest()},
        "settings": {"seed": 0},
        "settings_sha256": hashlib.sha256(b'{"seed": 0}').hexdigest(),
    }


def test_hash_of_settings_does_not_depend_on_their_order():
    records = (provenance({}, settings) for settings in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}))
    first, second, other = (record["settings_sha256"] for record in records)
    assert first == second != other
