"""Quantize a PyTorch module: calibrate it once, find quantizers with a method, and call the result like the original.

The settings of every method, with their sources, are package data (`qhyvit.presets`); the workflow runs the same code over them.
"""

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.calibration.capture import SiteStatistics, capture
from qhyvit.calibration.output_samples import OutputCollector, OutputStatistics
from qhyvit.config.base import Mode, parse_bits
from qhyvit.errors import InputError
from qhyvit.graph.describe import describe
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.presets import load_preset
from qhyvit.provenance import provenance
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers

Images = Tensor | Iterable[Any]
BATCH_SIZE = 4  # as in the embedded experiment, whose results are those of this API with the same images
SAMPLED_POSITIONS = 64


@dataclass(frozen=True)
class Calibration:
    """Statistics of a traced module over calibration images, which all methods, modes and bit-widths share.

    ``batches`` are the images [B, C, H, W], in order; methods that need further passes run them again. ``state_sha256`` is the hash of the
    parameters and buffers of the module.
    """

    model: TracedModel
    statistics: dict[str, SiteStatistics]
    output_statistics: dict[str, OutputStatistics]
    batches: list[Tensor]
    seed: int
    state_sha256: str


class QuantizedModel(nn.Module):
    """A module with fake-quantized weights and activations, called like the original.

    ``quantizers`` has the quantizer of each operand by site, and ``settings`` the method, mode, bits and seed that made them.
    """

    def __init__(self, model: TracedModel, quantizers: Quantizers, settings: dict[str, Any]) -> None:
        """``model`` is the traced original, which stays as it is."""
        super().__init__()
        self.quantizers = quantizers
        self.settings = settings
        self.graph_module = model.with_quantizers(quantizers)
        self._weights = _state_hash(model.graph_module)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images [B, C, H, W]."""
        return self.graph_module(images)

    def save(self, path: Path | str) -> None:
        """Write quantizers and settings to a safetensors file, whole or not at all; `load` needs the original module next to it."""
        save_quantizers(Path(path), self.quantizers, provenance({}, self.settings) | {"weights_sha256": self._weights})


def calibrate(module: nn.Module, images: Images, *, seed: int = 0) -> Calibration:
    """Collect ranges, sampled rows and Fisher gradients of every quantization site of ``module`` over ``images``.

    ``images`` is a tensor [N, C, H, W], a DataLoader, or an iterable of images [C, H, W] or batches [B, C, H, W], normalized as the module
    expects them; of a batch with labels, a tuple or list, the first item is taken. All of them are used: 32 to 256 are usual. ``module``,
    which must return logits [B, classes], is not changed. ``seed`` draws the sampled labels and positions (Q-HyViT, arXiv 2303.12557,
    Section IV, with labels sampled from the softmax of the module).

    Raises InputError for images that are missing, of several sizes or not finite, and for a module that torch.export cannot trace.
    """
    device = next((str(parameter.device) for parameter in module.parameters()), "cpu")
    batches = [batch.to(device) for batch in _gather(images).split(BATCH_SIZE)]
    model = TracedModel.from_module(deepcopy(module).cpu(), _example(batches[0]), device)
    _require_logits(model.graph_module, batches[0])
    outputs = OutputCollector(model.output_sites, len(batches), seed)
    statistics = capture(model.graph_module, model.sites, batches, SAMPLED_POSITIONS, seed, collectors=[outputs])
    return Calibration(model, statistics, outputs.statistics(), batches, seed, _state_hash(module))


def quantize(
    module: nn.Module,
    images: Images | Calibration,
    method: str = "qhyvit",
    bits: str = "w8a8",
    mode: Mode = "partial",
    seed: int = 0,
) -> QuantizedModel:
    """Quantize ``module`` with a method of the presets and return a QuantizedModel, which is called like ``module``.

    ``images`` are as in `calibrate`, or the Calibration of the same module, which is then not made again (its own seed counts). ``bits``
    has those of weights and activations, as in "w8a8", 2 to 8 each. Mode "partial" quantizes inputs and weights of convolutions, linear
    layers and matrix products; "full" also softmax, norms, activation functions and additions.

    Raises InputError as `calibrate` does, and for an unknown method, a mode that the method does not define, bits out of range, and the
    Calibration of another module or of other weights.
    """
    settings = load_preset(method)
    weight_bits, activation_bits = parse_bits(bits)
    if mode not in settings.modes:
        raise InputError(f"method {method!r} has no mode {mode!r}; choose one of {', '.join(settings.modes)}")
    calibration = images if isinstance(images, Calibration) else calibrate(module, images, seed=seed)
    if calibration.state_sha256 != _state_hash(module):
        raise InputError("images: the calibration is of another module or of other weights; calibrate this module")
    task = Task(
        calibration.model,
        calibration.statistics,
        calibration.output_statistics,
        CalibrationImages(lambda: calibration.batches, SAMPLED_POSITIONS, calibration.seed),
        settings,
        weight_bits,
        activation_bits,
    )
    recorded = {
        "method": method,
        "mode": mode,
        "bits": bits,
        "seed": calibration.seed,
        "input": list(calibration.batches[0].shape[1:]),
        **settings.model_dump(mode="json"),
    }
    return QuantizedModel(calibration.model, find_quantizers(task, mode), recorded)


def inspect(module: nn.Module, images: Images) -> dict[str, Any]:
    """Describe the quantization sites, bridge blocks and norms of ``module``, and the products that stay FP32, as plain data.

    ``images``, as in `calibrate`, give the input size. Shapes and multiply-accumulates are those of one image. The key
    ``unquantized_products`` lists each product that no method quantizes, with its operator and the reason.
    """
    return describe(deepcopy(module).cpu(), _example(_gather(images)))


def load(path: Path | str, module: nn.Module) -> QuantizedModel:
    """Read back what `QuantizedModel.save` wrote, for the ``module`` that it was made from.

    Raises InputError for any other file, and for a module with other weights.
    """
    device = next((str(parameter.device) for parameter in module.parameters()), "cpu")
    try:
        quantizers, record = load_quantizers(Path(path), device)
        settings, weights = record["settings"], record["weights_sha256"]
    except (OSError, SafetensorError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{path}: not written by QuantizedModel.save ({type(error).__name__}: {error}); give a file that is") from error
    model = TracedModel.from_module(deepcopy(module).cpu(), torch.zeros(2, *settings["input"]), device)
    if _state_hash(model.graph_module) != weights:
        raise InputError(f"{path}: was made from other weights than those of this module; load the weights that it was quantized with")
    return QuantizedModel(model, quantizers, settings)


def _gather(images: Images) -> Tensor:
    """Join images of any accepted kind to one tensor [N, C, H, W] on the CPU."""
    batches = list(_batches(images))
    sizes = {tuple(batch.shape[1:]) for batch in batches}
    if not batches or not sum(map(len, batches)):
        raise InputError("images: there are none; give at least one image [C, H, W]")
    if len(sizes) > 1:
        raise InputError(f"images: have several sizes ({', '.join(map(str, sorted(sizes)))}); resize and crop them to one")
    gathered = torch.cat(batches)
    if not bool(gathered.isfinite().all()):
        raise InputError("images: hold values that are not finite; check the preprocessing")
    return gathered


def _batches(images: Images) -> Iterator[Tensor]:
    for item in [images] if isinstance(images, Tensor) else images:
        tensor = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(tensor, Tensor) or tensor.ndim not in (3, 4) or not tensor.is_floating_point():
            found = f"{tensor.dtype} of shape {list(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise InputError(f"images: expected float tensors [C, H, W] or [B, C, H, W], not {found}; apply the transform of the model")
        yield (tensor if tensor.ndim == 4 else tensor[None]).cpu()


def _example(images: Tensor) -> Tensor:
    """Make a batch of two, on the CPU, for tracing: torch.export specializes a batch of one."""
    return images[:1].cpu().expand(2, *images.shape[1:]).clone()


def _require_logits(graph_module: GraphModule, images: Tensor) -> None:
    with torch.no_grad():
        logits = graph_module(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(f"module: returns {shape}; it must return logits [B, classes], so wrap it in a module that does")


def _state_hash(module: nn.Module) -> str:
    """Hash the names and values of all parameters and buffers of a state dict."""
    digest = sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
