"""Which candidates the operands of a bridge block have, by the method."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from conftest import make_task
from patch_network import PatchNetwork

from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers, qhyvit, scale_search
from qhyvit.methods.recalibration import bridge_blocks, recalibrated
from qhyvit.presets import load_preset
from qhyvit.quantizers.base import same_quantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.block_errors import BlockErrors
from qhyvit.search.joint_search import search_jointly

BITS, FACTORS = 4, (0.7, 0.85, 1.0)


def task_of(name):
    torch.manual_seed(0)
    model, images = PatchNetwork(), torch.randn(4, 3, 8, 8)
    factors = {"scale_min": min(FACTORS), "scale_max": max(FACTORS), "candidates": len(FACTORS)}
    return make_task(trace(model, images), images.split(2), load_preset(name).model_copy(update=factors), BITS, BITS)


@pytest.mark.parametrize(
    ("name", "chosen", "left"),
    [
        ("qhyvit", "per_tensor", {"per_tensor", "per_channel"}),
        ("qhyvit-cv", "per_tensor", {"per_tensor"}),
        ("qhyvit-cv", "per_channel", {"per_tensor", "per_channel"}),
    ],
)
def test_cross_validated_block_keeps_the_per_tensor_granularity_of_a_site(name, chosen, left):
    task = task_of(name)
    families = scale_search.candidates_of(task, task.model.sites[1])
    (quantizer,) = (family.start() for family in families["input"] if (family.granularity, family.scheme) == (chosen, "symmetric"))
    assert {family.granularity for family in qhyvit._allowed(families["input"], quantizer, task.method)} == left
    assert {family.cross_validated for family in families["input"]} == {name == "qhyvit-cv"}
    assert not any(family.cross_validated for family in families["weight"])


def test_joint_method_tries_every_candidate_at_the_output_of_the_block():
    """Every granularity and scheme with every multiplier, written out, from the quantizers of the single sites."""
    task = recalibrated(task_of("qhyvit-joint"))
    start, (block,) = scale_search.search_sites(task), bridge_blocks(task.model)
    statistics = task.recalibration.blocks[block.name]()
    every = {
        (site.name, operand): [
            grids(task.problem(site), operand, granularity, scheme) for granularity, scheme in kinds(task.method, operand)
        ]
        for site, operand in product(block.sites, ("input", "weight"))
    }
    expected = search_jointly(BlockErrors(block, statistics.inputs, statistics.gradient), start, every, task.method.rounds)
    found = find_quantizers(replace(task, recalibration=None), "partial")
    assert {(site, operand) for site, operand in every if not same_quantizer(start[site][operand], expected[site][operand])}
    for site, operand in every:
        assert same_quantizer(found[site][operand], expected[site][operand]), (site, operand)


def kinds(method, operand):
    choices = method.weights if operand == "weight" else method.activations
    return product(choices.granularity, choices.scheme)


def grids(problem, operand, granularity, scheme):
    """One quantizer per multiplier of the range, the nearest to the whole range first."""
    low, high = problem.range(operand, granularity)
    axis = None if granularity == "per_tensor" else problem.site.axis(operand)
    factors = torch.linspace(min(FACTORS), max(FACTORS), len(FACTORS)).flip(0)
    return [UniformQuantizer.covering(factor * low, factor * high, BITS, scheme, axis) for factor in factors]
