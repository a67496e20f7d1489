"""Tools of other projects that quantize the same networks from the same images: what a user would take instead."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from qhyvit.graph.traced_model import TracedModel
from qhyvit.peers import nncf, onnxruntime

# From the FP32 network and calibration images [N, C, H, W] to the file of the int8 model.
PEERS: dict[str, Callable[[TracedModel, Tensor, Path], None]] = {
    "nncf": nncf.quantize,
    "nncf-avx2": partial(nncf.quantize, overflow_fix="enable"),
    "nncf-mixed": partial(nncf.quantize, preset="mixed", fast_bias_correction=False),
    "nncf-transformer": partial(nncf.quantize, model_type="transformer"),
    "onnxruntime": onnxruntime.quantize,
}
