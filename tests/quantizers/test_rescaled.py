import numpy as np
import pytest
import torch

from qhyvit.quantizers.rescaled import RescaledWeightQuantizer

SCHEMES = {"symmetric": (-8, 7), "asymmetric": (0, 15)}


def quantizer(scheme, channels=(3, 5)):
    zero_point = torch.randint(16, channels[:1]).float() if scheme == "asymmetric" else torch.zeros(channels[0])
    return RescaledWeightQuantizer(4, scheme, torch.rand(channels[0]) / 4 + 0.05, zero_point, torch.rand(channels[1]) * 3 + 0.1)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 2, 2)])
@pytest.mark.parametrize(("scheme", "limits"), SCHEMES.items())
def test_weight_is_rescaled_quantized_and_divided_again(shape, scheme, limits):
    rounded, weight = quantizer(scheme), torch.randn(shape)
    codes, values = rounded.quantize(weight), rounded.fake_quantize(weight)
    for place in np.ndindex(*shape):
        scale, zero_point, factor = (
            float(x) for x in (rounded.scale[place[0]], rounded.zero_point[place[0]], rounded.channel_rescale[place[1]])
        )
        code = min(max(round(float(weight[place]) * factor / scale) + zero_point, limits[0]), limits[1])
        assert float(codes[place]) == code
        assert float(values[place]) == pytest.approx((code - zero_point) * scale / factor, abs=1e-6)
    torch.testing.assert_close(rounded.dequantize(codes), values)


@pytest.mark.parametrize("factor", [[1.0, 0.0], [1.0, -1.0], [1.0, float("inf")], [float("nan"), 1.0], 1.0])
def test_factors_that_are_not_positive_are_refused(factor):
    with pytest.raises(ValueError, match="channel_rescale must be positive numbers, one per input channel"):
        RescaledWeightQuantizer(4, "symmetric", torch.ones(3), torch.zeros(3), torch.tensor(factor))


def test_integers_outside_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"not integers in \[-8, 7\]"):
        quantizer("symmetric").dequantize(torch.full((3, 5), 8.0))
