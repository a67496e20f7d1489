"""Record of the origin of a result."""

import hashlib

import torch

from qhyvit.provenance import provenance


def test_record_names_all_that_can_change_a_result(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    record = provenance({"weights": tmp_path / "weights"}, {"seed": 0}, device="cuda")
    assert record["inputs"] == {"weights": hashlib.sha256(b"weights").hexdigest()}
    assert record["settings"] == {"seed": 0}
    assert (record["torch"], record["device"], record["threads"]) == (torch.__version__, "cuda", 1)
    assert record["processor"]


def test_hash_of_settings_does_not_depend_on_their_order():
    records = (provenance({}, settings) for settings in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}))
    first, second, other = (record["settings_sha256"] for record in records)
    assert first == second != other
