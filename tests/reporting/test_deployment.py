"""Table and figure of exported models, from planted results."""

import json

import numpy as np
import pandas as pd
import pytest

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.deployment import deployment_figure, make
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables import deployment_paired
from qhyvit.reporting.tables.deployment import deployment, deployment_shown, processors

METHODS = read_catalog(METHODS_FILE)


def result(method, correct, engine="openvino", **more):
    bits = 32 if method == "fp32" else 8
    run = {"dataset": "d", "model": "net", "family": "F", "method": method, "mode": "partial" if bits == 8 else "", "w_bits": bits}
    run |= {
        "a_bits": bits,
        "seed": 0,
        "images": len(correct),
        "top1": 100 * correct.count("1") / len(correct),
        "correct": correct,
        "kl": 0.1,
    }
    return run | {"engine": engine, "int8_share": 90.0, "size": 2**21, "provenance": {"processor": f"chip of {engine}"}} | more


NOISE = {"noise_agreement": 99.0, "noise_median_difference": 1e-3, "site_difference": 1e-6}
RESULTS = [
    result("fp32", "1111"),
    result("nncf", "0011"),
    result("minmax", "1101", agreement=100.0, median_difference=1e-6, largest_difference=2e-3, **NOISE),
    result("minmax", "1100", engine="onnxruntime", agreement=75.0, median_difference=1e-5, largest_difference=0.1, **NOISE),
]


def test_each_engine_of_a_method_has_a_row_with_its_drop():
    rows = deployment(RESULTS, METHODS)
    assert list(zip(rows.method, rows.engine, strict=True)) == [("minmax", "onnxruntime"), ("minmax", "openvino"), ("nncf", "openvino")]
    assert rows["drop"].tolist() == [50, 25, 50]
    assert rows.agreement.tolist()[:2] == [75, 100]
    shown = deployment_shown(rows)
    assert shown.agreement.tolist() == ["75.00", "100.00", ""]
    assert shown["largest"].tolist() == ["1.0e-01", "2.0e-03", ""]
    assert shown["difference of noise"].tolist() == ["1.0e-03", "1.0e-03", ""]
    assert shown["MiB"].tolist() == ["2.00"] * 3
    assert processors(RESULTS) == "Run on chip of onnxruntime, chip of openvino."


def test_other_tools_are_paired_with_openvino_runs_alone(tmp_path):
    manifest = tmp_path / "images.csv"
    pd.DataFrame({"split": "evaluation", "label": range(4), "pixels_sha256": list("abcd")}).to_csv(manifest, index=False)
    paths = [tmp_path / f"{place}.json" for place in range(len(RESULTS))]
    for path, content in zip(paths, RESULTS, strict=True):
        path.write_text(json.dumps(content))
    rows = deployment_paired.make(Sources(METHODS, {"deployed": paths, "images": [manifest]})).rows
    of_net = rows[rows.model == "net"]
    assert of_net[["method", "baseline", "gain"]].to_numpy().tolist() == [["minmax", "nncf", 25.0]]


def test_figure_has_a_line_per_method_and_engine_with_its_drop_and_latency():
    rows = deployment(RESULTS, METHODS)
    latencies = rows[rows.engine == "openvino"][["model", "method", "engine"]].assign(relative=[0.5, 1.5])
    drops, times = deployment_figure(rows, latencies, METHODS).axes
    assert [label.get_text() for label in drops.get_yticklabels()] == ["Min-max, onnxruntime", "Min-max, openvino", "nncf, openvino"]
    assert drops.containers[0].lines[0].get_xydata().tolist() == [[50, 0], [25, 1], [50, 2]]
    (marks,) = [line for line in times.lines if line.get_marker() != "None"]
    assert marks.get_ydata().tolist() == [0, 1, 2]
    assert marks.get_xdata() == pytest.approx([np.nan, 0.5, 1.5], nan_ok=True)
    assert [(text.get_text(), text.get_position()[1]) for text in times.texts] == [("not measured", 0)]


def test_figure_shows_the_smallest_seed_alone():
    rows = deployment(RESULTS, METHODS)
    rows = pd.concat([rows, rows.assign(seed=1, drop=99)])
    drops, _ = deployment_figure(rows, pd.DataFrame(columns=["model", "method", "engine", "relative"]), METHODS).axes
    assert drops.containers[0].lines[0].get_xdata().tolist() == [50, 25, 50]


def test_figure_of_a_network_with_the_name_of_a_number_has_its_latencies(tmp_path):
    rows = deployment(RESULTS, METHODS).assign(model="007")
    latencies = rows[rows.engine == "openvino"][["model", "method", "engine"]].assign(relative=[0.5, 1.5])
    paths = {"deployment": tmp_path / "deployment.csv", "latency": tmp_path / "latency.csv"}
    for name, table in (("deployment", rows), ("latency", latencies)):
        table.to_csv(paths[name], index=False)
    _, times = make(Sources(METHODS, {name: [path] for name, path in paths.items()})).axes
    (marks,) = [line for line in times.lines if line.get_marker() != "None"]
    assert marks.get_xdata() == pytest.approx([np.nan, 0.5, 1.5], nan_ok=True)


def test_figure_without_latencies_keeps_its_drops(tmp_path):
    table = tmp_path / "deployment.csv"
    deployment(RESULTS, METHODS).to_csv(table, index=False)
    drops, times = make(Sources(METHODS, {"deployment": [table]})).axes
    assert drops.containers[0].lines[0].get_xdata().tolist() == [50, 25, 50]
    assert all(np.isnan(np.array(line.get_xdata(), float)).all() for line in times.lines if line.get_marker() != "None")
