"""Quantize with NNCF's defaults for OpenVINO."""

from pathlib import Path
from tempfile import TemporaryDirectory

import nncf
import openvino
import typer

from benchmarks.common import IMAGES, SIZE
from benchmarks.yardstick import load


def main(size: int = SIZE, images: int = IMAGES, prepare_only: bool = False) -> None:
    """Convert, and unless that is all, quantize and save."""
    model, batches = load(size, images)
    converted = openvino.convert_model(model, example_input=batches[0], input=list(batches[0].shape))
    if prepare_only:
        return
    quantized = nncf.quantize(converted, nncf.Dataset([batch.numpy() for batch in batches]), subset_size=images)
    with TemporaryDirectory() as folder:
        openvino.save_model(quantized, Path(folder, "quantized.xml"))


if __name__ == "__main__":
    typer.run(main)
