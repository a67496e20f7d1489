"""Random modules: their graphs compute what they compute, before and after folding and on fine grids, and no product is left out."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from modules import classifiers, modules
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import qhyvit
from qhyvit.errors import InputError
from qhyvit.graph.describe import multiply_accumulates
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.graph.traced_model import TracedModel
from qhyvit.graph.unquantized_products import find_unquantized_products
from qhyvit.quantizers.base import Quantizer
from qhyvit.quantizers.uniform import fake_quantize, grid_limits, range_to_grid

IS_LONG = settings.get_current_profile_name() == "fuzz"
OWN = {"max_examples": 2_000} if IS_LONG else {"max_examples": 18, "derandomize": True}
BATCHES = (1, 3)
QUANTIZATIONS = [("percentile", "full", "w8a8"), ("qhyvit", "partial", "w6a6")]


@dataclass(frozen=True)
class Fine(Quantizer):
    """A grid of 16 bits over the range of each tensor that it is given."""

    bits: int = 16

    def describe(self):
        return "fine"

    def quantize(self, x):
        raise NotImplementedError

    def dequantize(self, q):
        raise NotImplementedError

    def fake_quantize(self, x):
        scale, zero_point = range_to_grid(x.min(), x.max(), self.bits, "asymmetric")
        return fake_quantize(x, scale, zero_point, *grid_limits(self.bits, "asymmetric"))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], **OWN)
@given(modules())
@torch.no_grad()
def test_random_module_is_traced_folded_quantized_and_counted(drawn):
    module, shape = drawn
    note(f"{module} on {shape}")
    images = [torch.randn(batch, *shape) for batch in BATCHES if runs(module, batch, shape)]
    expected = [module(image.clone()) for image in images]
    try:
        graph_module = trace(module, torch.randn(2, *shape))
    except InputError as error:
        require_advice(error)
        return
    require_equal(graph_module, images, expected, 1e-5)
    require_counted(module, graph_module, shape)
    fold_batch_norm(graph_module)
    require_equal(graph_module, images, expected, 1e-5)
    require_fine(graph_module, images, expected)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], **(OWN if IS_LONG else OWN | {"max_examples": 2}))
@given(classifiers(), st.sampled_from(QUANTIZATIONS))
@pytest.mark.filterwarnings("ignore:.*not quantized")
def test_random_module_is_quantized_to_finite_logits_or_refused(drawn, quantization):
    module, shape = drawn
    method, mode, bits = quantization
    note(f"{module} on {shape}, {quantization}")
    images = torch.randn(4, *shape)
    try:
        quantized = qhyvit.quantize(module, images, method=method, mode=mode, bits=bits)
    except InputError as error:
        require_advice(error)
        return
    assert bool(quantized(images).isfinite().all())


def runs(module, batch, shape):
    """Norms by the statistics of the batch take no single value."""
    try:
        module(torch.randn(batch, *shape))
    except ValueError:
        return False
    return True


def require_advice(error):
    """A refusal is one line that says what to do."""
    assert "\n" not in str(error)
    assert "; " in str(error)


def require_equal(graph_module, images, expected, tolerance):
    for image, output in zip(images, expected, strict=True):
        found = graph_module(image.clone())
        assert found.shape == output.shape
        assert found.dtype == output.dtype
        assert float((found - output).abs().max()) <= tolerance * max(1.0, float(output.abs().max()))


def require_counted(module, graph_module, shape):
    """Sites and products that are no sites have all that PyTorch counts."""
    sites = find_sites(graph_module)
    found = sum(multiply_accumulates(site, 2) for site in sites)
    found += sum(product.macs for product in find_unquantized_products(graph_module, sites))
    torch.backends.mha.set_fastpath_enabled(False)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(enabled=False):
        module(torch.zeros(2, *shape))
    counted = counter.get_total_flops() // 4
    if "'unused'" not in str(module):
        assert found >= counted
    if "einsum" not in str(module):  # which PyTorch does not count where a size is 1
        assert found <= counted


def require_fine(graph_module, images, expected):
    """All that is quantized on fine grids changes next to nothing."""
    model = TracedModel(graph_module, find_sites(graph_module), find_output_sites(graph_module))
    quantizers = {site.name: dict.fromkeys(site.operands, Fine()) for site in model.sites}
    quantizers |= {site.name: {"output": Fine()} for site in model.output_sites}
    require_equal(model.with_quantizers(quantizers), images, expected, 1e-2)
