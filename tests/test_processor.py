"""Name and instructions of the processor."""

import platform
from pathlib import Path

import pytest

from qhyvit.processor import adds_in_16_bits, processor

NAMES = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t: {}\n\nprocessor\t: 1\nmodel name\t: Another\n"


@pytest.mark.parametrize(
    ("flags", "name", "in_16_bits"),
    [
        ("fpu avx2", "Some CPU @ 3 GHz", True),
        ("fpu avx2 avx_vnni", "Some CPU @ 3 GHz with VNNI", False),
        ("avx2 avx512_vnni", "Some CPU @ 3 GHz with VNNI", False),
        ("asimd", "Some CPU @ 3 GHz", False),
    ],
)
def test_processor_is_the_model_that_the_system_names(monkeypatch, flags, name, in_16_bits):
    monkeypatch.setattr(Path, "read_text", lambda _: NAMES.format(flags))
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert (processor(), adds_in_16_bits()) == (name, in_16_bits)


def test_processor_is_unknown_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert (processor(), adds_in_16_bits()) == ("unknown", False)
