"""NNCF's post-training quantization for OpenVINO."""

from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from qhyvit.deploy.exporting import export
from qhyvit.deploy.extra import import_extra
from qhyvit.graph.traced_model import TracedModel


def quantize(
    model: TracedModel,
    images: Tensor,
    path: Path,
    *,
    preset: str | None = None,
    model_type: str | None = None,
    fast_bias_correction: bool = True,
) -> None:
    """Quantize ``model`` to W8A8 from the calibration ``images`` [N, C, H, W], all of them, and write an OpenVINO model to ``path``.

    The settings are those of `nncf.quantize`, with its defaults: activations are symmetric unless ``preset`` is "mixed" or ``model_type``
    is "transformer", which also smooths activations (SmoothQuant, arXiv 2211.10438).
    """
    nncf, openvino = import_extra("nncf"), import_extra("openvino")
    with TemporaryDirectory() as folder:
        exported = Path(folder, "fp32.xml")
        export(model, {}, images[:1], exported)
        quantized = nncf.quantize(
            openvino.Core().read_model(exported),
            nncf.Dataset([image.numpy() for image in images.split(1)]),
            subset_size=len(images),
            preset=preset and nncf.QuantizationPreset(preset),
            model_type=model_type and nncf.ModelType(model_type),
            fast_bias_correction=fast_bias_correction,
        )
        openvino.save_model(quantized, path, compress_to_fp16=False)
