"""Rules of the tuning that docs/methods.md states: which images are held out, how large the rates are, and which step is taken."""

import math

import pytest
import torch

from qhyvit.presets import load_preset
from qhyvit.tuning import distillation
from qhyvit.tuning.checkpoint import Progress

STEPS = 16


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (9, 1), (32, 3), (1024, 102)])
def test_a_tenth_of_the_images_is_held_out_and_no_other_is_left_out(count, held_out):
    images = torch.arange(count).view(-1, 1, 1, 1)
    learnt_from, held = distillation._split(images)
    assert len(held) == held_out
    assert torch.equal(torch.cat([learnt_from, held]), images)  # the last are held out: a search has seen the first


@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "factors"),
    [(3, 4, [1, 1, 1, 1]), (4, 8, [1 / 16, 1, 1 / 16, 1]), (6, 5, [1 / 2, 1 / 4, 1 / 2, 1 / 4])],
)
def test_rates_halve_with_each_bit_above_four(weight_bits, activation_bits, factors):
    """Of activation scales and biases with the bits of activations, of weight scales and weights with those of weights."""
    settings = load_preset("qhyvit-tuned").tuning.learning_rates
    stated = [settings.activation_scales, settings.weight_scales, settings.biases, settings.weights]
    rates = distillation._learning_rates(settings, weight_bits, activation_bits)
    assert rates == pytest.approx([rate * factor for rate, factor in zip(stated, factors, strict=True)])


@pytest.mark.parametrize(
    ("latest", "step", "restarts", "too_large"),
    [(1.6, 4, 0, True), (1.4, 4, 0, False), (1.6, 5, 0, False), (math.nan, 4, 2, True), (math.nan, 4, 3, False)],
)
def test_rates_are_too_large_where_the_divergence_rises_by_half_in_the_first_quarter(latest, step, restarts, too_large):
    progress = Progress(step, start=1.0, latest=latest, least=1.0, restarts=restarts)
    assert distillation._rates_are_too_large(progress, STEPS) is too_large


def test_values_of_the_least_divergence_are_kept():
    progress, value = Progress.of_start(1.0), torch.nn.Parameter(torch.zeros(1))
    for step, divergence in enumerate((0.9, 0.4, 0.6)):
        value.data.fill_(step)
        progress.note(divergence, {"value": value})
    assert (progress.least, progress.latest, progress.best["value"].tolist()) == (0.4, 0.6, [1.0])
