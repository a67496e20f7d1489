"""Write operators that round a tensor into a graph."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.deploy.grids import SIGNED, EngineGrid
from qhyvit.graph.operators import aten


@dataclass(frozen=True)
class Writer:
    """Writer of nodes before the node ``place``; its constants become buffers named after ``name``."""

    graph_module: GraphModule
    place: Node
    name: str

    def call(self, operator: Any, *arguments: Any) -> Node:
        """Write the call of an operator."""
        with self.graph_module.graph.inserting_before(self.place):
            return self.graph_module.graph.call_function(operator, arguments)

    def constant(self, kind: str, value: Tensor) -> Node:
        """Write a constant, under a name that the network does not have yet."""
        name = f"{self.name}_{kind}"
        while hasattr(self.graph_module, name):
            name += "_"
        self.graph_module.register_buffer(name, value)
        with self.graph_module.graph.inserting_before(self.place):
            return self.graph_module.graph.get_attr(name)

    def on_grid(self, x: Node, grid: EngineGrid, ndim: int) -> Node:
        """Write the operators that clamp ``x`` of ``ndim`` dimensions and round it to the integers of the grid, and return the last."""
        if grid.clamps:
            x = self._clamp(x, grid.low * grid.scale, grid.high * grid.scale, grid.axis, ndim)
        if grid.scale.ndim == 0:
            scale, zero_point = float(grid.scale), int(grid.zero_point)
            return self.call(aten.fake_quantize_per_tensor_affine.default, x, scale, zero_point, *grid.limits)
        assert grid.axis is not None
        parameters = self.constant("scale", grid.scale), self.constant("zero_point", grid.zero_point.to(torch.int32))
        return self.call(aten.fake_quantize_per_channel_affine.default, x, *parameters, grid.axis % ndim, *grid.limits)

    def without_grid(self, x: Node, grid: EngineGrid, ndim: int) -> Node:
        """Write the operators that round ``x`` to the values of the grid, which no engine takes for one, and return the last."""
        scale = self.per_channel("scale", grid.scale, grid.axis, ndim)
        integers = self.call(aten.round.default, self.call(aten.div.Tensor, x, scale))
        return self.call(aten.mul.Tensor, self._clamp(integers, grid.low, grid.high, grid.axis, ndim), scale)

    def weight(self, integers: Tensor, scale: Tensor) -> Node:
        """Write a weight whose values are ``integers`` times the ``scale`` [O] of its output channels, as signed integers of 8 bits."""
        values = integers * scale.view(-1, *[1] * (integers.ndim - 1))
        parameters = self.constant("weight_scale", scale), self.constant("weight_zero_point", torch.zeros_like(scale, dtype=torch.int32))
        return self.call(aten.fake_quantize_per_channel_affine.default, self.constant("weight", values), *parameters, 0, *SIGNED)

    def per_channel(self, kind: str, value: Tensor, axis: int | None, ndim: int) -> Node:
        """Write a constant that broadcasts against a tensor of ``ndim`` dimensions."""
        return self.constant(kind, value if value.ndim == 0 else value.view([-1 if at == axis % ndim else 1 for at in range(ndim)]))  # type: ignore[operator]

    def _clamp(self, x: Node, low: Tensor, high: Tensor, axis: int | None, ndim: int) -> Node:
        """Write a maximum and a minimum: ONNX Runtime looks through a clip to the grid behind, and rounds the bias of the layer before."""
        above = self.call(aten.maximum.default, x, self.per_channel("low", _common(low), axis, ndim))
        return self.call(aten.minimum.default, above, self.per_channel("high", _common(high), axis, ndim))


def _common(value: Tensor) -> Tensor:
    """Return the one value [] of all channels, or else ``value`` [C]: OpenVINO makes one clamp of single values."""
    first = value.flatten()[0]
    return first if bool((value == first).all()) else value
