"""Run a graph with fake-quantized operands of its sites, without changing it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from qhyvit.graph.sites import Site
from qhyvit.quantizers.base import Quantizer, Quantizers


class FakeQuantInterpreter(Interpreter):
    """Interpreter that fake-quantizes the operands that ``quantizers`` has, and passes gradients through unchanged.

    The latter is the straight-through estimator (Bengio et al., arXiv 1308.3432), since the derivative of a step function is zero.
    """

    def __init__(self, graph_module: GraphModule, sites: Sequence[Site], quantizers: Quantizers, *, keep_values: bool = False) -> None:
        super().__init__(graph_module, garbage_collect_values=not keep_values)
        self.quantized_sites = {site.node: site for site in sites if site.name in quantizers}
        self.quantizers = quantizers

    def run_node(self, node: Node) -> Any:
        """Return the value of a node."""
        if node not in self.quantized_sites:
            return super().run_node(node)
        site = self.quantized_sites[node]
        arguments, keywords = self.fetch_args_kwargs_from_env(node)
        changed = list(arguments)
        for position, operand in enumerate(site.operands):
            if operand in self.quantizers[site.name]:
                changed[position] = _straight_through(changed[position], self.quantizers[site.name][operand])
        return self.call_function(node.target, tuple(changed), keywords)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, quantized: Tensor) -> Tensor:
        return quantized

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _straight_through(x: Tensor, quantizer: Quantizer) -> Tensor:
    quantized = quantizer.fake_quantize(x.detach())
    return _StraightThrough.apply(x, quantized) if x.requires_grad else quantized
