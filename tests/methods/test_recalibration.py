"""Recalibration: its file, and the search from the file against the search that makes it."""

from dataclasses import replace

import pytest
import torch
from conftest import make_task
from patch_network import PatchNetwork
from pydantic import TypeAdapter

from qhyvit.calibration.losses import fisher_loss
from qhyvit.calibration.serialization import load_recalibration, save_recalibration
from qhyvit.config.methods import Method
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.recalibration import recalibrate
from qhyvit.quantizers.base import same_quantizer

SYMMETRIC = {"granularity": ["per_tensor"], "scheme": ["symmetric"]}
SETTINGS = {
    "algorithm": "qhyvit",
    "weights": {"granularity": ["per_channel"], "scheme": ["symmetric"]},
    "activations": {"granularity": ["per_tensor", "per_channel"], "scheme": ["asymmetric", "symmetric"]},
    "matmuls": SYMMETRIC,
    "objective": "fisher",
    "scale_min": 0.5,
    "scale_max": 1.1,
    "candidates": 5,
    "rounds": 2,
    "gradients": "fisher-quantized",
    "candidates_per_block": 2,
}


def method_of(**changes):
    return TypeAdapter(Method).validate_python(SETTINGS | changes)


@pytest.fixture(scope="module")
def task():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    return make_task(trace(PatchNetwork(), images), images.split(2), method_of(), positions=3)


def test_recalibration_from_file_finds_equal_quantizers(task, tmp_path):
    recalibration = recalibrate(task)
    save_recalibration(tmp_path / "file", recalibration, {"seed": 0})
    loaded, provenance = load_recalibration(tmp_path / "file")
    assert provenance == {"seed": 0}
    assert {name: len(read_block().inputs) for name, read_block in loaded.blocks.items()} == {"project": 2}
    expected, found = (find_quantizers(one, "partial") for one in (task, task.__class__(**vars(task) | {"recalibration": loaded})))
    assert expected.keys() == found.keys()
    for site, operands in expected.items():
        assert all(same_quantizer(quantizer, found[site][operand]) for operand, quantizer in operands.items())
    save_recalibration(tmp_path / "again", loaded, provenance)
    assert (tmp_path / "file").read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize(("size", "expected"), [(4, [2, 2]), (3, [2, 1, 1])], ids=["even", "odd"])
def test_batch_runs_in_halves(monkeypatch, size, expected):
    images = torch.randn(4, 3, 8, 8)
    task = make_task(trace(PatchNetwork(), images), images.split(size), method_of(), positions=3)
    sizes = []

    def loss(logits, *others):
        sizes.append(len(logits))
        return fisher_loss(logits, *others)

    monkeypatch.setattr("qhyvit.methods.recalibration.fisher_loss", loss)
    recalibration = recalibrate(task)
    assert sizes == expected
    rows, whole = (statistics().left for statistics in (recalibration.rows["project"], task.statistics["project"].read_rows))
    assert rows.shape == whole.shape


def test_given_recalibration_spares_the_second_pass(task):
    recalibration = recalibrate(task)

    def read_batches():
        raise AssertionError("images are read again")

    calibration = task.calibration.__class__(read_batches, task.calibration.positions, 0)
    given = task.__class__(**vars(task) | {"recalibration": recalibration, "calibration": calibration})
    assert find_quantizers(given, "partial").keys() == {"stem", "conv", "project", "head"}


@pytest.mark.parametrize(
    "changes",
    [
        {"cross_validated": True},
        {"candidates": 7, "scale_min": 0.1, "rounds": 1, "candidates_per_block": 4},
        {"candidates_per_block": "all"},
        {"linear_weights": {"granularity": ["per_channel", "per_tensor"], "scheme": ["symmetric"]}},
        {"activations": {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}},
    ],
)
def test_methods_with_equal_defaults_share_a_recalibration(changes):
    assert method_of(**changes).recalibration_key == method_of().recalibration_key


@pytest.mark.parametrize(
    "changes",
    [
        {"gradients": "kl"},
        {"gradients": "kl-quantized"},
        {"zero_point": "saturated"},
        {"gradients": "fisher"},
        {"weights": {"granularity": ["per_channel"], "scheme": ["asymmetric"]}},
        {"grouped_activations": SYMMETRIC},
        {"matmuls": {"granularity": ["per_channel"], "scheme": ["symmetric"]}},
    ],
)
def test_other_defaults_or_gradients_have_another_key(changes):
    assert method_of(**changes).recalibration_key != method_of().recalibration_key


def test_fisher_gradients_need_no_recalibration_without_blocks():
    settings = {key: value for key, value in SETTINGS.items() if key != "candidates_per_block"}
    plain = TypeAdapter(Method).validate_python(settings | {"algorithm": "scale_search", "gradients": "fisher"})
    assert plain.recalibration_key is None
    assert method_of(gradients="fisher").recalibration_key is not None


def test_cosine_objective_has_whole_tokens_of_the_fp32_network(task):
    tensor = {"granularity": ["per_tensor"], "scheme": ["symmetric"]}
    cosine = {key: value for key, value in SETTINGS.items() if key != "candidates_per_block"} | {
        "algorithm": "scale_search",
        "objective": "cosine",
        "weights": tensor,
        "activations": tensor,
    }
    keys = {TypeAdapter(Method).validate_python(cosine | {"gradients": gradients}).recalibration_key for gradients in ("fisher", "kl")}
    assert len(keys) == 1
    assert not keys & {None, method_of().recalibration_key}
    found = recalibrate(replace(task, method=TypeAdapter(Method).validate_python(cosine)))
    assert not found.blocks
    for name in ("stem", "conv"):  # 3 of 16 positions per image, each as likely as any other
        torch.testing.assert_close(found.rows[name]().importance, torch.full((1, 4 * 3, 1), (16 / 3) ** 0.5))
    assert not any(read_rows().gradient.any() for read_rows in found.rows.values())
