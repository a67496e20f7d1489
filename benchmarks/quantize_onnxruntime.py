"""Quantize statically with ONNX Runtime: full ranges, per-channel weights, in QDQ form."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import typer
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from torch import Tensor

from benchmarks.common import IMAGES, SIZE
from benchmarks.yardstick import load


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Reader of the images, one at a time."""

    def __init__(self, batches: list[Tensor]) -> None:
        self.remaining = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.remaining, None)
        return None if batch is None else {"images": batch.numpy()}


def main(size: int = SIZE, images: int = IMAGES, prepare_only: bool = False) -> None:
    """Export, and unless that is all, quantize and save."""
    model, batches = load(size, images)
    with TemporaryDirectory() as folder:
        exported = Path(folder, "exported.onnx")
        torch.onnx.export(model, (batches[0],), str(exported), input_names=["images"], opset_version=17, dynamo=False)
        if prepare_only:
            return
        quantize_static(
            exported,
            Path(folder, "quantized.onnx"),
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


if __name__ == "__main__":
    typer.run(main)
