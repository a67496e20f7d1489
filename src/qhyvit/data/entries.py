"""Labelled images: one entry per image, with what reads and checks them. It does not import torch, so that plans of runs are fast."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT, TiffImageFile

from qhyvit.data.dvc import how_to_repair
from qhyvit.errors import InputError
from qhyvit.own_files import require_regular

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others, such as EPS, may start programs

UNKNOWN_RANGES = {"F": "floating-point numbers", "I": "integers of 32 bits"}  # by mode of Pillow
SIGNED, WHITE_IS_ZERO = 2, 0  # values of TIFF's SampleFormat and PhotometricInterpretation


@dataclass(frozen=True)
class Entry:
    """Image with its label and, once it has been checked, the hash of its pixels.

    ``path`` is its file; for an image in an uncompressed archive, it is the path of the archive and the name of the image there, and
    ``part`` is the offset and size of the image in the archive, in bytes.
    """

    path: Path
    label: int
    pixels_sha256: str | None = None
    part: tuple[int, int] | None = None


def path_below(folder: Path, filename: str, source: Path) -> Path:
    """Return the path of a file that the list ``source`` names, in ``folder``. Raises InputError for a name that leads out of it."""
    if Path(filename).is_absolute() or ".." in Path(filename).parts:
        raise InputError(f"{source}: {filename!r} leads out of {folder}; name files below this folder, or put the image there")
    return folder / filename


def read_image(path: Path, part: tuple[int, int] | None = None) -> Image.Image:
    """Read the image of an entry's ``path`` and ``part`` as RGB.

    Of values of 12 or 16 bits, the upper 8 are kept. Raises InputError if the image is no regular file, is damaged, has more pixels than
    Pillow allows, is of none of `FORMATS`, or has values without a known range: floating-point numbers, integers that are signed or have
    32 bits.
    """
    require_regular(path if part is None else path.parent)
    try:
        with path.open("rb") if part is None else _read_part(path.parent, *part) as file, Image.open(file, formats=FORMATS) as image:
            _refuse_unknown_range(image, path)
            return _to_rgb(image)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: damaged or no image of a format that is read ({', '.join(FORMATS)}); {how_to_repair(path)}") from error
    except Exception as error:  # of any kind, by Pillow's decoders
        raise InputError(f"{path}: damaged or no image ({' '.join(str(error).split())}); {how_to_repair(path)}") from error


def read_bytes(entry: Entry) -> bytes:
    """Read the file of an image as it is, from its folder or its archive."""
    return entry.path.read_bytes() if entry.part is None else _read_part(entry.path.parent, *entry.part).getvalue()


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to RGB. Pillow itself clips grey values of more than 8 bits at 255."""
    if _is_deep(image):
        return Image.fromarray(_upper_8_bits(image)).convert("RGB")
    return image.convert("RGB")


def _is_deep(image: Image.Image) -> bool:
    """Tell if grey values are from 0 to 4,095 or to 65,535."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def _upper_8_bits(image: Image.Image) -> np.ndarray:
    """Return grey values [H, W] as uint8. Pillow leaves those of a TIFF as its bits and its photometric interpretation have them."""
    values = np.asarray(image)
    if not isinstance(image, TiffImageFile):
        return (values >> 8).astype(np.uint8)
    bits, *_ = image.tag_v2.get(BITSPERSAMPLE, (16,))
    grey = (values >> (bits - 8)).astype(np.uint8)
    return 255 - grey if image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO else grey


def _refuse_unknown_range(image: Image.Image, path: Path) -> None:
    if isinstance(image, TiffImageFile) and SIGNED in image.tag_v2.get(SAMPLEFORMAT, ()):
        said = "signed integers"
    elif image.mode in UNKNOWN_RANGES and not _is_deep(image):
        said = f"{UNKNOWN_RANGES[image.mode]} (mode {image.mode})"
    else:
        return
    raise InputError(f"{path}: its pixels are {said}, whose range is unknown; save it with 8 or 16 bits")


def _read_part(archive: Path, offset: int, size: int) -> BytesIO:
    with archive.open("rb") as file:
        file.seek(offset)
        return BytesIO(file.read(size))


def pixel_hash(image: Image.Image) -> str:
    """Return the sha256 of size and RGB pixels: equal for equal pictures, however their files are named or compressed."""
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def read_checked(entry: Entry) -> Image.Image:
    """Read the image of an entry. Raises InputError if its pixels are not those that were checked."""
    image = read_image(entry.path, entry.part)
    if entry.pixels_sha256 not in (None, pixel_hash(image)):
        raise InputError(f"{entry.path}: has changed since `qhyvit fetch images` checked it; run that command again")
    return image
