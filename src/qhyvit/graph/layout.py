"""Find the contents of each tensor of a graph: a feature map, tokens made of its pixels, or neither.

Every tensor comes with the index of the pixel that each of its elements belongs to. An operator that only moves data is run on these
indices. Any unfolding into patches or windows, and back, is thus followed exactly where shapes alone are ambiguous. Matrix products
and convolutions carry over the axes that they do not contract.
"""

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.graph.moves import move
from qhyvit.graph.nodes import arguments_of, moves_data, shape_of, tensor_of
from qhyvit.graph.operators import CONVOLUTIONS, MATMULS, REDUCTIONS, aten


@dataclass(frozen=True, eq=False)
class Positions:
    """Pixel of every element of a tensor.

    ``index`` has the tensor's shape and holds 1 + (image * H + row) * W + column, or 0 for no pixel; ``grid`` is the (H, W) of the
    feature map that the pixels were taken from.
    """

    index: Tensor
    grid: tuple[int, int]

    @cached_property
    def map_axes(self) -> tuple[int, int] | None:
        """Axis that carries rows alone, and axis that carries columns alone; None if the tensor is no map."""
        (height, width), ndim = self.grid, self.index.ndim
        lines = [self.index[tuple(slice(None if other == axis else 1) for other in range(ndim))] for axis in range(ndim)]
        pixels = [line.flatten() - 1 for line in lines]
        images = _varying([line // (height * width) for line in pixels])
        rows = _varying([line // width % height for line in pixels])
        columns = _varying([line % width for line in pixels])
        if len(rows) != 1 or len(columns) != 1 or rows == columns or {*rows, *columns} & {*images}:
            return None
        if _recurs(pixels[rows[0]] // width) or _recurs(pixels[columns[0]] % width):
            return None
        separable = sum(lines) - (ndim - 1) * (pixels[0][0] + 1)
        return (rows[0], columns[0]) if bool((self.index == separable).all()) else None

    @cached_property
    def is_spread(self) -> bool:
        """True if the elements belong to more than one pixel of an image."""
        index = self.index[tuple(slice(1 if stride == 0 else None) for stride in self.index.stride())]
        pixels = (index[index > 0] - 1) % (self.grid[0] * self.grid[1])
        return pixels.numel() > 0 and bool(pixels.min() < pixels.max())


@dataclass(frozen=True)
class Layout:
    """Contents of a tensor: the positions of one grid, of two in a product of queries and keys, or of none."""

    positions: tuple[Positions, ...] = ()

    @cached_property
    def grid(self) -> tuple[int, int] | None:
        """Height and width of the map; None if the tensor is no map."""
        for positions in self.positions:
            if positions.map_axes:
                row, column = positions.map_axes
                return positions.index.shape[row], positions.index.shape[column]
        return None

    @property
    def kind(self) -> Literal["map", "tokens", "neither"]:
        """Kind of the contents: a map has an axis of rows and one of columns; tokens carry several pixels in any other way."""
        return "map" if self.grid else "tokens" if self.positions else "neither"


def find_layouts(graph_module: GraphModule) -> dict[Node, Layout]:
    """Find the layout of every tensor that the graph computes from its input [B, C, H, W].

    A tuple has the layout of the tensor that it was made from. Parameters have none.
    """
    layouts: dict[Node, Layout] = {}
    for node in graph_module.graph.nodes:
        value = node.meta.get("val")
        if node.op in ("placeholder", "call_function") and isinstance(value, Tensor):
            layouts[node] = _merge(_propagate(graph_module, layouts, node))
        elif isinstance(value, (tuple, list)):
            layouts[node] = layouts.get(node.all_input_nodes[0], Layout())
    return layouts


def _propagate(graph_module: GraphModule, layouts: dict[Node, Layout], node: Node) -> Iterable[Positions]:
    shape, arguments = shape_of(node), list[Any](node.args)
    inputs = [layouts.get(source, Layout()) for source in node.all_input_nodes]
    if node.op == "placeholder":
        return [_new_map(shape)]
    if node.target is operator.getitem:
        source, part = arguments
        return [Positions(moved[part], grid) for moved, grid in _move(graph_module, layouts, source)]
    if moves_data(node):
        return [Positions(moved, grid) for moved, grid in _move(graph_module, layouts, node)]
    if node.target in REDUCTIONS:
        given = arguments_of(node)
        return [Positions(old.index.amin(given["dim"] or (), given["keepdim"]), old.grid) for old in inputs[0].positions]
    if node.target in MATMULS:
        left, right = (layouts.get(operand, Layout()) for operand in arguments)
        return _contract([(left, -1), (right, -2)], shape)
    if node.target is aten.linear.default:
        return _contract([(inputs[0], -1)], shape)
    if node.target in CONVOLUTIONS and arguments[1].op == "get_attr":
        return _convolve(inputs[0], tensor_of(graph_module, arguments[1]), shape)
    if node.target is aten.cat.default:
        return _inherit(inputs, shape) or _concatenate(layouts, *arguments)
    return _inherit(inputs, shape)


def _move(graph_module: GraphModule, layouts: dict[Node, Layout], node: Node) -> Iterator[tuple[Any, tuple[int, int]]]:
    """Run the operator on the pixels of its first input."""
    if moves_data(node):
        for old in layouts.get(node.all_input_nodes[0], Layout()).positions:
            yield move(graph_module, node, old.index), old.grid


def _contract(operands: list[tuple[Layout, int]], shape: tuple[int, ...]) -> list[Positions]:
    """Sum over one axis of each operand: keep pixels that do not vary along it, or else let the first stand for all in the sum."""
    pairs = [(old, max(axis, -old.index.ndim)) for layout, axis in operands for old in layout.positions]
    whole = [(old, axis) for old, axis in pairs if _is_constant(old.index, axis)]
    return _inherit([Layout(tuple(Positions(old.index.narrow(axis, 0, 1), old.grid) for old, axis in whole or pairs))], shape)


def _convolve(layout: Layout, weight: Tensor | None, shape: tuple[int, ...]) -> Iterable[Positions]:
    """Keep tokens, and any pixel under a pointwise kernel; any other result of a convolution is a new map [B, C, H, W]."""
    assert weight is not None
    carried = _merge(_contract([(layout, 1)], shape))
    is_pointwise = max(weight.shape[2:]) == 1 and bool(carried.positions or not layout.positions)
    return carried.positions if is_pointwise or carried.kind == "tokens" else [_new_map(shape)]


def _concatenate(layouts: dict[Node, Layout], sources: list[Node], axis: int = 0) -> Iterator[Positions]:
    """Join the pixels of the sources; other tokens, such as a class token, belong to no pixel."""
    for column in zip_longest(*(layouts.get(source, Layout()).positions for source in sources)):
        grid = next(old.grid for old in column if old)
        blank = (torch.zeros(shape_of(source), dtype=torch.float64) for source in sources)
        yield Positions(torch.cat([old.index if old else zeros for old, zeros in zip(column, blank, strict=True)], axis), grid)


def _inherit(inputs: list[Layout], shape: tuple[int, ...]) -> list[Positions]:
    """Take over the pixels of every input that broadcasts, for elementwise and unknown operators; a resized map is a new one."""
    fitted = [(old, _fit(old.index, shape)) for layout in inputs for old in layout.positions]
    inherited = [old if index is old.index else Positions(index, old.grid) for old, index in fitted if index is not None]
    resized = [old.map_axes for old, _ in fitted if old.map_axes and old.index.ndim == len(shape)]
    return inherited or [_new_map(shape, *axes) for axes in resized[:1]]


def _fit(index: Tensor, shape: tuple[int, ...]) -> Tensor | None:
    """Broadcast to the shape, where axes along which the pixels do not vary may have any size; None if that is impossible."""
    if index.shape == shape:
        return index
    for axis in range(index.ndim):
        if _is_constant(index, axis):
            index = index.narrow(axis, 0, 1)
    fits = index.ndim <= len(shape) and all(size in (1, other) for size, other in zip(index.shape[::-1], shape[::-1], strict=False))
    return index.expand(shape) if fits else None


def _new_map(shape: tuple[int, ...], row_axis: int = -2, column_axis: int = -1) -> Positions:
    """Number the pixels of a map of images along the first axis."""

    def along(axis: int) -> Tensor:
        sizes = [1] * len(shape)
        sizes[axis] = shape[axis]
        return torch.arange(shape[axis], dtype=torch.float64).view(sizes)  # im2col takes no integers

    height, width = shape[row_axis], shape[column_axis]
    index = 1 + (along(0) * height + along(row_axis)) * width + along(column_axis)
    return Positions(index.expand(shape), (height, width))


def _merge(found: Iterable[Positions]) -> Layout:
    """Drop duplicates, and positions that no longer distinguish pixels."""
    kept: list[Positions] = []
    for new in found:
        is_known = any(new is old or (new.grid == old.grid and torch.equal(new.index, old.index)) for old in kept)
        if new.is_spread and not is_known:
            kept.append(new)
    return Layout(tuple(kept))


def _is_constant(index: Tensor, axis: int) -> bool:
    return index.stride(axis) == 0 or bool((index == index.narrow(axis, 0, 1)).all())


def _varying(lines: list[Tensor]) -> list[int]:
    return [axis for axis, line in enumerate(lines) if bool((line != line[0]).any())]


def _recurs(line: Tensor) -> bool:
    """Tell if a coordinate recurs after another one, as on an axis made of channels and rows."""
    return len(line.unique_consecutive()) > len(line.unique())
