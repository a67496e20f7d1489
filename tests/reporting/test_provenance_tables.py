"""Settings, software and origins of networks in a report."""

import json

import torch
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT

from qhyvit.config.loading import load_config
from qhyvit.reporting.tables.configuration import configuration_table
from qhyvit.reporting.tables.runs import origins


def test_every_setting_and_the_software_have_a_row(tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT))
    table = configuration_table(load_config(tmp_path / "config.yaml")).set_index(["part", "name", "key"]).value
    assert table["experiment", "", "calibration.images"] == "4"
    assert table["experiment", "", "bits"] == '["w4a4"]'
    assert table["model", "mobilevit_xxs", "family"] == "MobileViTv1"
    assert table["method", "qhyvit", "algorithm"] == "qhyvit"
    assert table["software", "torch", "version"] == torch.__version__
    assert ("software", "pytest", "version") not in table  # of the extra `dev`
    assert table.index.is_unique


def test_origin_of_a_network_is_that_of_its_quantizers(tmp_path):
    calibrated = {"package": "0.1", "commit": "c1", "inputs": {"images": "i", "weights": "w"}, "settings": {"seed": 1}, "device": "cuda"}
    record = {
        **{"package": "0.2", "commit": "c2", "inputs": {"calibration": "k"}, "settings_sha256": "s", "calibrated": calibrated},
        **{"torch": "2.13.0", "device": "cpu", "processor": "EPYC", "threads": 1},
        "settings": {"method": "qhyvit", "mode": "partial", "bits": "w8a8", "candidates": 100},
    }
    path = tmp_path / "qhyvit-partial-w8a8.json"
    path.write_text(json.dumps({"model": "net", "provenance": record, "evaluated": {"commit": "c3"}}))
    (row,) = origins([path]).to_dict("records")
    assert row == {
        **{"model": "net", "seed": 1, "method": "qhyvit", "mode": "partial", "bits": "w8a8", "package": "0.2", "commit": "c2"},
        **{"calibrated_on": "cuda", "torch": "2.13.0", "processor": "EPYC", "threads": 1},
        **{"calibrated_at_commit": "c1", "settings_sha256": "s", "calibration_sha256": "k", "weights_sha256": "w", "images_sha256": "i"},
    }
