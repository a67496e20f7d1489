"""What every method is given, and the choices that its settings leave for each operand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from torch import Tensor

from qhyvit.calibration.block_inputs import BlockCollector, BlockStatistics
from qhyvit.calibration.capture import SiteStatistics, capture
from qhyvit.calibration.losses import Loss
from qhyvit.calibration.output_samples import OutputStatistics
from qhyvit.config.methods import Choices, Method
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.graph.fake_quant import site_weight
from qhyvit.graph.sites import Site
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.base import Quantizers
from qhyvit.search.site_problem import Problem

T = TypeVar("T")


@dataclass(frozen=True)
class Calibration:
    """The images of a calibration, to be read by whoever needs more than the statistics, and how the statistics were drawn of them."""

    read_batches: Callable[[], list[Tensor]]
    positions: int | None
    seed: int


@dataclass(frozen=True)
class Task:
    """Quantize ``network`` with ``method`` to the given bits, from the ``statistics`` of every site and tensor site."""

    network: TracedModel
    statistics: dict[str, SiteStatistics]
    output_statistics: dict[str, OutputStatistics]
    calibration: Calibration
    method: Method
    weight_bits: int
    activation_bits: int
    block_statistics: Mapping[str, BlockStatistics] = field(default_factory=dict)

    def settings(self, kind: type[T]) -> T:
        """The settings of the method, which are of the given kind."""
        assert isinstance(self.method, kind)
        return self.method

    def problem(self, site: Site) -> Problem:
        """The reconstruction problem of a site."""
        return Problem(site, site_weight(self.network.graph_module, site), self.statistics[site.name])

    def bits(self, operand: str) -> int:
        """The bits of an operand."""
        return self.weight_bits if operand == "weight" else self.activation_bits

    def choices(self, site: Site, operand: str) -> Choices:
        """What the settings allow for an operand; a matrix product without heads has no channels to tell apart."""
        method = self.method
        if operand == "weight":
            return (method.linear_weights if site.kind == "linear" else None) or method.weights
        of_layers = (method.grouped_activations if site.groups > 1 else None) or method.activations
        choices = method.matmuls if site.kind == "matmul" else of_layers
        return choices if site.axis(operand) is not None else choices.model_copy(update={"granularity": ["per_tensor"]})

    def recalibrated(self, loss: Loss, rounding: Quantizers, blocks: Sequence[Block] = ()) -> "Task":
        """The same task with gradients of another ``loss``, at the network with the quantizers ``rounding``, and those of some blocks."""
        images, network = self.calibration, self.network
        ranges = {name: statistics.ranges for name, statistics in self.statistics.items()}
        of_blocks = BlockCollector(blocks)
        found = capture(
            network.graph_module,
            network.sites,
            images.read_batches(),
            images.positions,
            images.seed,
            loss,
            rounding,
            ranges=ranges,
            collectors=[of_blocks],
        )
        return replace(self, statistics=found, block_statistics=of_blocks.statistics())
