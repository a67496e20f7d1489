"""Images of more than 8 bits per value: the same picture as with 8 bits, or one line."""

import struct
import zlib

import numpy as np
import pytest
from conftest import write_images
from PIL import Image

from qhyvit.config.dataset import Dataset
from qhyvit.data.entries import read_image
from qhyvit.data.manifest import write_manifest
from qhyvit.errors import InputError

RAMP = np.arange(256, dtype=np.uint16) * 257  # from 0 to 65,535, of equal upper and lower bytes


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path, colour, channels):
    """Write a ramp of one row as PNG of 16 bits, by the specification."""
    values = RAMP.astype(">u2").repeat(channels).tobytes()
    header = struct.pack(">IIBBBBB", 256, 1, 16, colour, 0, 0, 0)
    data = zlib.compress(b"\0" + values)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def write_pnm(path, kind, channels):
    path.write_bytes(kind + b"\n256 1\n65535\n" + RAMP.astype(">u2").repeat(channels).tobytes())


WRITERS = {
    "grey png": lambda path: write_png(path, 0, 1),
    "grey png with alpha": lambda path: write_png(path, 4, 2),
    "colour png": lambda path: write_png(path, 2, 3),
    "colour png with alpha": lambda path: write_png(path, 6, 4),
    "grey tiff": lambda path: Image.fromarray(RAMP[None]).save(path, "TIFF"),
    "grey tiff, big-endian": lambda path: Image.frombytes("I;16B", (256, 1), RAMP.astype(">u2").tobytes()).save(path, "TIFF"),
    "pgm": lambda path: write_pnm(path, b"P5", 1),
    "ppm": lambda path: write_pnm(path, b"P6", 3),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_image_of_16_bits_is_the_same_picture_as_with_8(tmp_path, kind):
    WRITERS[kind](tmp_path / "image")
    image = read_image(tmp_path / "image")
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image)[0], np.arange(256)[:, None].repeat(3, 1))


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(np.float32, r"floating-point numbers \(mode F\)"), (np.int32, "signed integers")],
)
def test_image_of_unknown_range_is_refused_by_name(tmp_path, dtype, said):
    Image.fromarray(RAMP[None].astype(dtype)).save(tmp_path / "image.tif")
    with pytest.raises(InputError, match=rf"image\.tif: its pixels are {said}, whose range is unknown; save it with 8 or 16 bits$"):
        read_image(tmp_path / "image.tif")


def write_tiff(path, values, bits, photometric=1, sample_format=1):
    """Write one row of grey values as TIFF, by the specification: 258 BitsPerSample, 262 PhotometricInterpretation, 339 SampleFormat."""
    packed = np.array([int(digit) for value in values for digit in f"{value:0{bits}b}"], np.uint8)
    content = np.packbits(packed.reshape(-1, 16), axis=1)
    content = (content if bits != 16 else content[:, ::-1]).tobytes()  # values of two whole bytes are little-endian
    width = len(values)
    entries = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 200, 277: 1, 278: 1, 279: len(content), 339: sample_format}
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, entry) for tag, entry in entries.items()
    )
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + content)


@pytest.mark.parametrize(
    ("bits", "photometric", "expected"),
    [(8, 1, range(256)), (8, 0, range(255, -1, -1)), (12, 1, range(256)), (16, 1, range(256)), (16, 0, range(255, -1, -1))],
)
def test_grey_tiff_is_scaled_by_its_bits_and_inverted_where_white_is_zero(tmp_path, bits, photometric, expected):
    write_tiff(tmp_path / "image.tif", [value << (bits - 8) for value in range(256)], bits, photometric)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "image.tif"))[0, :, 0], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_of_signed_integers_is_refused(tmp_path, bits):
    write_tiff(tmp_path / "image.tif", range(256), bits, sample_format=2)
    with pytest.raises(InputError, match=r"image\.tif: its pixels are signed integers, whose range is unknown; save it with 8 or 16 bits$"):
        read_image(tmp_path / "image.tif")


def test_images_that_differ_above_8_bits_do_not_overlap(tmp_path):
    for name, seed in (("one", 0), ("two", 1)):
        write_images(tmp_path / name, 2, seed=seed)
        values = np.random.default_rng(seed).integers(2**9, 2**16, (16, 16), dtype=np.uint16)
        Image.fromarray(values).save(tmp_path / name / "000.png")
    dataset = Dataset(name="mine", classes=2, calibration=tmp_path / "one", evaluation=tmp_path / "two")
    write_manifest(dataset, tmp_path / "images.csv")
    assert (tmp_path / "images.csv").exists()
