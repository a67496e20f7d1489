"""The differences that are measured: the method, and what its source has instead."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.differences import sources
from benchmarks.differences.network import IMAGES, POSITIONS, Network
from qhyvit.config.base import Mode
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers


@dataclass(frozen=True)
class Difference:
    """A method with one part as in its source: other settings or calibration, objects in place of others, or another arithmetic.

    ``patches`` maps names of objects, with their modules, to what replaces them while the method runs. ``change`` alters the quantized
    network, ``find`` finds the quantizers instead of the method. ``images`` are as many calibration images, ``positions`` as many sampled
    positions of each (None: all); the rows of sites may be all of the last batch.
    """

    method: str
    name: str
    mode: Mode = "partial"
    settings: Mapping[str, Any] = field(default_factory=dict)
    images: int = IMAGES
    positions: int | None = POSITIONS
    rows_of_one_batch: bool = False
    patches: Callable[[Network], Mapping[str, Any]] = lambda _: {}
    change: sources.Changed | None = None
    find: Callable[[Task], Quantizers] | None = None


def _patch(name: str, value: Any) -> Callable[[Network], Mapping[str, Any]]:
    return lambda _: {name: value}


ALL_TOKENS = "qhyvit.search.objectives.CosineDistance.compares_all"
SYMMETRIC = "qhyvit.quantizers.uniform.GRIDS"
ROUNDS = "qhyvit.search.alternating.LEAST_GAIN"
MULTIPLIERS = "qhyvit.search.joint_search.improve_channels"
OF_SAMPLE = "qhyvit.search.block_errors.BlockErrors.sampled"


def _before_norm(network: Network) -> Mapping[str, Any]:
    return {"qhyvit.methods.task.Task.problem": sources.cosine_before_norm(network.folded), ALL_TOKENS: lambda *_: True}


DIFFERENCES = [
    Difference("easyquant", "cosine-before-BatchNorm", patches=_before_norm),
    Difference("easyquant", "all-tokens-and-pixels", positions=None),
    Difference("easyquant", "all-candidates-on-all-rows", patches=_patch(ALL_TOKENS, lambda *_: True)),
    Difference("easyquant", "last-candidate-not-tried", settings={"scale_max": 1.193}),
    Difference("fqvit", "256-images", images=256),
    Difference("fqvit", "integer-arithmetic", mode="full", change=sources.with_integer_arithmetic),
    Difference("fqvit", "rounded-reciprocal", patches=_patch("qhyvit.quantizers.logarithmic.LogQuantizer.quantize", sources.nearest_power)),
    Difference(
        "fqvit", "half-a-step-wider", patches=_patch(SYMMETRIC, {"widened": sources.half_step_wider, "saturated": sources.half_step_wider})
    ),
    Difference("fqvit", "factors-of-the-last-batch", mode="full", rows_of_one_batch=True),
    Difference(
        "fqvit", "factors-of-LayerNorm-alone", mode="full", patches=_patch("qhyvit.methods.outputs.before_norm", sources.layer_norm_reads)
    ),
    Difference("fqvit", "results-rounded", mode="full", change=sources.with_rounded_results),
    Difference("ptq4vit", "all-positions", positions=None),
    Difference("ptq4vit", "splits-given-FP32", patches=_patch("qhyvit.methods.ptq4vit._after_softmax", sources.splits_given_fp32())),
    Difference("ptq4vit", "three-rounds", patches=_patch(ROUNDS, -sys.maxsize)),
    Difference("repqvit", "calibrated-in-order", find=sources.calibrated_in_order),
    Difference("repqvit", "ranges-without-0", patches=lambda _: _ranges_as_they_are()),
    Difference("repqvit", "all-rows", positions=None),
    Difference("repqvit", "bias-of-the-FP32-weight", change=sources.with_bias_of_fp32_weight),
    Difference("hyq", "rows-of-one-batch", rows_of_one_batch=True),
    Difference("hyq", "100-images", images=100),
    Difference("hyq", "linear-exponential", change=sources.with_softmax(sources.linear_exponential)),
    Difference("hyq", "scales-may-vanish", patches=_patch("qhyvit.methods.hyq.SMALLEST_ALPHA", 1e-9)),
    Difference("hyq", "results-rounded", mode="full", change=sources.with_rounded_results),
    Difference("qhyvit", "candidates-from-0.5", settings={"scale_min": 0.5}),
    Difference("qhyvit", "whole-ranges-of-outputs", mode="full", settings={"output_scale": "minmax"}),
    Difference("qhyvit", "results-rounded", mode="full", change=sources.with_rounded_results),
    Difference("qhyvit", "all-positions", positions=None),
    Difference("qhyvit", "three-rounds", patches=_patch(ROUNDS, -sys.maxsize)),
    Difference(
        "qhyvit-joint", "from-default-settings", patches=_patch("qhyvit.methods.scale_search.search_sites", sources.defaults_in_blocks())
    ),
    Difference("qhyvit-joint", "common-multipliers", patches=_patch(MULTIPLIERS, sources.common_multiplier)),
    Difference("qhyvit-joint", "multipliers-of-both-schemes", patches=_patch(MULTIPLIERS, sources.both_schemes)),
    Difference("qhyvit-joint", "100-multipliers", patches=_patch("qhyvit.search.channel_multipliers.GRIDS_PER_RUN", 100)),
    Difference("qhyvit-joint", "all-scales-on-all-images", patches=_patch(OF_SAMPLE, lambda errors, _: errors)),
]


def _ranges_as_they_are() -> Mapping[str, Any]:
    grids = {"widened": sources.range_as_it_is, "saturated": sources.range_as_it_is}
    return {SYMMETRIC: grids, "qhyvit.methods.repqvit.range_to_grid": sources.range_as_it_is}
