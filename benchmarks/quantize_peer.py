"""Quantize with another tool, from the graph that qhyvit traces."""

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import typer

from benchmarks.common import IMAGES, SIZE
from benchmarks.yardstick import load
from qhyvit.config.deployment import PEER_FORMATS, SUFFIXES, Peer
from qhyvit.deploy.exporting import export
from qhyvit.graph.traced_model import TracedModel
from qhyvit.peers import PEERS

TOOLS = {"openvino": "nncf", "onnx": "onnxruntime.quantization"}  # modules by the format of their models


def main(peer: Peer, size: int = SIZE, images: int = IMAGES, prepare_only: bool = False) -> None:
    """Import the tool, trace and export in FP32, and unless ``prepare_only``, quantize and save."""
    import_module(TOOLS[PEER_FORMATS[peer]])
    module, batches = load(size, images)
    traced = TracedModel.from_module(module, batches[0].repeat(2, 1, 1, 1))
    with TemporaryDirectory() as folder:
        path = Path(folder, "model").with_suffix(SUFFIXES[PEER_FORMATS[peer]])
        if prepare_only:
            export(traced, {}, batches[0], path)
        else:
            PEERS[peer](traced, torch.cat(batches), path)


if __name__ == "__main__":
    typer.run(main)
