"""What the joint search of bridge blocks needs beyond the sites' statistics: values that enter each block, gradients at its output."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, fx

from qhyvit.calibration.capture import fisher_loss
from qhyvit.files import written_whole
from qhyvit.graph.block import Block
from qhyvit.provenance import Provenance


@dataclass(frozen=True)
class BlockStatistics:
    """Values of a block's inputs over all calibration images, and the Fisher gradient at its output, of the output's shape.

    An input that is a number is a multiple of the number of images: nothing else is dynamic in a traced graph.
    """

    inputs: list[Tensor | int]
    gradient: Tensor


class _Recorder(fx.Interpreter):
    """Runs the graph and keeps the values of some nodes; those of ``outputs`` keep their gradients too."""

    def __init__(self, graph_module: fx.GraphModule, inputs: set[fx.Node], outputs: set[fx.Node]) -> None:
        super().__init__(graph_module)
        self.inputs, self.outputs = inputs, outputs
        self.values: dict[fx.Node, Any] = {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node in self.outputs:
            value.retain_grad() if value.requires_grad else value.requires_grad_()
        if node in self.inputs | self.outputs:
            self.values[node] = value
        return value


def capture_blocks(graph_module: fx.GraphModule, blocks: list[Block], batches: Iterable[Tensor], seed: int) -> dict[str, BlockStatistics]:
    """Statistics of every block over ``batches`` of images [B, 3, H, W], by the block's name."""
    generator = torch.Generator().manual_seed(seed)
    inputs = {node for block in blocks for node in block.inputs}
    recorders = []
    for images in batches:
        recorder = _Recorder(graph_module, inputs, {block.output for block in blocks})
        fisher_loss(recorder.run(images.clone().requires_grad_()), generator).backward()
        recorders.append(recorder)
    return {
        block.name: BlockStatistics(
            inputs=[_joined([recorder.values[node] for recorder in recorders]) for node in block.inputs],
            gradient=torch.cat([recorder.values[block.output].grad for recorder in recorders]),
        )
        for block in blocks
    }


def save_blocks(path: Path, statistics: dict[str, BlockStatistics], provenance: Provenance) -> None:
    """Write tensors ``<block>/gradient`` and ``<block>/<position of the input>``; the header has the inputs that are numbers."""
    tensors, inputs = {}, {}
    for name, entry in statistics.items():
        tensors[f"{name}/gradient"] = entry.gradient.contiguous()
        tensors |= {f"{name}/{place}": value.contiguous() for place, value in enumerate(entry.inputs) if isinstance(value, Tensor)}
        inputs[name] = [None if isinstance(value, Tensor) else value for value in entry.inputs]
    header = {"header": json.dumps({"inputs": inputs, "provenance": provenance}, sort_keys=True)}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_blocks(path: Path) -> dict[str, BlockStatistics]:
    """Read back what `save_blocks` wrote."""
    with safe_open(path, framework="pt") as file:
        inputs = json.loads(file.metadata()["header"])["inputs"]
        return {
            name: BlockStatistics(
                inputs=[file.get_tensor(f"{name}/{place}") if value is None else value for place, value in enumerate(values)],
                gradient=file.get_tensor(f"{name}/gradient"),
            )
            for name, values in inputs.items()
        }


def _joined(values: list[Any]) -> Tensor | int:
    return torch.cat(values).detach() if isinstance(values[0], Tensor) else sum(values)
