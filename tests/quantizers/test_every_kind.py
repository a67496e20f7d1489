"""Common checks of quantizers of every kind that has integers, and their descriptions."""

import pytest
import torch

from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.power_of_two import power_of_two_factor
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.twin import AddedTwinUniformQuantizer, TwinUniformQuantizer, after_activation, after_softmax
from qhyvit.quantizers.uniform import UniformQuantizer

ONE, ZERO = torch.tensor(1.0), torch.tensor(0.0)
MAKERS = {
    "per-tensor symmetric": lambda bits: UniformQuantizer(bits, "symmetric", ONE, ZERO),
    "per-tensor asymmetric": lambda bits: UniformQuantizer(bits, "asymmetric", ONE, ZERO),
    "per-channel symmetric": lambda bits: UniformQuantizer(bits, "symmetric", torch.ones(3), torch.zeros(3), axis=1),
    "per-channel asymmetric": lambda bits: power_of_two_factor(torch.zeros(2, 3), ZERO, ONE, bits, axis=1),
    "rescaled per-channel symmetric": lambda bits: RescaledWeightQuantizer(bits, "symmetric", torch.ones(3), torch.zeros(3), torch.ones(1)),
    "twin": lambda bits: after_softmax(0.5, bits),
    "added twin": lambda bits: after_softmax(0.5, bits, AddedTwinUniformQuantizer),
    "log2": lambda bits: LogQuantizer(bits, 1, ONE),
    "log sqrt2": lambda bits: LogQuantizer(bits, 2, ONE),
}


@pytest.mark.parametrize(("words", "make"), MAKERS.items())
def test_quantizer_describes_its_kind(words, make):
    assert make(4).describe() == words


@pytest.mark.parametrize("make", [*MAKERS.values(), lambda bits: after_activation(-0.2, ONE, bits)])
@pytest.mark.parametrize("bits", [1, 9])
def test_bits_outside_two_to_eight_are_refused(make, bits):
    with pytest.raises(ValueError, match=f"bits must be 2 to 8, not {bits}"):
        make(bits)


@pytest.mark.parametrize(
    ("kind", "smallest", "largest"),
    [
        ("per-tensor symmetric", -8, 7),
        ("per-tensor asymmetric", 0, 15),
        ("twin", 0, 15),
        ("log2", 0, 16),
        ("log sqrt2", 0, 16),
    ],
)
def test_dequantize_refuses_integers_outside_the_grid(kind, smallest, largest):
    quantizer = MAKERS[kind](4)
    assert bool(quantizer.dequantize(torch.arange(smallest, largest + 1.0)).isfinite().all())
    for other in (smallest - 1.0, smallest + 0.5, largest + 1.0, float("nan")):
        with pytest.raises(ValueError, match=rf"not integers in \[{smallest}, {largest}\]"):
            quantizer.dequantize(torch.tensor([other]))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan"), [1.0]])
@pytest.mark.parametrize(
    "make",
    [
        lambda scale: LogQuantizer(4, 1, delta=scale),
        lambda scale: TwinUniformQuantizer(4, 0.0, low_scale=scale, high_scale=ONE),
        lambda scale: TwinUniformQuantizer(4, 0.0, low_scale=ONE, high_scale=scale),
    ],
)
def test_a_scale_that_is_not_one_positive_number_is_refused(make, scale):
    with pytest.raises(ValueError, match="must be one positive number"):
        make(torch.tensor(scale))
