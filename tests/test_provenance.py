"""Record of the origin of a result."""

import hashlib
import platform
from pathlib import Path

import torch

from qhyvit.provenance import processor, provenance


def test_record_names_all_that_can_change_a_result(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    record = provenance({"weights": tmp_path / "weights"}, {"seed": 0}, device="cuda")
    assert record["inputs"] == {"weights": hashlib.sha256(b"weights").hexdigest()}
    assert record["settings"] == {"seed": 0}
    assert (record["torch"], record["device"], record["threads"]) == (torch.__version__, "cuda", 1)
    assert record["processor"]


def test_processor_is_the_model_that_the_system_names(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda _: "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Another\n")
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert processor() == "Some CPU @ 3 GHz"
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert processor() == "unknown"


def test_hash_of_settings_does_not_depend_on_their_order():
    records = (provenance({}, settings) for settings in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}))
    first, second, other = (record["settings_sha256"] for record in records)
    assert first == second != other
