"""Registry of tables and figures: what each needs, and which experiments have it."""

from importlib import import_module
from pathlib import Path
from string import Formatter

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT

from qhyvit.cli.inputs import find_entry, read_sources
from qhyvit.config.loading import load_config
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import FIGURES, TABLES
from qhyvit.reporting.sources import Sources

ENTRIES = [*TABLES.values(), *FIGURES.values()]
STEPS = ["qhyvit-scale", "qhyvit-granularity", "qhyvit-scheme", "qhyvit", "qhyvit-cv"]


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write an experiment with changed settings, and return its configuration."""
    monkeypatch.chdir(REPOSITORY)

    def make(**changes):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | changes))
        return load_config(tmp_path / "config.yaml")

    return make


def wildcards(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{type(entry).__name__}-{entry.name}")
def test_entry_has_a_module_and_texts_with_its_wildcards_only(entry):
    assert callable(import_module(entry.module).make)
    assert wildcards(entry.title + entry.caption) <= set(getattr(entry, "per", ()))
    assert wildcards(entry.path) == set(getattr(entry, "per", ()))


def test_paths_of_all_entries_differ():
    paths = [f"{entry.path}.{suffix}" for entry in TABLES.values() for suffix in entry.formats]
    paths += [f"{entry.path}.{suffix}" for entry in FIGURES.values() for suffix in ("svg", "png")]
    assert len(set(paths)) == len(paths)


def names(config):
    tables = {entry.name for entry in TABLES.values() if entry.available(config)}
    return tables, {entry.path.format(**instance) for entry in FIGURES.values() for instance in entry.instances(config)}


def test_small_experiment_lacks_what_it_has_no_runs_for(experiment):
    tables, figures = names(experiment(bits=["w4a4"]))
    assert not {"table_ii", "table_iii", "table_iv", "ablation", "seeds", "calibration_size"} & tables
    assert {"accuracy", "improvement", "paired", "challenges", "timings", "configuration", "runs"} <= tables
    assert {"figures/drops-partial", "figures/site_errors-mobilevit_xxs", "timings/drop_against_seconds-partial"} <= figures
    assert not [path for path in figures if "full" in path or "ablation" in path or "sensitivity" in path or "seeds" in path]


def test_each_setting_brings_its_tables_and_figures(experiment):
    tables, figures = names(experiment(methods=STEPS, bits=["w8a8"]))
    assert {"table_ii", "table_iv", "ablation"} <= tables
    assert "figures/ablation-partial" in figures
    tables, figures = names(experiment(modes=["partial", "full"], bits=["w6a6"], seeds=[0, 1]))
    assert {"table_ii", "table_iii", "seeds"} <= tables
    assert {"figures/drops-full", "figures/seeds-full"} <= figures
    tables, figures = names(experiment(calibration_sizes=[2], sensitivity={"methods": ["minmax"], "bits": ["w4a4"]}))
    assert "calibration_size" in tables
    assert {"figures/calibration_size", "figures/sensitivity-mobilevit_xxs-minmax-w4a4"} <= figures


def test_joint_search_brings_its_table(experiment):
    assert "joint" in names(experiment(methods=["qhyvit-scheme", "qhyvit", "qhyvit-joint"]))[0]
    assert "joint" not in names(experiment(methods=["qhyvit-scheme", "qhyvit"]))[0]


def test_deployment_brings_its_tables_and_figure(experiment):
    tables, figures = names(experiment())
    assert not [path for path in {*tables, *figures} if "deployment" in path]
    exported = {"methods": ["minmax"], "bits": ["w8a8"]}
    tables, figures = names(experiment(bits=["w8a8"], deployment={"openvino": exported, "peers": ["nncf"]}))
    assert {"deployment", "deployment_paired"} <= tables
    assert "figures/deployment" in figures
    assert "deployment_paired" not in names(experiment(bits=["w8a8"], deployment={"onnx": exported}))[0]


def test_ablation_needs_every_step_in_the_mode(experiment):
    assert "ablation" not in names(experiment(methods=STEPS[1:]))[0]
    _, figures = names(experiment(methods=STEPS, modes=["partial", "full"]))
    assert "figures/ablation-full" not in figures  # the steps before the whole method have no full mode


def test_inputs_are_read_by_kind(experiment, tmp_path):
    experiment()
    sources = read_sources(tmp_path / "config.yaml", ["results=a.csv", "site_errors=b.csv", "site_errors=c=d.csv"], "full", "title")
    assert sources.one("results") == Path("a.csv")
    assert sources.all("site_errors") == [Path("b.csv"), Path("c=d.csv")]
    assert (sources.mode, sources.title, sources.config.experiment.bits) == ("full", "title", ["w4a4"])
    with pytest.raises(InputError, match=r"--input a.csv: not of the form KIND=PATH"):
        read_sources(tmp_path / "config.yaml", ["a.csv"])


def test_missing_and_unknown_inputs_are_named():
    sources = Sources(read_catalog(METHODS_FILE), {"results": [Path("a"), Path("b")]})
    with pytest.raises(InputError, match="2 inputs of kind 'results'; give one"):
        sources.one("results")
    with pytest.raises(InputError, match="no input of kind 'correct'; add `--input correct=PATH`"):
        sources.one("correct")
    with pytest.raises(InputError, match="no experiment; add `--config FILE`"):
        sources.experiment()
    with pytest.raises(InputError, match="unknown table 'nonsense'; choose one of accuracy, table_ii"):
        find_entry(TABLES, "table", "nonsense")
