"""Joint search of a bridge block: every quantizer is compared by the error at the block's output, with all others in place.

Q-HyViT (arXiv 2303.12557), Section IV: the unit of reconstruction is O^bb = w_n ... w_1 x, not the layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from qhyvit.graph.bridge_subgraph import Block
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import independent_of
from qhyvit.quantizers.base import Quantizer, Quantizers, same_quantizer


class QuantizedBlock:
    """Error at the output of a block as a function of the quantizers of its sites."""

    def __init__(self, block: Block, inputs: Sequence[Tensor | int], gradient: Tensor) -> None:
        """``inputs`` are the values of the block's inputs over the calibration images, ``gradient`` that of the loss at its output."""
        self.block = block
        self.inputs = inputs
        self.gradient = gradient
        self.reference = block.graph_module(*inputs)

    def error(self, quantizers: Quantizers, known: dict[Node, Any] | None = None) -> float:
        """Return the Fisher-weighted squared error; ``known`` holds values of nodes that need not be computed again."""
        output = self._runner(quantizers).run(*self.inputs, initial_env=dict(known or {}))
        return float(output.sub_(self.reference).mul_(self.gradient).square_().sum())

    def before(self, site: Site, quantizers: Quantizers) -> dict[Node, Any]:
        """Return the values of all nodes that do not depend on the site's quantizers."""
        runner = self._runner(quantizers)
        runner.run(*self.inputs)
        return independent_of(site.node, runner.env)

    def _runner(self, quantizers: Quantizers) -> FakeQuantInterpreter:
        return FakeQuantInterpreter(self.block.graph_module, self.block.sites, quantizers, keep_values=True)


@torch.inference_mode()
def search_block(problem: QuantizedBlock, start: Quantizers, options: dict[tuple[str, str], list[Quantizer]], rounds: int) -> Quantizers:
    """Improve the quantizers ``start`` of a block's sites by the ``options`` for each site and operand.

    Sites are searched in order of execution, the second operand (the weight of a layer) before the first. The search ends when no operand
    has a better option, or after ``rounds`` rounds.
    """
    best = {site.name: dict(start[site.name]) for site in problem.block.sites}
    least = problem.error(best)
    settled = 0  # operands in a row, from the last one that changed, without a better option
    for _ in range(rounds):
        for site in problem.block.sites:
            known = problem.before(site, best)
            for operand in site.operands[::-1]:
                if settled == len(options):
                    return best
                settled += 1
                for candidate in options[site.name, operand]:
                    if same_quantizer(candidate, best[site.name][operand]):
                        continue
                    tried = best | {site.name: best[site.name] | {operand: candidate}}
                    error = problem.error(tried, known)
                    if error < least:
                        least, best, settled = error, tried, 1
    return best
