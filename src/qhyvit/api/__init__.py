"""Quantize a PyTorch module: calibrate it once, find quantizers with a method, and call the result like the original.

The settings of every method, with their sources, are package data (`qhyvit.presets`); the workflow runs the same code over them.
"""

from qhyvit.api.calibration import Calibration, calibrate, inspect
from qhyvit.api.quantization import quantize
from qhyvit.api.quantized_model import QuantizedModel, load

__all__ = ["Calibration", "QuantizedModel", "calibrate", "inspect", "load", "quantize"]
