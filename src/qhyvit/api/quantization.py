"""Quantization of a module."""

import warnings

from torch import nn

from qhyvit.analysis.site_errors import site_errors
from qhyvit.api.calibration import SAMPLED_POSITIONS, Calibration, calibrate
from qhyvit.api.comparison import is_graph_of
from qhyvit.api.images import Images
from qhyvit.api.modes import plain_modes
from qhyvit.api.module import device_of, state_hash
from qhyvit.api.placement import copy_to
from qhyvit.api.quantized_model import QuantizedModel
from qhyvit.config.base import Mode, parse_bits
from qhyvit.errors import InputError
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.unquantized_products import unquantized_sentence
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.models.values import require_finite
from qhyvit.presets import load_preset
from qhyvit.quantizers.base import on_device, parameters_on_device
from qhyvit.tuning import find_quantization


@plain_modes()
def quantize(
    module: nn.Module,
    images: Images | Calibration,
    method: str = "qhyvit",
    bits: str = "w8a8",
    mode: Mode = "partial",
    seed: int = 0,
) -> QuantizedModel:
    """Quantize ``module`` with a method of the presets and return a QuantizedModel, which is called like ``module``.

    ``method`` is the name of a preset; the default, "qhyvit", is Algorithm 1 of Q-HyViT (arXiv 2303.12557). ``images`` are as in
    `calibrate`, or the Calibration of the same module, which is then not made again (its own seed counts). ``bits`` states the bits of
    weights and activations, 2 to 8 each, as in "w8a8". Mode "partial" quantizes inputs and weights of convolutions, linear layers and
    matrix products; "full" also softmax, norms, activation functions and additions.

    The search and the tuning run on the CPU, and the result is on the device of ``module``, or on that of the Calibration.

    A warning says which products of ``module`` no method quantizes, and their share of the multiply-accumulates.

    Raises InputError as `calibrate` does, and for an unknown method, a mode that the method does not define, bits out of range, and the
    Calibration of another module or of other weights, as a run on one image also tells.
    """
    device_of(module)
    settings = load_preset(method)
    weight_bits, activation_bits = parse_bits(bits)
    if mode not in settings.modes:
        raise InputError(f"method {method!r} has no mode {mode!r}; choose one of {', '.join(settings.modes)}")
    calibration = images if isinstance(images, Calibration) else calibrate(module, images, seed=seed)
    device = str(calibration.batches[0].device)
    model = calibration.model if device == "cpu" else copy_to(calibration.model, "cpu")
    if calibration is images:
        _require_calibrated(module, calibration, model)

    task = Task(
        model,  # on the CPU, where the statistics are
        calibration.statistics,
        calibration.output_statistics,
        CalibrationImages(lambda: [batch.cpu() for batch in calibration.batches], SAMPLED_POSITIONS, calibration.seed, calibration.draw),
        settings,
        weight_bits,
        activation_bits,
    )
    recorded = {
        "method": method,
        "mode": mode,
        "bits": bits.lower(),
        "seed": calibration.seed,
        "input": list(calibration.batches[0].shape[1:]),
        **settings.model_dump(mode="json"),
    }
    quantizers, changed = find_quantization(task, mode)
    table = site_errors(task, quantizers, changed)
    errors = dict(zip(table.site, table.relative_error, strict=True))
    quantizers, changed = on_device(quantizers, device), parameters_on_device(changed, device)
    image = calibration.batches[0][:1]
    quantized = QuantizedModel(calibration.model, quantizers, changed, recorded, errors, image, calibration.state_sha256)
    if quantized.unquantized:
        warnings.warn(unquantized_sentence(quantized.unquantized), stacklevel=3)  # the caller's line: the decorator is a frame
    return quantized


def _require_calibrated(module: nn.Module, calibration: Calibration, model: TracedModel) -> None:
    """Raise InputError unless the ``calibration``, whose traced model on the CPU is ``model``, is of ``module`` with its weights."""
    require_finite(module, "module")
    same_state = calibration.state_sha256 == state_hash(module)
    if not same_state or not is_graph_of(model.graph_module, module, calibration.batches[0][:1]):
        raise InputError("images: the calibration is of another module or of other weights; calibrate this module")
