"""Archives of ImageNet and CIFAR-10 with changed bytes and members."""

import gzip
import io
import subprocess
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ilsvrc import read_entries, write_archives
from mutations import bounded, fuzz, listed, mutated_bytes, result_or_refusal
from PIL import Image
from tar_archives import packed

from qhyvit.data import cifar10, imagenet
from qhyvit.data.imagenet import DEVKIT, TRAIN, VALIDATION, place
from qhyvit.errors import InputError

ROOT, OUTPUT = Path("archives"), Path("output")
SPLITS = {TRAIN: "train", VALIDATION: "val", DEVKIT: "val"}
KINDS = [
    tarfile.REGTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
    tarfile.GNUTYPE_SPARSE,
    tarfile.XHDTYPE,
    b"z",
]
NAMES = [
    "n01000000.tar",
    "n01000000_1.JPEG",
    "ILSVRC2012_val_00000001.JPEG",
    "../escape.JPEG",
    "/tmp/escape",
    "a\nb",
    "é" * 200,
    "",
    "package/a",
]
SIZES = [0, 1, 600, 10**6, 2**33, 2**62, -1, -512, -1024]


@pytest.fixture(scope="module")
def archives(scratch):
    """Content of the archives of a miniature ILSVRC2012."""
    write_archives(ROOT)
    return {name: (ROOT / name).read_bytes() for name in SPLITS}


@st.composite
def mutated_tar(draw: st.DrawFn, content: bytes) -> bytes:
    """Change one header, whose checksum holds."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        member = draw(st.sampled_from(archive.getmembers()))
    member.name = draw(st.sampled_from([member.name, member.name, *NAMES]))
    member.type = draw(st.sampled_from([member.type, *KINDS]))
    member.linkname = draw(st.sampled_from(["", "/etc/passwd", "../../escape"]))
    size = draw(st.sampled_from([member.size, member.size, *SIZES]))
    cut = draw(st.sampled_from([len(content), len(content), member.offset + 512]))
    return with_header(content, member, size)[:cut]


def with_header(content: bytes, member: tarfile.TarInfo, size: int) -> bytes:
    """Put a header of that ``size`` in the place of the one that ``member`` was read from."""
    member.size = 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))[-512:]
    if size < 8**11:
        header[124:136] = b"%011o\0" % size if size >= 0 else b"\xff" * 4 + (size % 2**64).to_bytes(8, "big")
    else:
        header[124:136] = b"\x80\0\0\0" + size.to_bytes(8, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return content[: member.offset] + header + content[member.offset + 512 :]


@pytest.mark.parametrize("name", SPLITS)
@fuzz(0.8)
@given(data=st.data())
def test_archive_of_changed_members_is_read_or_refused(archives, name, data):
    if data.draw(st.booleans()):
        content = data.draw(mutated_bytes(archives[name]))
    elif name == DEVKIT:  # no other bytes in it: loadmat may crash on them
        content = gzip.compress(data.draw(mutated_tar(gzip.decompress(archives[name]))), 1)
    else:
        content = data.draw(mutated_tar(archives[name]))
    refuses_or_lists(archives, name, content)


def refuses_or_lists(archives, name, content):
    (ROOT / name).write_bytes(content)
    entries = result_or_refusal(partial(read_entries, place(ROOT / SPLITS[name]), 3), *SPLITS)
    (ROOT / name).write_bytes(archives[name])
    assert listed(Path()) == ["archives", *(f"archives/{file}" for file in sorted(SPLITS))]
    for entry in entries or []:
        assert entry.path.parent.parent == ROOT
        assert min(entry.part) >= 0
        assert entry.label in (0, 1, 2)


@pytest.mark.parametrize(
    ("kind", "size"), [(tarfile.REGTYPE, -512), *((kind, 2**33) for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME))]
)
def test_size_on_which_tarfile_reads_without_end_is_refused(archives, kind, size):
    with tarfile.open(fileobj=io.BytesIO(archives[VALIDATION])) as archive:
        member = archive.getmembers()[1]
    member.type = kind
    (ROOT / VALIDATION).write_bytes(with_header(archives[VALIDATION], member, size))
    with bounded(), pytest.raises(InputError, match=rf"{VALIDATION}: not the archive .*it has a (member|header) of {size} bytes"):
        read_entries(place(ROOT / "val"), 3)
    (ROOT / VALIDATION).write_bytes(archives[VALIDATION])


def test_bomb_in_place_of_the_development_kit_is_refused(archives):
    refuses_or_lists(archives, DEVKIT, gzip.compress(bytes(2**20)) * 2000)


def test_synsets_that_scipy_cannot_decode_are_refused(archives, monkeypatch):
    """Scipy raises errors of any kind, such as UnboundLocalError, on changed bytes."""
    monkeypatch.setattr(imagenet.scipy.io, "loadmat", lambda *_, **__: unbound)  # noqa: F821
    with pytest.raises(InputError, match=r"devkit_t12\.tar\.gz: not the archive .*meta\.mat: NameError"):
        read_entries(place(ROOT / "val"), 3)


def sheets() -> dict[str, bytes]:
    """Files of the npm package, of two images per batch."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((2, 1024, 3), np.uint8)).save(buffer, "PNG")
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = {"train_lables.json": b"[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "test_lables.json": b"[0, 1]"}
    return {f"package/{name}": content for name, content in ({f"{batch}.png": buffer.getvalue() for batch in batches} | labels).items()}


def records() -> dict[str, bytes]:
    """Files of the archive of the home page, of two images per batch."""
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    return {f"cifar-10-batches-bin/{batch}.bin": bytes(2 * 3073) for batch in batches}


BROKEN_PNG = sheets()["package/test_batch.png"].replace(b"\x1cIDAT", b"\x14IDAT")  # on which Pillow raises SyntaxError


@pytest.mark.parametrize("source", ["npm", "home page"])
@fuzz(0.4)
@given(data=st.data())
@example(data=b"")
@example(data=packed({}))
@example(data=packed(sheets() | {"package/data_batch_1.png": BROKEN_PNG}))
def test_download_that_is_not_cifar10_is_refused(scratch, source, data):
    files = sheets() if source == "npm" else records()
    if isinstance(data, bytes):
        content = data
    elif data.draw(st.booleans()):
        name = data.draw(st.sampled_from(list(files)))
        content = packed(files | {name: data.draw(mutated_bytes(files[name]))})
    else:
        content = data.draw(mutated_tar(packed(files)) | mutated_bytes(packed(files)))

    def unreachable():
        raise OSError("no route")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar10, "_from_npm" if source == "home page" else "_from_home_page", unreachable)
        patch.setattr(subprocess, "run", lambda *_, cwd, **__: (cwd / "a.tgz").write_bytes(content))
        patch.setattr(cifar10.torch.hub, "download_url_to_file", lambda _, path: Path(path).write_bytes(content))
        assert result_or_refusal(partial(cifar10.fetch, OUTPUT), "could not be fetched to output") is None
    assert not OUTPUT.exists()


@fuzz(0.1)
@given(content=mutated_bytes(b"\x40\0\0\0\0\0\0\0" + b'{"images":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.ljust(64) + b"\0"))
def test_split_that_fetch_has_not_written_is_refused(scratch, content):
    Path("train.safetensors").write_bytes(content)
    assert result_or_refusal(partial(cifar10.load, Path(), "train"), "train") is None
