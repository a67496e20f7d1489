"""Errors at the output of a bridge block for many values of one operand, with all other quantizers of the block in place.

The values before the site are computed once. Candidates are joined along the axis of the images, so that they share each operator.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from qhyvit.graph.bridge_subgraph import Block
from qhyvit.graph.nodes import batch_axis, is_batched, shape_of
from qhyvit.graph.operand_nodes import with_operand_nodes
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import descendants, independent_of
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer

CHUNK = 2**20  # elements of the largest tensor that are made at once, so that they stay in the cache
SAMPLE = 2**17  # elements of all tensors of the block for one candidate, where a sample of the images will do
FEWEST = 2  # images of such a sample


class Scored(NamedTuple):
    """Quantizer of an operand, and the block's error with it."""

    error: float
    quantizer: UniformQuantizer


class BlockErrors:
    """Fisher-weighted squared errors at the output of a block, over its calibration images (Q-HyViT, arXiv 2303.12557, Eq. 9)."""

    def __init__(self, block: Block, inputs: Sequence[Tensor | int], gradient: Tensor) -> None:
        """``inputs`` are the values of the block's inputs over the images, ``gradient`` that of the loss at its output."""
        self.block, self.inputs, self.gradient = block, inputs, gradient
        self.graph_module, self.operand_nodes = with_operand_nodes(block)
        self.reference = block.graph_module(*inputs)
        self.axis = batch_axis(block.output)

    def by_node(self, quantizers: Quantizers) -> dict[Node, Quantizer]:
        """Return the quantizers of the block by the nodes of their operands."""
        return {node: quantizers[site][operand] for (site, operand), node in self.operand_nodes.items()}

    def values(self, quantizers: Quantizers) -> dict[Node, Any]:
        """Return the values of all nodes with these quantizers."""
        runner = _Runner(self.graph_module, self.by_node(quantizers))
        runner.run(*self.inputs)
        return runner.env

    def error(self, quantizers: Quantizers) -> float:
        """Return the error with these quantizers."""
        (output,) = self.graph_module.graph.find_nodes(op="output")
        difference = self.values(quantizers)[output] - self.reference
        return float(difference.mul_(self.gradient).square_().sum(dtype=torch.float64))

    @cached_property
    def images(self) -> int:
        """Number of calibration images."""
        (images,) = self.block.output.graph.find_nodes(op="placeholder")
        return self.gradient.shape[self.axis] * shape_of(images)[0] // shape_of(self.block.output)[self.axis]

    def sampled(self, quantizers: Quantizers) -> Self:
        """Return the errors over as many images, at equal distances, as make about SAMPLE elements, at least FEWEST, at most all images."""
        elements = sum(value.numel() for node, value in self.values(quantizers).items() if isinstance(value, Tensor) and is_batched(node))
        count = max(FEWEST, self.images * SAMPLE // elements)
        if count >= self.images:
            return self
        some = torch.arange(count) * self.images // count
        inputs = [self._of_images(some, node, value) for node, value in zip(self.block.inputs, self.inputs, strict=True)]
        return type(self)(self.block, inputs, self._of_images(some, self.block.output, self.gradient))

    def _of_images(self, images: Tensor, node: Node, value: Any) -> Any:
        if not is_batched(node):
            return value
        if not isinstance(value, Tensor):
            return value // self.images * len(images)
        axis = batch_axis(node)
        return value.unflatten(axis, (self.images, -1)).index_select(axis, images).flatten(axis, axis + 1)


class OperandErrors:
    """Errors of a block as a function of the fake-quantized value of one operand.

    ``exact`` is the operand before quantization, ``other`` the fake-quantized value of the site's other operand.
    """

    def __init__(self, problem: BlockErrors, site: Site, operand: str, quantizers: Quantizers) -> None:
        """``quantizers`` are those of the whole block; that of the operand has no influence."""
        self.problem, self.site, self.operand = problem, site, operand
        self._node = problem.operand_nodes[site.name, operand]
        (self._site_node,) = self._node.users
        values = problem.values(quantizers)
        self.exact: Tensor = values[self._node.all_input_nodes[0]]
        self._known = independent_of(self._node, values)
        (other,) = {*site.operands} - {operand}
        self.other: Tensor = self._known[problem.operand_nodes[site.name, other]]
        self._quantizers = problem.by_node(quantizers)
        later = descendants([self._site_node])
        self._read = {source for node in later for source in node.all_input_nodes if source in self._known}
        largest = max(values[node].numel() for node in later | {self._site_node} if isinstance(values.get(node), Tensor))
        self._chunk = max(1, CHUNK // largest) if is_batched(self._site_node) else 1
        self._repeated: dict[int, dict[Node, Any]] = {}

    @property
    def is_last(self) -> bool:
        """True if the site's output is the block's."""
        return self.site is self.problem.block.sites[-1]

    def errors(self, values: Iterable[Tensor]) -> Tensor:
        """Return the error [m] for each of m values of the operand, in float64."""
        return torch.cat([self._squares(chunk).flatten(1).sum(1, dtype=torch.float64) for chunk in _chunks(values, self._chunk)])

    def errors_by_channel(self, values: Iterable[Tensor]) -> Tensor:
        """Return the errors [m, O] of the output channels for each of m weights of the block's last layer, in float64."""
        axis = {"conv": 2, "linear": -1}[self.site.kind]
        by_channel = (self._squares(chunk).movedim(axis, 1).flatten(2) for chunk in _chunks(values, self._chunk))
        return torch.cat([squares.sum(2, dtype=torch.float64) for squares in by_channel])

    def scored(self, quantizer: UniformQuantizer) -> Scored:
        """Return a quantizer with its error."""
        return self.least([quantizer])

    def least(self, quantizers: Sequence[UniformQuantizer]) -> Scored:
        """Return the quantizer with the least error, of equals the first, and this error."""
        errors = self._errors_with(quantizers)
        place = int(errors.argmin())
        return Scored(float(errors[place]), quantizers[place])

    def best(self, quantizers: Sequence[UniformQuantizer], count: int) -> list[UniformQuantizer]:
        """Return the ``count`` quantizers with the least errors."""
        places = self._errors_with(quantizers).argsort(stable=True)[:count]
        return [quantizers[place] for place in places.tolist()]

    def _errors_with(self, quantizers: Sequence[UniformQuantizer]) -> Tensor:
        return self.errors(quantizer.fake_quantize(self.exact) for quantizer in quantizers)

    def difference(self, values: Sequence[Tensor]) -> Tensor:
        """Return the outputs for m values minus the exact output: m first, then the axes of the output."""
        outputs = torch.cat([self._site_output(value) for value in values], batch_axis(self._site_node))
        runner = _Runner(self.problem.graph_module, self._quantizers)
        output = runner.run(initial_env=self._known_of(len(values)) | {self._site_node: outputs}, enable_io_processing=False)
        axis = self.problem.axis
        return output.unflatten(axis, (len(values), -1)).movedim(axis, 0) - self.problem.reference

    def _squares(self, values: Sequence[Tensor]) -> Tensor:
        return self.difference(values).mul_(self.problem.gradient).square_()

    def _site_output(self, value: Tensor) -> Tensor:
        node = self._site_node
        arguments = map_arg(node.args, lambda source: value if source is self._node else self._known[source])
        output = node.target(*arguments, **node.kwargs)  # type: ignore[operator]
        assert isinstance(output, Tensor)
        return output

    def _known_of(self, copies: int) -> dict[Node, Any]:
        """Return the known values for so many copies of the images; of nodes before the site that no later one reads only the nodes."""
        if copies not in self._repeated:
            self._repeated[copies] = {node: _repeat(node, self._known[node], copies) for node in self._read}
        before: dict[Node, Any] = dict.fromkeys([*self._known, self._node])
        return before | self._repeated[copies]


class _Runner(Interpreter):
    """Interpreter that keeps all values, and fake-quantizes those of the nodes that ``quantizers`` has."""

    def __init__(self, graph_module: GraphModule, quantizers: Mapping[Node, Quantizer]) -> None:
        super().__init__(graph_module, garbage_collect_values=False)
        self.quantizers = quantizers

    def run_node(self, node: Node) -> Any:
        """Return the value of a node."""
        value = super().run_node(node)
        return self.quantizers[node].fake_quantize(value) if node in self.quantizers else value


def _repeat(node: Node, value: Any, copies: int) -> Any:
    if not is_batched(node):
        return value
    return torch.cat([value] * copies, batch_axis(node)) if isinstance(value, Tensor) else value * copies


def _chunks(values: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
