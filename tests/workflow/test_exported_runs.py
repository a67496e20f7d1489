"""Exported models of the tiny project, run as integers by their engines, next to those of other tools."""

import json

import pandas as pd
import pytest
from conftest import copy_project

DEPLOYMENT = {
    "openvino": {"methods": ["minmax"], "bits": ["w8a8"]},
    "onnx": {"methods": ["minmax"], "bits": ["w8a8"]},
    "peers": ["nncf", "onnxruntime"],
}
SIMULATED = "results/tiny/tiny_hybrid/seed0/minmax-partial-w8a8.json"
DEPLOYED = "results/tiny/tiny_hybrid/seed0/deployed"
METHODS = ["minmax", "minmax", "nncf", "onnxruntime"]


@pytest.fixture(scope="module")
def deployed(finished, tmp_path_factory):
    """The tiny project after a run of its deployment."""
    project = copy_project(finished, tmp_path_factory.mktemp("deployed") / "project")
    project.configure(methods=["minmax"], bits=["w8a8"], deployment=DEPLOYMENT)
    project.snakemake(SIMULATED, "reports/deployment.csv", "reports/tables/deployment_paired.csv", "reports/figures/deployment.svg")
    return project


@pytest.mark.slow
def test_exported_models_have_results_of_their_engines(deployed):
    rows = pd.read_csv(deployed.root / "reports/deployment.csv")
    assert rows.method.tolist() == METHODS
    assert rows.engine.tolist() == ["onnxruntime", "openvino", "openvino", "onnxruntime"]
    assert (rows.images == 12).all()
    own, peers = rows[rows.method == "minmax"], rows[rows.method != "minmax"]
    assert (own.agreement >= 90).all()
    assert own.median_difference[own.engine == "onnxruntime"].item() < 0.01  # OpenVINO saturates at 8 bits where there is no VNNI
    assert own.noise_agreement.between(50, 100).all()
    assert peers[["agreement", "noise_agreement"]].isna().all(axis=None)
    assert rows["size"].between(500, 100_000).all()


@pytest.mark.slow
def test_exported_model_is_close_to_the_run_that_it_was_made_from(deployed):
    simulated = json.loads((deployed.root / SIMULATED).read_text())
    executed = json.loads((deployed.root / f"{DEPLOYED}/minmax-w8a8-onnx.json").read_text())
    assert executed["kl"] == pytest.approx(simulated["kl"], rel=0.2)
    different = sum(one != other for one, other in zip(simulated["correct"], executed["correct"], strict=True))
    assert different <= 1


@pytest.mark.slow
def test_exported_model_is_paired_with_other_tools(deployed):
    rows = pd.read_csv(deployed.root / "reports/tables/deployment_paired.csv")
    assert set(zip(rows.method, rows.baseline, strict=True)) == {("minmax", "nncf"), ("minmax", "onnxruntime")}


def test_experiment_without_deployment_plans_none(finished):
    assert not finished.plan().counts
    jobs = finished.plan("--forceall").counts
    assert not {"predict", "export", "run_exported", "quantize_peer", "table_deployment", "figure_deployment"} & jobs.keys()


def test_deployment_plans_its_exports_and_their_runs(copy):
    copy.configure(methods=["minmax"], bits=["w8a8"], deployment=DEPLOYMENT)
    jobs = copy.plan().counts
    assert {job: jobs[job] for job in ("export", "export_onnx", "quantize_peer", "quantize_peer_onnx", "run_exported")} == {
        "export": 1,
        "export_onnx": 1,
        "quantize_peer": 1,
        "quantize_peer_onnx": 1,
        "run_exported": 4,
    }
    assert {"predict", "table_deployment", "table_deployment_paired", "figure_deployment"} <= jobs.keys()


def test_deployment_without_own_runs_needs_no_simulation(copy):
    copy.configure(deployment={"peers": ["nncf"]})
    plan = copy.plan("--forceall")
    assert plan.counts["quantize_peer"] == plan.counts["run_exported"] == 1
    assert not {"predict", "export", "table_deployment_paired"} & plan.counts.keys()
