"""Files of decoded images with changed bytes, headers and tables."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_images
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzz, mutated_bytes, mutated_text, result_or_refusal
from timm.data import create_transform

from qhyvit.data.decoded import Batches, decode
from qhyvit.data.entries import pixel_hash, read_image
from qhyvit.data.labelled_folder import read_entries

FOLDER = Path("decoded")
TRANSFORM = create_transform((3, 6, 6), crop_pct=1.0)
SHAPE = (4, 6, 6, 3)
TYPES = ["|i1", "|b1", "|S1", "|V1", "<u2", "<f2", "|O", "|u1"]
SHAPES = [(4, 108), (4, 3, 36, 1), (4, 6, 3, 6), (4, 1, 36, 3), (432,), (5, 6, 6, 3), (2**40, 6, 6, 3), (0, 6, 6, 3), ()]


@pytest.fixture(scope="module")
def entries(scratch):
    """Four checked images."""
    write_images(Path("images"), 4, seed=0)
    found = read_entries(Path("images"), 2)
    return [type(entry)(entry.path, entry.label, pixel_hash(read_image(entry.path))) for entry in found]


@pytest.fixture(scope="module")
def images(entries):
    """File of the decoded images, its content and that of its table, and the inputs [4, 3, 6, 6] in it."""
    decoded = decode(entries, TRANSFORM, FOLDER)
    return decoded.path, decoded.path.read_bytes(), decoded.path.with_suffix(".csv").read_text(), inputs_of(entries)


def inputs_of(entries):
    return torch.cat([inputs for inputs, _ in Batches(decode(entries, TRANSFORM, FOLDER), 3, range(len(entries)))])


def array(kind, shape, content):
    """An array in NumPy's format of which only the header is changed."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + content


@fuzz(0.3)
@given(data=st.data())
@example(data=("|i1", SHAPE))
@example(data=("|b1", SHAPE))
@example(data=("|S1", SHAPE))
@example(data=("|u1", (4, 3, 36, 1)))
@example(data=("|u1", (4, 6, 3, 6)))
@example(data=b"")
def test_decoded_images_are_those_that_were_written_or_refused(entries, images, data):
    path, content, table, expected = images
    pixels, changed_table = content[-np.prod(SHAPE) :], table
    if isinstance(data, bytes):
        changed = data
    elif isinstance(data, tuple):
        changed = array(*data, pixels)
    elif data.draw(st.booleans()):
        changed = array(data.draw(st.sampled_from(TYPES)), data.draw(st.sampled_from([SHAPE, *SHAPES])), pixels)
    else:
        changed = data.draw(st.just(content) | mutated_bytes(content))
        changed_table = data.draw(st.just(table) | mutated_text(table))
    path.write_bytes(changed)
    path.with_suffix(".csv").write_text(changed_table, errors="surrogateescape")
    inputs = result_or_refusal(partial(inputs_of, entries), str(path))
    assert inputs is None or torch.equal(inputs, expected)
