"""Sweep over timm's networks: what is no site is reported, and a network that fails ends as one line."""

import time

import pandas as pd
import pytest
import torch

from benchmarks import timm_plan, timm_quantize, timm_sweep
from benchmarks.limited import run_limited
from qhyvit.errors import InputError

SIZES = {"test_vit": 160, "test_efficientnet": 160, "levit_128s": 224, "lambda_resnet26t": 256, "coat_tiny": 224}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_sites_and_reported_products_are_all_that_pytorch_counts(name):
    found = timm_sweep.sweep(name, SIZES[name], 1e6)
    assert found["outcome"] == "traced"
    assert found["site_share"] + found["reported_share"] == pytest.approx(1, abs=1e-9)
    assert (found["reported_share"] > 0) == bool(found["reported"]) == (name == "lambda_resnet26t")


@pytest.mark.parametrize(("size", "parameters", "reason"), [(512, 1e6, "pixels a side"), (224, 1e9, "million parameters")])
def test_network_over_a_limit_is_left_out_with_the_reason(size, parameters, reason):
    found = timm_sweep.sweep("test_vit", size, parameters)
    assert found["outcome"] == "left_out"
    assert reason in found["reason"]


def refuse():
    raise InputError("bad input; correct it")


def fail():
    raise torch.OutOfMemoryError("no memory")


def compute_for_ever():
    while True:
        time.process_time()


def test_result_or_error_of_a_limited_function_is_returned():
    assert run_limited(pow, 2, 3, seconds=5, gib=8) == 8
    refused, failed = (run_limited(function, seconds=5, gib=8) for function in (refuse, fail))
    assert (type(refused), str(refused)) == (InputError, "bad input; correct it")
    assert (type(failed), str(failed)) == (RuntimeError, "OutOfMemoryError: no memory")
    assert isinstance(run_limited(compute_for_ever, seconds=1, gib=8), TimeoutError)


def test_plan_takes_the_smallest_network_of_each_architecture_first(tmp_path, monkeypatch):
    monkeypatch.setattr(timm_plan, "PLAN", tmp_path / "plan.csv")
    monkeypatch.setattr(timm_plan.timm, "list_models", lambda: ["resnet101", "resnet18", "resnet34", "resnet50"])
    plan = timm_plan.planned()
    assert [*plan.model] == ["resnet18", "resnet50", "resnet34", "resnet101"]
    assert [*plan["first"]] == [True, True, False, False]
    assert int(plan.parameters[0]) == 11_689_512


def test_summary_counts_the_names_of_each_family_by_outcome():
    rows = [
        ("a", "f", "traced", 1.0, None),
        ("b", "f", "traced", 0.9, "aten.einsum.default"),
        ("c", "g", "refused", None, None),
    ]
    table = pd.DataFrame(rows, columns=["model", "family", "outcome", "site_share", "reported"])
    summary = timm_sweep.summary(table).set_index("family")
    assert [*summary.names] == ["2", "1", "3"]
    assert [*summary.traced] == ["2", "0", "2"]
    assert summary.loc["f", "least share of sites, %"] == "90.0"
    assert summary.loc["f", "not quantized"] == "einsum"


@pytest.mark.slow
@pytest.mark.parametrize("method", timm_quantize.QUANTIZATIONS)
def test_network_of_timm_is_quantized_at_a_small_size(method):
    found = timm_quantize.outcome("test_vit", method)
    assert (found["outcome"], found["size"]) == ("finite", 64)


def test_name_that_cannot_be_built_is_refused_in_one_line():
    found = timm_quantize.outcome("resnet_18", "percentile")
    assert found["outcome"] == "refused"
    assert "\n" not in found["reason"]
