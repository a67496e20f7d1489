"""`labels.csv` with rows that mean no label or two, and names that other programs read as something else."""

import pytest
from conftest import write_images

from qhyvit.config.dataset import Dataset
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest, write_manifest
from qhyvit.errors import InputError

HEADER = "filename,label\n"


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "set", 6, seed=0)
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("000.png,0\n001.png,1\n000.png,0\n", r"'000\.png' is listed twice, in lines 2 and 4; keep one of them"),
        ("000.png,0\n000.png,1\n", r"'000\.png' is listed twice, in lines 2 and 3"),
        ("005.png,0\n003.png,2\n001.png,1\n", r"label '2' of 003\.png \(line 3\) is outside 0\.\.1; correct it or dataset\.classes"),
        ("005.png,-1\n", r"label '-1' of 005\.png \(line 2\) is outside 0\.\.1"),
        ("005.png,0\n\n001.png,cat\n", r"label 'cat' of 001\.png \(line 4\) is not a whole number; give one of 0\.\.1"),
        ("005.png,1.0\n", r"label '1\.0' of 005\.png \(line 2\) is not a whole number"),
        ("005.png,\n", r"label '' of 005\.png \(line 2\) is not a whole number"),
        (f"005.png,{'1' * 5000}\n", "is not a whole number"),
        ("005.png,²\n", "is not a whole number"),
        ("005.png\n", r"not a CSV file .*\(line 2 has fewer values than the header has columns\)"),
        ("000.png,0\n./000.png,1\n", r"'\./000\.png' is listed twice, in lines 2 and 3; keep one of them"),
        ("000.png,0\n.//000.png,0\n", r"'\.//000\.png' is listed twice, in lines 2 and 3"),
        ("000.png,0,1\n", r"line 2 has more values than the header has columns"),
        (",0\n", "line 2 has no file name"),
        ('005.png,0\n"001.png,1\n', "not a CSV file with the columns filename and label"),
    ],
)
def test_row_without_one_label_is_named_with_its_line(folder, rows, message):
    (folder / "labels.csv").write_text(HEADER + rows)
    with pytest.raises(InputError, match=rf"labels\.csv: .*{message}") as refused:
        read_entries(folder, 2)
    assert "\n" not in str(refused.value)


def test_link_to_another_image_of_the_folder_is_refused(folder):
    (folder / "link.png").symlink_to("000.png")
    (folder / "labels.csv").write_text(f"{HEADER}000.png,0\nlink.png,1\n")
    with pytest.raises(InputError, match=r"link\.png: the same file as .*000\.png, by way of a link; keep one of them$"):
        read_entries(folder, 2)


def test_links_to_one_file_of_a_store_are_images(folder, tmp_path):
    """Equal images of a folder that DVC has linked to its cache."""
    (folder / "000.png").rename(tmp_path / "stored")
    for name in ("a.png", "b.png"):
        (folder / name).symlink_to(tmp_path / "stored")
    (folder / "labels.csv").write_text(f"{HEADER}a.png,0\nb.png,1\n")
    assert [entry.path.name for entry in read_entries(folder, 2)] == ["a.png", "b.png"]


def test_missing_image_is_named_with_its_line_in_the_file(folder):
    (folder / "labels.csv").write_text(HEADER + "005.png,0\nzebra.png,1\n000.png,1\n")
    with pytest.raises(InputError, match=r"zebra\.png: missing, but listed in .*labels\.csv \(line 3\); "):
        read_entries(folder, 2)


@pytest.mark.parametrize(
    "content", [b"\xff\xfef\x00", b"filename;label\n000.png;0\n", b"label\n0\n", b"filename,label,label\n000.png,0,1\n", b""]
)
def test_file_without_the_columns_is_refused(folder, content):
    (folder / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.csv: not a CSV file with the columns filename and label \(.*\); write it so"):
        read_entries(folder, 2)


def test_columns_may_be_in_any_order_with_others_between(folder):
    (folder / "labels.csv").write_bytes("label,who,filename\r\n1,Zoë,001.png\r\n0,,000.png\r\n".encode("utf-8-sig"))
    assert [(entry.path.name, entry.label) for entry in read_entries(folder, 2)] == [("000.png", 0), ("001.png", 1)]


NAMES = ["NA", "nan", "null", "1e5", "000", "a,b.png", 'say "x".png', "-", " leading", "at 10\u202fAM.png", "Zoë"]


@pytest.mark.parametrize("name", NAMES)
def test_name_that_means_something_to_other_programs_is_a_name(tmp_path, folder, name):
    write_images(tmp_path / "other", 2, seed=1)
    (folder / "000.png").rename(folder / name)
    quoted = name.replace('"', '""')
    (folder / "labels.csv").write_text(f'{HEADER}"{quoted}",1\n001.png,0\n')
    dataset = Dataset(name="mine", classes=2, calibration=folder, evaluation=tmp_path / "other")
    write_manifest(dataset, tmp_path / "images.csv")
    entries = read_manifest(dataset, tmp_path / "images.csv", "calibration")
    assert {entry.path.name: entry.label for entry in entries} == {name: 1, "001.png": 0}


@pytest.mark.parametrize("name", ["a\rb.png", "a\nb.png", "a\tb.png", "a\x1b[31m.png"])
def test_name_with_control_characters_is_refused(tmp_path, folder, name):
    write_images(tmp_path / "other", 2, seed=1)
    (folder / "000.png").rename(folder / name)
    (folder / "labels.csv").write_text(f'{HEADER}"{name}",1\n', newline="")
    with pytest.raises(InputError, match="has line ends or other control characters; rename the file") as refused:
        write_manifest(Dataset(name="mine", classes=2, calibration=folder, evaluation=tmp_path / "other"), tmp_path / "images.csv")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "images.csv").exists()
