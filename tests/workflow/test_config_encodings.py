"""Configuration files at fault: one line before Snakemake starts, which would write several or end in a traceback."""

import sys

import pytest

from workflow.scripts import run


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("dataset: café".encode("utf-16"), "not UTF-8 ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte); save it"),
        ("dataset: café".encode("latin-1"), "not UTF-8 ('utf-8' codec can't decode byte 0xe9 in position 12: unexpected end of data)"),
        (None, "cannot be read (No such file or directory); give the path of a configuration file"),
        (b"dataset: {name: a\nweights: b", "not YAML (while parsing a flow mapping in "),
        (b"", "Input should be a valid dictionary or instance of Experiment (found None); correct it"),
        (b"base: lost.yaml", "base: lost.yaml: cannot be read (No such file or directory)"),
        (b"models: []\nmodels: []", "key models is there twice, lines 1 and 2; remove one"),
        (b"seed: 0", "dataset: missing; add this key; weights: missing; add this key; models: missing; add this key; seed: unknown key"),
    ],
    ids=["utf-16", "latin-1", "missing", "syntax", "empty", "base", "twice", "keys"],
)
@pytest.mark.parametrize("form", [("--configfile", "{}"), ("--configfile={}",), ("--configfiles", "{}", "-n")])
def test_file_at_fault_is_one_line_before_the_run(tmp_path, monkeypatch, content, message, form):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(run.os, "execv", lambda *_: pytest.fail("Snakemake is started"))
    if content is not None:
        (tmp_path / "own.yaml").write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["run.py", "--cores", "2", *(word.format("own.yaml") for word in form)])
    with pytest.raises(SystemExit) as end:
        run.main()
    assert end.value.code.startswith(f"own.yaml: {message}")
    assert "\n" not in end.value.code
    assert not (tmp_path / ".snakemake").exists()


def test_words_of_other_options_are_no_configuration_files():
    words = ["--cores", "2", "--configfile", "own.yaml", "--until", "calibrate", "--config-file", "x"]
    assert [str(path) for path in run.configuration_files(words)] == ["own.yaml"]
    assert run.configuration_files(["--cores", "2", "results/a.json"]) == []
