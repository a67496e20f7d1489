"""Calibrate and quantize with one method of qhyvit."""

from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

import qhyvit
from benchmarks.common import IMAGES, SEED, SIZE
from benchmarks.yardstick import load
from qhyvit.graph.traced_model import TracedModel
from qhyvit.presets import load_preset


def main(method: str, size: int = SIZE, images: int = IMAGES, prepare_only: bool = False) -> None:
    """Import the method, trace, and unless ``prepare_only``, quantize to W8A8 in mode partial and save."""
    for module in ("qhyvit.api.quantization", f"qhyvit.methods.{load_preset(method).algorithm}"):
        import_module(module)
    model, batches = load(size, images)
    if prepare_only:
        TracedModel.from_module(model, batches[0].repeat(2, 1, 1, 1))
        return
    quantized = qhyvit.quantize(model, batches, method=method, bits="w8a8", seed=SEED)
    with TemporaryDirectory() as folder:
        quantized.save(Path(folder, "quantized.safetensors"))


if __name__ == "__main__":
    typer.run(main)
