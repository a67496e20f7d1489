"""Quantized module, its report, and its files."""

import warnings
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self, SupportsIndex

import pandas as pd
import torch
from torch import Tensor, nn

from qhyvit.api.comparison import computes, graph_hash
from qhyvit.api.copying import copy_on_cpu
from qhyvit.api.modes import plain_modes, without_autocast
from qhyvit.api.module import device_of, state_hash
from qhyvit.api.placement import copy_to, place, place_operators
from qhyvit.deploy.amx import amx_remarks
from qhyvit.deploy.exporting import Exported, export
from qhyvit.errors import InputError
from qhyvit.graph.fake_quant import FakeQuantize
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.unquantized_products import UnquantizedProduct, find_unquantized_products
from qhyvit.models.values import require_finite
from qhyvit.own_files import written_by
from qhyvit.provenance import provenance
from qhyvit.quantizers.base import Parameters, Quantizers, on_device, parameters, parameters_on_device
from qhyvit.quantizers.floating_point import FP32_BITS
from qhyvit.quantizers.serialization import load_parameters, load_quantizers, save_quantizers

COLUMNS = ["site", "kind", "first_operand", "first_bits", "second_operand", "second_bits", "relative_error", "stays_fp32", "share_of_macs"]
SHARED = {"traced", "quantizers", "changed", "_image"}  # by all copies of a quantized model: they do not change


