"""Labelled images: one entry per image, with what reads and checks them. It does not import torch, so that plans of runs are fast."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from qhyvit.data.dvc import how_to_repair
from qhyvit.errors import InputError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others, such as EPS, may start programs

UNKNOWN_RANGES = {"F": "floating-point numbers", "I": "integers of 32 bits"}  # by mode of Pillow


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

    Of 16-bit values, the upper 8 bits are kept. Raises InputError if the image is damaged, has more pixels than Pillow allows, is of none
    of `FORMATS`, or has values without a known range: floating-point numbers, or integers of 32 bits.
    """
    try:
        with path.open("rb") if part is None else _read_part(path.parent, *part) as file, Image.open(file, formats=FORMATS) as image:
            return _to_rgb(image, path)
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{path}: damaged or no image of a format that is read ({', '.join(FORMATS)}); {how_to_repair(path)}") from error
    except Exception as error:  # of any kind, by Pillow's decoders
        raise InputError(f"{path}: damaged or no image ({' '.join(str(error).split())}); {how_to_repair(path)}") from error


def read_bytes(entry: Entry) -> bytes:
    """Read the file of an image as it is, from its folder or its archive."""
    return entry.path.read_bytes() if entry.part is None else _read_part(entry.path.parent, *entry.part).getvalue()


def _to_rgb(image: Image.Image, path: Path) -> Image.Image:
    """Convert an image to RGB. Pillow itself clips grey values of more than 8 bits at 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):  # both from 0 to 65,535
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in UNKNOWN_RANGES:
        raise InputError(
            f"{path}: its pixels are {UNKNOWN_RANGES[image.mode]} (mode {image.mode}), whose range is unknown; save it with 8 or 16 bits"
        )
    return image.convert("RGB")


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
