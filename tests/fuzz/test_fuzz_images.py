"""Image files with changed bytes, and the lists of images: labels.csv and the manifest."""

import json
import struct
import zlib
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import write_images
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import fuzz, listed, mutated_bytes, mutated_text, mutated_tree, result_or_refusal
from PIL import Image

from qhyvit.config.dataset import Dataset
from qhyvit.data.dvc import DVC_FILE, tracked_hash
from qhyvit.data.entries import FORMATS, read_image
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.data.stamps import data_state, places_of
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.correctness import correct_table

pytestmark = pytest.mark.filterwarnings("ignore")  # of Pillow
FOLDER, MANIFEST, STAMPS, IMAGE = Path("set"), Path("images.csv"), Path("stamps.csv"), Path("image")
CATALOG = read_catalog(METHODS_FILE)
DATASET = Dataset(name="mine", classes=2, calibration=FOLDER / "one", evaluation=FOLDER / "two")
MODES = {"PNG": ("RGB", "P", "LA", "I;16"), "TIFF": ("RGB", "F", "I;16"), "JPEG": ("RGB", "CMYK"), "GIF": ("P",)}


def encoded(format: str, mode: str) -> bytes:
    """An image of random values in a format of files."""
    values = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image = Image.fromarray(values) if mode != "I;16" else Image.fromarray(values[..., 0].astype(np.uint16) * 257)
    buffer = BytesIO()
    image.convert(mode).save(buffer, format)
    return buffer.getvalue()


IMAGES = {f"{format} {mode}": encoded(format, mode) for format in FORMATS for mode in MODES.get(format, ("RGB",))}


@st.composite
def mutated_png(draw: st.DrawFn) -> bytes:
    """A PNG of changed chunks whose checksums hold, so that decoders look at what is in them."""
    chunks, rest = [], IMAGES[draw(st.sampled_from([name for name in IMAGES if name.startswith("PNG")]))][8:]
    while rest:
        length = int.from_bytes(rest[:4], "big")
        chunks.append((rest[4:8], rest[8 : 8 + length]))
        rest = rest[12 + length :]
    place = draw(st.integers(0, len(chunks) - 1))
    chunks[place] = (
        draw(st.sampled_from([chunks[place][0], b"tRNS", b"iCCP", b"zTXt", b"acTL", b"fdAT"])),
        draw(mutated_bytes(chunks[place][1])),
    )
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts])


def is_picture(content: bytes) -> None:
    IMAGE.write_bytes(content)
    image = result_or_refusal(partial(read_image, IMAGE), "image: ")
    assert image is None or (image.mode == "RGB" and len(image.tobytes()) == 3 * image.width * image.height)


@pytest.mark.parametrize("kind", IMAGES)
@fuzz(0.25)
@given(data=st.data())
def test_image_of_changed_bytes_is_read_or_refused(scratch, kind, data):
    is_picture(data.draw(mutated_bytes(IMAGES[kind])))


@fuzz(0.4)
@given(content=mutated_png())
def test_png_of_changed_chunks_is_read_or_refused(scratch, content):
    is_picture(content)


@fuzz(0.1)
@given(data=st.data())
@example(data=None)
def test_image_part_is_read_or_refused(scratch, data):
    IMAGE.write_bytes(IMAGES["PNG RGB"])
    part = data.draw(st.tuples(st.integers(-5, 500), st.integers(-5, 2**40))) if data else (0, 2**40)
    result_or_refusal(partial(read_image, IMAGE / "name", part), "image/name: ")


@pytest.fixture(scope="module")
def folders(scratch):
    """Two folders of images, and their manifest."""
    write_images(DATASET.calibration, 3, seed=0)
    write_images(DATASET.evaluation, 3, seed=1)
    write_manifest(DATASET, MANIFEST, STAMPS)
    return {path: path.read_text() for path in (MANIFEST, STAMPS, DATASET.calibration / "labels.csv")}


def mutated_table(text: str) -> st.SearchStrategy[bytes]:
    return mutated_bytes(text.encode()) | mutated_text(text).map(lambda changed: changed.encode("utf-8", "surrogatepass"))


@fuzz(0.8)
@given(data=st.data())
def test_labels_are_read_or_refused(folders, data):
    labels = DATASET.calibration / "labels.csv"
    labels.write_bytes(data.draw(mutated_table(folders[labels])))
    before = listed(FOLDER)
    entries = result_or_refusal(partial(read_entries, DATASET.calibration, 2), "labels.csv")
    labels.write_text(folders[labels])
    assert listed(FOLDER) == before
    for entry in entries or []:
        assert entry.path.is_file()
        assert entry.path.resolve().is_relative_to(DATASET.calibration.resolve())
        assert entry.label in (0, 1)


@fuzz(0.8)
@given(data=st.data())
def test_manifest_is_read_or_refused(folders, data):
    MANIFEST.write_bytes(data.draw(mutated_table(folders[MANIFEST])))
    entries = result_or_refusal(partial(read_manifest, DATASET, MANIFEST, "calibration"), "images.csv: ")
    for entry in entries or []:
        assert entry.path.is_relative_to(DATASET.calibration)
        assert type(entry.label) is int
        assert entry.part is None or (type(entry.part[0]), type(entry.part[1])) == (int, int)
        result_or_refusal(partial(read_image, entry.path, entry.part), str(DATASET.calibration))
    result_or_refusal(partial(correct_table, [], MANIFEST, CATALOG), "images.csv: ")


@fuzz(0.3)
@given(data=st.data())
def test_stamps_are_read_or_count_as_none(folders, data):
    STAMPS.write_bytes(data.draw(mutated_table(folders[STAMPS])))
    state, changed = data_state(STAMPS, places_of(DATASET))
    assert isinstance(state, str)
    assert all(isinstance(path, Path) for path in changed)


@fuzz(0.2)
@given(content=mutated_tree({"outs": [{"path": "data/a.png", "md5": "1f"}, {"path": "data/b", "md5": "2f.dir"}]}))
@example(content={"outs": None})
def test_file_of_dvc_is_read_or_refused(scratch, content):
    DVC_FILE.write_text(json.dumps(content))
    result_or_refusal(partial(tracked_hash, Path("data/a.png")), "data.dvc")
    result_or_refusal(partial(read_image, Path("missing.png")), "missing.png", "data.dvc")
    DVC_FILE.unlink()
