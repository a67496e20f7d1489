"""Table and figure of exported models, from planted results."""

import json

import pandas as pd
import pytest

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures.deployment import deployment_figure
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
    assert shown["largest"].tolist() == ["1e-01", "2e-03", ""]
    assert shown["difference of noise"].tolist() == ["1e-03", "1e-03", ""]
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


@pytest.mark.parametrize("relative", [None, {"openvino": 0.5}, {"openvino": 0.5, "onnxruntime": 1.5}])
def test_figure_has_a_mark_per_method_and_engine_at_its_latency_or_size(relative):
    rows = deployment(RESULTS, METHODS)
    measured = rows[["model", "method", "engine"]].assign(relative=rows.engine.map(relative or {})).dropna()
    latencies = None if relative is None else measured
    figure = deployment_figure(rows, latencies, METHODS)
    (panel,) = figure.axes
    places = [float(container.lines[0].get_xdata()[0]) for container in panel.containers]
    complete = len(measured) == len(rows)
    assert places == ([1.5, 0.5, 0.5] if complete else [2.0, 2.0, 2.0])
    assert figure.get_supxlabel() == ("latency relative to FP32 in OpenVINO" if complete else "size (MiB)")