class QuantizedModel(nn.Module):
    """A module with fake-quantized weights and activations, called like the original.

    ``quantizers`` has the quantizer of each operand by site, ``changed`` the parameters that tuning has changed, ``settings`` the method,
    mode, bits and seed that made them, and ``traced`` the traced original.
    """

    _empty: Tensor  # it tells where the model is moved

    def __init__(
        self,
        model: TracedModel,
        quantizers: Quantizers,
        changed: Parameters,
        settings: dict[str, Any],
        site_errors: dict[str, float],
        image: Tensor,
        state_sha256: str,
        moments: list[list[float]] | None = None,
    ) -> None:
        """``model`` is the traced original, which stays as it is; ``changed`` has new values of its parameters, by name.

        ``site_errors`` has the relative error of each site.

        Sites of exported files are checked on ``image`` [1, C, H, W], on the device of the model. ``state_sha256`` is the `state_hash` of
        the original. ``moments`` are standard deviation and mean per channel of the image whose model was saved (None: of ``image``).
        """
        super().__init__()
        self.quantizers = quantizers
        self.settings = settings
        self.site_errors = site_errors
        self.changed = changed
        self.graph_module = model.with_parameters(changed).with_quantizers(quantizers)
        self.traced = model
        self.state_sha256 = state_sha256
        self._image = image
        self._moments = moments or [moment.tolist() for moment in torch.std_mean(image.cpu(), (0, 2, 3), correction=0)]
        self.register_buffer("_empty", image.new_empty(0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images [B, C, H, W].

        They are computed in float32, also under autocast. Raises InputError for images of another size than the calibration's, of another
        type, and for those whose gradients are wanted.
        """
        size = self.settings["input"]
        if images.ndim != 4 or list(images.shape[1:]) != size:
            said = f"images: have the shape {list(images.shape)}, and those of the calibration [B, {', '.join(map(str, size))}]"
            raise InputError(f"{said}; resize and crop them to that size, or calibrate with images of the other size")
        if images.dtype != torch.float32:
            raise InputError(f"images: are of {images.dtype}, and quantization is simulated in float32; give images.float()")
        if images.requires_grad and torch.is_grad_enabled():
            said = "images: require gradients, which quantization as it is simulated here does not have"
            raise InputError(f"{said}; call it under torch.no_grad(), or with images.detach()")
        with torch.no_grad(), without_autocast():
            return self.graph_module(images)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move what a module leaves behind too: scales of activations, constants of the graph, and the tensors that its operators make.

        Raises InputError for a change to another type.
        """
        found = fn(self._empty)
        if found.dtype != self._empty.dtype:
            said = f"QuantizedModel: cannot be changed to {found.dtype}, since quantization is simulated in float32"
            raise InputError(f"{said}; leave its type, and give a device alone")
        super()._apply(fn, recurse)
        place_operators(self.graph_module, found.device)

        def moved(values: dict[str, Any]) -> dict[str, Tensor]:
            return {name: value.to(fn(value).device) for name, value in values.items() if isinstance(value, Tensor)}

        for module in self.graph_module.modules():
            vars(module).update(moved(vars(module)))
            if isinstance(module, FakeQuantize):
                module.quantizer = replace(module.quantizer, **moved(parameters(module.quantizer)))  # type: ignore[type-var]
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copy the module; the copy shares the traced original and the quantizers, which do not change."""
        copy = type(self).__new__(type(self))
        vars(copy).update({name: value if name in SHARED else deepcopy(value, memo) for name, value in vars(self).items()})
        return copy

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Raise InputError: pickles are not written."""
        raise InputError("QuantizedModel: cannot be pickled, as by torch.save; write it with its method save, and read it by qhyvit.load")

    @cached_property
    def unquantized(self) -> list[UnquantizedProduct]:
        """Products that no method quantizes, with the reason and their share of the multiply-accumulates."""
        return find_unquantized_products(self.traced.graph_module, self.traced.sites)

    def report(self) -> pd.DataFrame:
        """Tabulate the choices: a row per site, in the order of execution, per output that full mode quantizes, and per product in FP32.

        ``first_operand`` and ``second_operand`` are the granularity and scheme of input and weight of a layer, or of left and right of a
        product of activations. ``relative_error`` is the squared error of the site's product without bias, over the energy of that
        product, both weighted by Fisher gradients.
        ``stays_fp32`` is the reason why a product is no site, and ``share_of_macs`` its part of the multiply-accumulates, from 0 to 1.
        """
        rows: list[tuple[Any, ...]] = []
        for site in self.traced.sites:
            chosen = [(q.describe(), q.bits) for q in (self.quantizers[site.name][operand] for operand in site.operands)]
            rows.append((site.name, site.kind, *chosen[0], *chosen[1], self.site_errors[site.name], "", None))
        for output in self.traced.output_sites:
            if output.name in self.quantizers:
                quantizer = self.quantizers[output.name]["output"]
                rows.append((output.name, output.kind, quantizer.describe(), quantizer.bits, "", None, None, "", None))
        for product in self.unquantized:
            rows.append((product.name, product.operator, "", FP32_BITS, "", FP32_BITS, None, product.reason, product.share))
        numbers = {"first_bits": "Int64", "second_bits": "Int64", "relative_error": "float64", "share_of_macs": "float64"}
        return pd.DataFrame(rows, columns=COLUMNS).astype(numbers)

    @plain_modes()
    def export(self, path: Path | str, *, keep: Collection[str] = ()) -> Exported:
        """Write the model for an inference engine: OpenVINO for an ending in .xml, with its .bin next to it, ONNX for one in .onnx.

        The file takes one image at a time, [1, C, H, W], transformed as those of the calibration were. Each site is checked against this
        simulation, and the result says how they differ. The sites ``keep`` stay FP32. Warns of sites that OpenVINO may compute wrongly
        on processors with AMX (`amx_remarks`). Raises InputError for another ending, a missing package of the extra `deploy`, an unknown
        site in ``keep``, a path that cannot be written, and quantizers that the engine cannot execute, with the first site and the reason.
        """
        kept = [keep] if isinstance(keep, str) else [*keep]
        model = copy_to(self.traced, "cpu").with_parameters(parameters_on_device(self.changed, "cpu"))
        exported = export(model, on_device(self.quantizers, "cpu"), self._image.cpu(), Path(path), kept)
        for remark in amx_remarks(exported, self.traced.sites):
            warnings.warn(remark, stacklevel=3)  # the caller's line: the decorator is a frame
        return exported

    @plain_modes()
    def save(self, path: Path | str) -> None:
        """Write quantizers and settings to a safetensors file, whole or not at all; `load` needs the original module next to it.

        The hashes of the original's state dict and graph, and its logits for an image of noise, are written too; `load` checks them.
        Of the calibration images, the mean and standard deviation of the channels of one are written. Raises InputError if ``path`` cannot
        be written.
        """
        original = copy_to(self.traced, "cpu").graph_module
        with torch.no_grad():
            logits = original(_noise(self.settings["input"])).tolist()
        known = {"state_sha256": self.state_sha256, "graph_sha256": graph_hash(original), "logits": logits}
        record = known | {"moments": self._moments, "site_errors": self.site_errors}
        save_quantizers(Path(path), self.quantizers, provenance({}, self.settings) | record, self.changed)


@plain_modes()
def load(path: Path | str, module: nn.Module) -> QuantizedModel:
    """Read back what `QuantizedModel.save` wrote, for the ``module`` that it was made from.

    Raises InputError for any other file, and for another module or one with other weights, as a run on one image also tells. A module whose
    graph has other operators counts as another one; another version of PyTorch may trace other operators.
    """
    device = device_of(module)
    require_finite(module, "module")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give one that QuantizedModel.save has written")
    with written_by(Path(path), "QuantizedModel.save"):
        quantizers, record = load_quantizers(Path(path), device)
        changed = load_parameters(Path(path), device)
        settings, site_errors, state, graph = (record[name] for name in ("settings", "site_errors", "state_sha256", "graph_sha256"))
        logits = torch.tensor(record["logits"])
        moments = record["moments"]
        deviation, mean = (torch.tensor(moment).view(1, -1, 1, 1) for moment in moments)
    model = TracedModel.from_module(copy_on_cpu(module), torch.zeros(2, *settings["input"]))
    noise = _noise(settings["input"])
    if state_hash(module) != state or not computes(model.graph_module, noise, logits):
        raise InputError(
            f"{path}: was made from another network or from other weights; give the module with those that it was quantized with"
        )
    if graph_hash(model.graph_module) != graph:
        said = "was made from a network with other operators, or by another version of PyTorch"
        raise InputError(f"{path}: {said}; give the module that it was quantized from, or quantize this one")
    place(model, device)
    image = noise * deviation + mean
    return QuantizedModel(model, quantizers, changed, settings, site_errors, image.to(device), state, moments)


def _noise(size: Sequence[int]) -> Tensor:
    """Return an image [1, C, H, W] of noise, the same at each call."""
    return torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
