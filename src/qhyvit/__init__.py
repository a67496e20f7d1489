"""Post-training quantization of hybrid vision transformers.

``quantize`` a module, or ``calibrate`` it once and quantize it with several methods and bit-widths; ``inspect`` shows its quantization
sites; ``load`` reads back a quantized model. Everything is imported on first use, so that the workflow, which needs only the
configuration, starts without PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qhyvit.errors import InputError
from qhyvit.torchvision_compat import ensure_torchvision_before_timm

if TYPE_CHECKING:
    from qhyvit.api import Calibration, QuantizedModel, calibrate, inspect, load, quantize

__all__ = ["Calibration", "InputError", "QuantizedModel", "calibrate", "inspect", "load", "quantize"]

ensure_torchvision_before_timm()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'qhyvit' has no attribute {name!r}")
    return getattr(import_module("qhyvit.api"), name)


def __dir__() -> list[str]:
    return __all__
