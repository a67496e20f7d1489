"""Static quantization of ONNX Runtime."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from qhyvit.deploy import onnx
from qhyvit.deploy.exporting import export
from qhyvit.deploy.extra import convertible, import_extra
from qhyvit.files import atomic_write
from qhyvit.graph.traced_model import TracedModel


def quantize(model: TracedModel, images: Tensor, path: Path) -> None:
    """Quantize ``model`` to W8A8 from the calibration ``images`` [N, C, H, W] and write an ONNX model to ``path``.

    Observed ranges, asymmetric activations and weights per channel, in QDQ form. Raises InputError if ONNX Runtime cannot load its file.
    """
    runtime, tools = import_extra("onnxruntime"), import_extra("onnxruntime.quantization")

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        """Images, one at a time."""

        def __init__(self, name: str) -> None:
            self.batches: Iterator[dict[str, Any]] = ({name: image.numpy()} for image in images.split(1))

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with TemporaryDirectory() as folder:
        exported, quantized = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        export(model, {}, images[:1], exported)
        tools.quantize_static(
            exported,
            quantized,
            Reader(runtime.InferenceSession(exported).get_inputs()[0].name),
            quant_format=tools.QuantFormat.QDQ,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
        )
        with convertible(onnx.NAME):  # it makes files of shared weights that it cannot load
            onnx.compile_model(quantized)
        with atomic_write(path) as temporary:
            shutil.copyfile(quantized, temporary)
