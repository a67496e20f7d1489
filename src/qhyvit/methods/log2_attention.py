"""Log2 quantization of attention maps: the Log-Int-Softmax of FQ-ViT (arXiv 2111.13824), which HyQ uses too.

A product with a power of two is a bit shift. Only the rounding is simulated, not the integer arithmetic: the exponential stays exact, and
a logarithm is rounded to the nearest integer, where the released code rounds its reciprocal to the nearest power of two.
"""

import torch

from qhyvit.graph.operators import SOFTMAX
from qhyvit.graph.output_sites import source_of
from qhyvit.graph.sites import Site
from qhyvit.quantizers.logarithmic import LogQuantizer

ATTENTION_BITS = 4  # of the released code, whatever the bits of the other activations


def from_softmax(site: Site, operand: str) -> bool:
    """Tell if a softmax computed the elements of the operand."""
    return source_of(site, operand).target is SOFTMAX


def log2_attention() -> LogQuantizer:
    """Return the quantizer of the output of a softmax, to 1, 1/2, ..., 2^-15 and 0."""
    return LogQuantizer(ATTENTION_BITS, steps_per_octave=1, delta=torch.tensor(1.0))
