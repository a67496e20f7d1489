"""What every method is given, and the choices that its settings leave for each operand."""

from dataclasses import dataclass, field
from typing import TypeVar

from qhyvit.calibration.blocks import BlockStatistics
from qhyvit.calibration.capture import SiteStatistics
from qhyvit.config import Choices, Method
from qhyvit.graph.insert import site_weight
from qhyvit.graph.sites import Site
from qhyvit.network import Network
from qhyvit.search.problem import Problem

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """Quantize ``network`` with ``method`` to the given bits, from the calibration ``statistics`` of every site.

    ``blocks`` has those of the bridge blocks, for methods that treat them jointly.
    """

    network: Network
    statistics: dict[str, SiteStatistics]
    method: Method
    weight_bits: int
    activation_bits: int
    blocks: dict[str, BlockStatistics] = field(default_factory=dict)

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
        if operand == "weight":
            return self.method.weights
        choices = self.method.matmuls if site.kind == "matmul" else self.method.activations
        return choices if site.axis(operand) is not None else choices.model_copy(update={"granularity": ["tensor"]})
