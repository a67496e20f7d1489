"""NNCF's post-training quantization for OpenVINO."""

from pathlib import Path

from torch import Tensor

from qhyvit.deploy import openvino
from qhyvit.deploy.extra import import_extra
from qhyvit.deploy.lowering import Form, lower
from qhyvit.graph.traced_model import TracedModel


def quantize(
    model: TracedModel,
    images: Tensor,
    path: Path,
    *,
    preset: str | None = None,
    model_type: str | None = None,
    fast_bias_correction: bool = True,
    overflow_fix: str | None = None,
) -> None:
    """Quantize ``model`` to W8A8 from the calibration ``images`` [N, C, H, W], all of them, and write an OpenVINO model to ``path``.

    The settings are those of `nncf.quantize`, with its defaults: activations are symmetric unless ``preset`` is "mixed" or ``model_type``
    is "transformer", which also smooths activations (SmoothQuant, arXiv 2211.10438). ``overflow_fix`` "enable" gives all weights
    7 bits, for processors that add products in 16 bits.
    """
    nncf = import_extra("nncf")
    forms: dict[str, Form] = dict.fromkeys(openvino.fused_wrongly(model.sites), "convolution")  # as in our own files
    quantized = nncf.quantize(
        openvino.convert(lower(model, {}, images[:1], forms), [images[:1]]),
        nncf.Dataset([image.numpy() for image in images.split(1)]),
        subset_size=len(images),
        preset=preset and nncf.QuantizationPreset(preset),
        model_type=model_type and nncf.ModelType(model_type),
        fast_bias_correction=fast_bias_correction,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix and nncf.OverflowFix(overflow_fix)),
    )
    openvino.save(quantized, path)
