"""Input of every method, and the choices that its settings leave for each operand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.output_samples import OutputStatistics
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.config.method_settings import Choices, ConvInputSettings, SearchSettings, ZeroPointSettings
from qhyvit.config.methods import Method
from qhyvit.graph.output_parts import output_parts
from qhyvit.graph.sites import Site, site_bias, site_weight
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search.site_problem import SiteProblem, channel_ranges, range_of_units

T = TypeVar("T")


@dataclass(frozen=True)
class CalibrationImages:
    """Calibration images, for methods that need further passes over them, and the settings with which rows were sampled.

    ``read_more(count)`` returns at most ``count`` images [N, C, H, W]; a smaller draw is the start of a larger one. None: the first images
    of the batches are used.
    """

    read_batches: Callable[[], list[Tensor]]
    positions: int | None
    seed: int
    read_more: Callable[[int], Tensor] | None = None

    def read(self, count: int) -> Tensor:
        """Return at most ``count`` images [N, C, H, W]."""
        return self.read_more(count) if self.read_more else torch.cat(self.read_batches())[:count]


@dataclass(frozen=True)
class Task:
    """Quantize ``model`` with ``method`` to the given bits, from the statistics of every site and output site.

    A ``recalibration`` must be of the same model, calibration, bits and `recalibration_key`; without it, methods make what they need.
    """

    model: TracedModel
    statistics: dict[str, SiteStatistics]
    output_statistics: dict[str, OutputStatistics]
    calibration: CalibrationImages
    method: Method
    weight_bits: int
    activation_bits: int
    recalibration: Recalibration | None = None

    def settings(self, kind: type[T]) -> T:
        """Return the settings of the method, which are of the given kind."""
        assert isinstance(self.method, kind)
        return self.method

    def problem(self, site: Site) -> SiteProblem:
        """Return the search problem of a site."""
        weight, bias = (read(self.model.graph_module, site) for read in (site_weight, site_bias))
        splits = isinstance(self.method, SearchSettings) and self.method.split_qkv
        parts = output_parts(self.model.graph_module, site) if splits else None
        return SiteProblem(site, weight, self.statistics[site.name], bias, parts)

    def bits(self, site: Site, operand: str) -> int:
        """Return the bits of an operand; 32 if it stays FP32."""
        if operand == "weight":
            return self.weight_bits
        stated = self.method.conv_input_bits if isinstance(self.method, ConvInputSettings) and site.kind == "conv" else None
        return stated or self.activation_bits

    def choices(self, site: Site, operand: str) -> Choices:
        """Return the granularities and schemes for an operand; a matrix product without heads is per-tensor."""
        method = self.method
        if operand == "weight":
            return (method.linear_weights if site.kind == "linear" else None) or method.weights
        of_layers = (method.grouped_activations if site.groups > 1 else None) or method.activations
        choices = method.matmuls if site.kind == "matmul" else of_layers
        return choices if site.axis(operand) is not None else choices.model_copy(update={"granularity": ["per_tensor"]})

    def default_range(self, site: Site, operand: str) -> tuple[Tensor, Tensor]:
        """Return the full range of an operand by the first granularity of the settings: low and high, [] or one per channel [C]."""
        of_channels = channel_ranges(self.statistics[site.name], site_weight(self.model.graph_module, site))[operand]
        return range_of_units(of_channels, self.choices(site, operand).granularity[0])

    def covering(self, site: Site, operand: str, low: Tensor, high: Tensor) -> UniformQuantizer:
        """Return the quantizer of the range [low, high], with the first granularity and scheme of the settings."""
        choices = self.choices(site, operand)
        axis = None if choices.granularity[0] == "per_tensor" else site.axis(operand)
        zero_point = self.method.zero_point if isinstance(self.method, ZeroPointSettings) else "widened"
        return UniformQuantizer.covering(low, high, self.bits(site, operand), choices.scheme[0], axis, zero_point)
