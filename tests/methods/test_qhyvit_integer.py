"""The strength with which the weight of a dense layer absorbs the scales of its input's channels."""

from dataclasses import replace

import pytest
import torch
from conftest import make_task
from torch import nn

from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.methods.recalibration import recalibrated
from qhyvit.presets import load_preset
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.search.alternating import reconstruction_error

STRENGTHS = (0, 0.25, 0.5, 0.75, 1)
WIDTHS = {  # of the input's channels
    "even": torch.ones(8),
    "uneven": torch.logspace(-2, 1, 8),
}


def task_of(widths, bits=4):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 5))
    with torch.no_grad():
        model[0].weight /= widths.sqrt()
    images = torch.randn(32, 8) * widths
    return make_task(trace(model, images), images.split(16), load_preset("qhyvit-integer"), bits, bits)


def with_strengths(task, strengths):
    return replace(task, method=task.method.model_copy(update={"strengths": strengths}))


@pytest.mark.parametrize("widths", WIDTHS)
def test_strength_with_the_least_error_is_taken(widths):
    """Compared with a search for each strength alone."""
    task = task_of(WIDTHS[widths])
    problem = recalibrated(task).problem(task.model.sites[0])
    errors = {
        strengths: reconstruction_error(problem, find_quantizers(with_strengths(task, list(strengths)), "partial")["0"])
        for strengths in (STRENGTHS, *((strength,) for strength in STRENGTHS))
    }
    found = errors.pop(STRENGTHS)
    assert found == pytest.approx(min(errors.values()))
    assert found < 0.9 * max(errors.values())


def test_weights_with_one_scale_absorb_scales_too():
    task = task_of(WIDTHS["uneven"])
    weights = task.method.weights.model_copy(update={"granularity": ["per_tensor"]})
    task = replace(task, method=task.method.model_copy(update={"weights": weights, "linear_weights": None, "strengths": [1]}))
    quantizer = find_quantizers(task, "partial")["0"]["weight"]
    assert isinstance(quantizer, RescaledWeightQuantizer)
    assert torch.equal(quantizer.scale, quantizer.scale[:1].expand(6))


def test_scales_of_uneven_channels_are_absorbed():
    assert isinstance(find_quantizers(task_of(WIDTHS["uneven"]), "partial")["0"]["weight"], RescaledWeightQuantizer)
