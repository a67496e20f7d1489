"""Files of another kind, as inputs of reports: one line that names the file, whatever it holds."""

from pathlib import Path

import pytest
from conftest import REPOSITORY

from qhyvit.cli.inspect import inspect
from qhyvit.cli.report import report
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.correctness import correct_table
from qhyvit.reporting.registry import FIGURES, TABLES
from qhyvit.reporting.sources import Sources

CONTENTS = {
    "binary": b"\x80\xff\x00",
    "empty": b"",
    "text": b"no\nsuch,table\n",
    "json": b"[1, 2]",
    "other-table": b"filename,label\na.png,0\n",
}
ENTRIES = {
    f"{kind}-{entry.name}": entry
    for kind, group in (("table", TABLES), ("figure", FIGURES))
    for entry in group.values()
    if entry.name not in ("configuration", "job_minutes")  # they are written with the results, and read none
}


@pytest.fixture
def experiment(monkeypatch):
    """Sources of the embedded experiment, without files."""
    monkeypatch.chdir(REPOSITORY)
    config = load_config(Path("config/config.yaml"))
    return Sources(read_catalog(config.experiment.methods_file), config=config)


@pytest.fixture(params=CONTENTS)
def path(request, tmp_path):
    """A file that no command has written."""
    (tmp_path / "wrong.csv").write_bytes(CONTENTS[request.param])
    return tmp_path / "wrong.csv"


@pytest.mark.parametrize("name", ENTRIES)
def test_table_or_figure_of_other_files_is_refused_by_name(experiment, path, name):
    entry = ENTRIES[name]
    sources = Sources(experiment.methods, {kind: [path] for kind in entry.inputs}, "partial", config=experiment.config)
    with pytest.raises(InputError, match=r"wrong\.csv|results\.csv") as error:
        entry.make(sources)
    assert "\n" not in str(error.value)


def test_page_of_another_file_is_refused(tmp_path):
    (tmp_path / "wrong.csv").write_bytes(CONTENTS["binary"])
    with pytest.raises(InputError, match=r"wrong\.csv: not written by `qhyvit table` or `qhyvit aggregate` \(UnicodeDecodeError: "):
        report([f"accuracy={tmp_path / 'wrong.csv'}"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_table_that_is_given_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^accuracy: given twice; give each table once$"):
        report(["accuracy=a.csv", "accuracy=b.csv"], tmp_path / "page.html")


def test_manifest_of_another_writer_has_no_hash(experiment, path):
    with pytest.raises(InputError, match=r"wrong\.csv: not written by `qhyvit fetch images` \("):
        correct_table([], path, experiment.methods)


def test_sensitivity_of_another_writer_is_refused(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_bytes(CONTENTS["other-table"])
    with pytest.raises(InputError, match=r"wrong\.csv: not written by `qhyvit sensitivity` \("):
        inspect("resnet10t", sensitivity=path)
