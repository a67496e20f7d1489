"""Image files that decoders refuse, each in one line that names the file, and names of files that lead out of their folder."""

import zlib

import pytest
from conftest import write_images
from PIL import Image, PngImagePlugin

from qhyvit.config.dataset import Dataset
from qhyvit.data.entries import FORMATS, read_image
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest
from qhyvit.errors import InputError

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


def png_chunk(kind, content):
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def png(width, height, *chunks):
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + b"".join([png_chunk(b"IHDR", size), *chunks, png_chunk(b"IDAT", zlib.compress(bytes(4)))])


LONG_TEXT = png_chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(PngImagePlugin.MAX_TEXT_CHUNK + 1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (EPS, r"damaged or no image of a format that is read \(BMP, GIF, .*WEBP\)"),
        (b"", r"damaged or no image of a format that is read"),
        (png(2**16, 2**16), r"damaged or no image \(Image size \(4294967296 pixels\) exceeds limit"),
        (png(1, 1, LONG_TEXT), r"damaged or no image \(Decompressed data too large"),
        (b"P6\n8 8\nx\n", r"damaged or no image \("),
        (b"P5\n2 2\n255\n\x00", r"damaged or no image \("),
    ],
    ids=["eps", "empty", "too-many-pixels", "long-text", "broken-ppm", "short-ppm"],
)
def test_image_that_is_not_decoded_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"image\.png: {message}.*; replace it with an intact copy, or remove it$") as error:
        read_image(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("format", FORMATS)
def test_image_of_each_stated_format_is_read(tmp_path, format):
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "image", format)
    assert read_image(tmp_path / "image").getpixel((0, 0)) == (255, 255, 255)


@pytest.fixture
def folder(tmp_path):
    """Two images, and one in the folder around them."""
    write_images(tmp_path / "set", 2, seed=0)
    Image.new("RGB", (4, 4)).save(tmp_path / "private.png")
    return tmp_path / "set"


@pytest.mark.parametrize("name", ["../private.png", "sub/../../private.png", "{absolute}"])
def test_file_outside_the_folder_is_refused(folder, name):
    name = name.format(absolute=folder.parent / "private.png")
    (folder / "labels.csv").write_text(f"filename,label\n000.png,0\n{name},1\n")
    with pytest.raises(InputError, match=rf"labels\.csv: '{name}' leads out of .*set; name files below this folder"):
        read_entries(folder, 2)


def test_file_in_a_subfolder_is_listed(folder):
    (folder / "sub").mkdir()
    (folder / "000.png").rename(folder / "sub/..a.png")
    (folder / "labels.csv").write_text("filename,label\nsub/..a.png,0\n001.png,1\n")
    assert [entry.path for entry in read_entries(folder, 2)] == [folder / "001.png", folder / "sub/..a.png"]


HEADER = "split,filename,label,pixels_sha256,offset,size\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}calibration,../private.png,0,0,,\n", r"'\.\./private\.png' leads out of "),
        ("filename,label\n000.png,0\n", r"not written by `qhyvit fetch images` \(KeyError: .*; give a file that is"),
        (f"{HEADER}calibration,000.png,0,0,,\ncalibration,./000.png,1,0,,\n", r"not written by .*it lists an image twice"),
        (f"{HEADER}calibration,000.png,2,0,,\n", r"label 2 of .*000\.png is outside 0\.\.1; write the manifest again by"),
        (f"{HEADER}calibration,000.png,-1,0,,\n", r"label -1 of .*000\.png is outside 0\.\.1"),
        (f"{HEADER}evaluation,000.png,0,0,,\n", r"lists no calibration images; write it again by `qhyvit fetch images`$"),
        ("", r"not written by `qhyvit fetch images` \(EmptyDataError: "),
        (None, r"not written by `qhyvit fetch images` \(FileNotFoundError: "),
    ],
    ids=["outside", "other-table", "twice", "other-label", "negative-label", "other-split", "empty", "missing"],
)
def test_manifest_of_another_writer_is_refused(folder, tmp_path, content, message):
    if content is not None:
        (tmp_path / "images.csv").write_text(content)
    with pytest.raises(InputError, match=rf"images\.csv: {message}"):
        read_manifest(Dataset(name="mine", classes=2, calibration=folder, evaluation=folder), tmp_path / "images.csv", "calibration")
