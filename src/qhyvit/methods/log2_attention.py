"""Attention maps by their logarithm: the Log-Int-Softmax of FQ-ViT (arXiv 2111.13824), which HyQ rounds with too.

A product with a power of two is a shift of bits. Simulated is the rounding alone, not the integer arithmetic behind it: the exponential
stays exact, and a logarithm is rounded to the nearest integer, where the released code rounds its reciprocal to the nearest power of two.
"""

import torch

from qhyvit.graph.output_sites import source_of
from qhyvit.graph.sites import Site
from qhyvit.quantizers.logarithmic import LogQuantizer

ATTENTION_BITS = 4  # of the released code, whatever the bits of the other activations


def from_softmax(site: Site, operand: str) -> bool:
    """Whether a softmax computed the elements of the operand."""
    return source_of(site, operand).target is torch.ops.aten.softmax.int


def log2_attention() -> LogQuantizer:
    """The quantizer of what a softmax computes, to 1, 1/2, ..., 2^-15 and 0."""
    return LogQuantizer(ATTENTION_BITS, steps_per_octave=1, delta=torch.tensor(1.0))
