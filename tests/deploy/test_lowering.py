"""The lowered graph computes what the simulator computes, in every form, and refuses what no grid of an engine holds."""

from dataclasses import replace

import pytest
import torch
from sites import IMAGES, quantizers_of, small_traced

from qhyvit.deploy.grids import SIGNED, UNSIGNED, engine_grid
from qhyvit.deploy.lowering import FORMS, lower
from qhyvit.errors import InputError
from qhyvit.graph.operators import aten
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer

BITS = [(8, 8), (6, 6), (4, 8), (4, 4)]


@pytest.fixture(scope="module")
def model():
    return small_traced()


@pytest.mark.parametrize("rescaled", [False, True], ids=["per tensor", "rescaled"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bits", BITS, ids=lambda bits: "w{}a{}".format(*bits))
def test_every_form_computes_what_the_simulator_computes(model, bits, form, rescaled):
    quantizers = quantizers_of(model, IMAGES, *bits, rescaled=rescaled)
    simulated = model.with_quantizers(quantizers)(IMAGES)
    lowered = lower(model, quantizers, IMAGES, dict.fromkeys(quantizers, form))(IMAGES)
    torch.testing.assert_close(lowered, simulated, rtol=0, atol=2e-6 * float(simulated.abs().max()))
    assert not torch.allclose(simulated, model.graph_module(IMAGES), rtol=0, atol=1e-5)


def test_lowered_activations_have_256_levels_and_integers_no_bits_beyond_them(model):
    lowered = lower(model, quantizers_of(model, IMAGES, 4, 6), IMAGES)
    limits = [node.args[-2:] for node in lowered.graph.nodes if "fake_quantize" in str(node.target)]
    assert len(limits) == 2 * len(model.sites)
    assert set(limits) <= {SIGNED, UNSIGNED}


@pytest.mark.parametrize(
    ("bits", "zero_point", "limits", "kept"), [(6, 40, SIGNED, 0), (6, 0, UNSIGNED, 0), (8, 128, SIGNED, 0), (8, 70, UNSIGNED, 70)]
)
def test_grid_has_a_zero_point_only_where_256_integers_around_0_do_not_hold_it(bits, zero_point, limits, kept):
    quantizer = UniformQuantizer(bits, "asymmetric", torch.tensor(0.1), torch.tensor(float(zero_point)))
    grid = engine_grid(quantizer)
    assert (grid.limits, int(grid.zero_point)) == (limits, kept)
    x = torch.linspace(-20, 20, 401) + 0.013
    clamped = x.clamp(float(grid.low * grid.scale), float(grid.high * grid.scale))
    rounded = aten.fake_quantize_per_tensor_affine.default(clamped, float(grid.scale), int(grid.zero_point), *grid.limits)
    torch.testing.assert_close(rounded, quantizer.fake_quantize(x))


def test_scales_of_channels_that_the_weight_did_not_absorb_are_refused(model):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    stem = quantizers["stem"] | {"input": quantizers_of(model, IMAGES, 6, 6, rescaled=True)["stem"]["input"]}
    with pytest.raises(InputError, match=r"^stem: its input has several scales"):
        lower(model, quantizers | {"stem": stem}, IMAGES)


def test_quantizer_of_unequal_steps_is_refused(model):
    quantizers = quantizers_of(model, IMAGES, 8, 8)
    attention = quantizers["matmul2"] | {"left": LogQuantizer(4, 1, torch.tensor(1.0))}
    with pytest.raises(InputError, match=r"^matmul2: its left has a log2 quantizer"):
        lower(model, quantizers | {"matmul2": attention}, IMAGES)


def test_scale_per_head_is_refused(model):
    quantizers = quantizers_of(model, IMAGES, 8, 8)
    left = UniformQuantizer(8, "symmetric", torch.ones(16), torch.zeros(16), -2)
    with pytest.raises(InputError, match=r"^matmul2: its operand left has a scale per head"):
        lower(model, quantizers | {"matmul2": quantizers["matmul2"] | {"left": left}}, IMAGES)


def test_values_that_are_not_finite_are_refused(model):
    quantizers = quantizers_of(model, IMAGES, 8, 8)
    scale = torch.tensor(float("nan"))
    with pytest.raises(InputError, match=r"^head: a scale of its input is not a positive number"):
        lower(model, quantizers | {"head": quantizers["head"] | {"input": replace(quantizers["head"]["input"], scale=scale)}}, IMAGES)
    faulty = small_traced()
    faulty.graph_module.head.weight[0, 0] = float("inf")
    with pytest.raises(InputError, match=r"^head: its weight has values that are not finite"):
        lower(faulty, quantizers, IMAGES)
