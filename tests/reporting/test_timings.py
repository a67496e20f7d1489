"""Seconds from Snakemake's benchmark files."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT

from qhyvit.config.loading import load_config
from qhyvit.presets import load_preset
from qhyvit.reporting.benchmark_files import experiment_files
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import write_table

RUN = {"dataset": "tiny", "family": "F", "model": "net", "mode": "partial", "method": "qhyvit", "w_bits": 8, "a_bits": 8, "seed": 0}
KEY = load_preset("qhyvit").recalibration_key
SECONDS = {
    **{f"recalibrate/{model}-seed{seed}-{KEY}-{bits}": 2 for model in ("net", "other") for seed in (0, 1) for bits in ("w8a8", "w4a8")},
    "calibrate/net-seed0": 10,
    "calibrate/other-seed0": 20,
    "quantize/net-seed0-qhyvit-partial-w8a8": 3,
    "quantize/net-seed0-qhyvit-partial-w4a8": 4,
    "quantize/net-seed0-qhyvit-full-w8a8": 1,
    "quantize/net-seed0-qhyvit-full-w4a8": 1,
    "quantize/other-seed0-qhyvit-partial-w8a8": 5,
    "quantize/other-seed0-qhyvit-partial-w4a8": 6,
    "quantize/net-seed0-minmax-partial-w8a8": 0.5,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Results with their benchmark files, of which one is missing: that of minmax with 4 bits."""
    monkeypatch.chdir(REPOSITORY)
    for name, seconds in SECONDS.items():
        path = tmp_path / f"benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:00\tNA\tNA\n")
    runs = [
        RUN | {"model": model, "method": method, "mode": mode, "w_bits": bits}
        for model, method, mode in (
            ("net", "minmax", "partial"),
            ("net", "qhyvit", "partial"),
            ("net", "qhyvit", "full"),
            ("other", "qhyvit", "partial"),
        )
        for bits in (4, 8)
    ]
    fp32 = RUN | {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32}
    pd.DataFrame([fp32, *runs]).to_csv(tmp_path / "results.csv", index=False)
    return tmp_path


def write_tables(folder):
    """Write timings.csv, and from it the table of running times."""
    paths = {
        "results": [folder / "results.csv"],
        "benchmarks": [folder / "benchmarks"],
        "timings": [folder / "timings/timings.csv"],
        "published/fig_9": [REPOSITORY / "resources/published/fig_9.csv"],
    }
    config = load_config(Path("config/experiments/all-methods.yaml"))
    sources = Sources(read_catalog(config.experiment.methods_file), paths, config=config)
    for name in ("timings", "running_time"):
        entry = TABLES[name]
        write_table(entry.make(sources), folder / entry.path, entry.formats, entry.caption)


def test_table_worked_by_hand(folder):
    write_tables(folder)
    table = pd.read_csv(folder / "timings/running_time.csv").set_index(["model", "mode", "method"])
    assert list(table.columns) == ["calibrate", "W8A8", "W4A8", "total", "paper"]
    assert table.loc["net", "partial", "qhyvit"][:4].tolist() == [10, 5, 6, 21]  # with the recalibration
    assert table.loc["net", "full", "qhyvit"][:4].tolist() == [10, 6, 7, 23]  # with what partial mode took
    assert table.loc["mean", "partial", "qhyvit"].tolist() == [15, 6, 7, 28, 523]  # Fig. 9
    assert pd.isna(table.loc["mean", "partial", "minmax"].paper)
    minmax = table.loc["net", "partial", "minmax"]
    assert minmax[:2].tolist() == [10, 0.5]
    assert minmax[["W4A8", "total"]].isna().all()  # a total without all of its parts would mislead


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Read an experiment with every kind of job."""
    monkeypatch.chdir(REPOSITORY)
    changes = {
        "methods": ["qhyvit", "qhyvit-integer"],
        "modes": ["partial", "full"],
        "seeds": [3],
        "calibration_sizes": [8],
        "sensitivity": {"methods": ["qhyvit"], "bits": ["w4a4"]},
        "deployment": {"onnx": {"methods": ["qhyvit-integer"], "bits": ["w4a4"]}, "peers": ["nncf", "onnxruntime"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | changes))
    return load_config(tmp_path / "config.yaml")


def test_minutes_of_jobs_are_added_and_missing_ones_counted(experiment, tmp_path):
    for name, seconds in {"calibrate/mobilevit_xxs-seed3": 30, "calibrate/mobilevit_xxs-seed3-8images": 60}.items():
        path = tmp_path / f"benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tcpu_time\n{seconds}\t1\n")
    paths = {"benchmarks": [tmp_path / "benchmarks"]}
    table = TABLES["job_minutes"].make(Sources(read_catalog(experiment.experiment.methods_file), paths, config=experiment))
    rows = table.rows.set_index("rule")
    assert rows.loc["calibrate"].tolist() == [2, 2, 1.5]
    assert rows.loc["sensitivity"].tolist() == [1, 0, 0]
    assert table.note == f"{len(experiment_files(experiment)) - 2} jobs left no benchmark, so that the times are too small."


def test_seeds_are_averaged_and_files_have_their_forms(folder):
    results = pd.read_csv(folder / "results.csv")
    again = results[(results.method == "qhyvit") & (results.model == "other")].assign(seed=1)
    pd.concat([results, again]).to_csv(folder / "results.csv", index=False)
    for name, seconds in {"calibrate/other-seed1": 30, "quantize/other-seed1-qhyvit-partial-w8a8": 7}.items():
        (folder / f"benchmarks/{name}.tsv").write_text(f"s\tcpu_time\n{seconds}\t1\n")
    write_tables(folder)
    seconds = pd.read_csv(folder / "timings/timings.csv").set_index(["model", "mode", "method", "w_bits", "a_bits"])
    assert seconds.loc["other", "partial", "qhyvit", 8, 8].tolist() == [25, 8]
    written = sorted(path.name for path in (folder / "timings").iterdir())
    assert written == ["running_time.csv", "running_time.md", "running_time.tex", "timings.csv"]
    assert "| mean    | partial | qhyvit   |" in (folder / "timings/running_time.md").read_text()
    assert "\\label{tab:running_time}" in (folder / "timings/running_time.tex").read_text()
