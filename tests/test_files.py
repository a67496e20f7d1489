"""Files and folders that are written whole or not at all; test_full_disk.py has those that cannot be written."""

import os

from qhyvit.files import atomic_folder, atomic_write


def test_reader_of_a_file_that_is_replaced_keeps_the_old_content(tmp_path):
    """As only a rename does it: a copy onto the file would show through to the reader."""
    path = tmp_path / "output"
    path.write_text("old")
    with path.open() as reader:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_folder_holds_nothing_that_a_killed_process_of_the_same_number_has_left(tmp_path):
    left = tmp_path / f".output.{os.getpid()}.tmp"
    left.mkdir()
    (left / "stale").touch()
    with atomic_folder(tmp_path / "output") as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["output", "new"]
