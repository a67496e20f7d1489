"""Power-of-two factors: one scale per layer, which each channel may halve up to three times.

Lin et al., "FQ-ViT: Post-Training Quantization for Fully Quantized Vision Transformer", IJCAI 2022 (arXiv 2111.13824).
"""

import torch
from torch import Tensor

from qhyvit.quantizers.uniform import UniformQuantizer, fake_quantize, grid_limits, saturated_grid

PTF_FACTORS = (1 / 8, 1 / 4, 1 / 2, 1.0)  # 2^k / 8, so that the coarsest scale is the layer's


def power_of_two_factor(samples: Tensor, low: Tensor, high: Tensor, bits: int, axis: int, counts: Tensor | None = None) -> UniformQuantizer:
    """Return the asymmetric quantizer of the C channels along ``axis`` with scales s 2^k / 8, k = 0..3, and one zero point for all.

    ``low`` and ``high`` [] are the layer's range: s = (high - low) / (2^b - 1), and the zero point is round(-low / s). Each channel takes
    the k with the least squared error on its ``samples`` [N, C], of which row n represents ``counts`` [N] rows (None: one each). As in the
    released code, the error includes clipping, of equal errors the finest scale wins, and the range is not widened to contain 0, so that
    a range on one side of 0 saturates the zero point.
    Raises ValueError for samples of another shape and for an empty range.
    """
    if samples.ndim != 2 or len(samples) == 0:
        raise ValueError(f"samples must be [N, C] with N > 0, not {list(samples.shape)}")
    if low > high:
        raise ValueError(f"the range [{low}, {high}] is empty")
    coarsest, zero_point = saturated_grid(low, high, bits, "asymmetric")
    limits = grid_limits(bits, "asymmetric")
    scales = coarsest * torch.tensor(PTF_FACTORS)
    times = torch.ones(1) if counts is None else counts[:, None]
    errors = [(fake_quantize(samples, scale, zero_point, *limits) - samples).square().mul_(times).sum(0) for scale in scales]
    scale = scales[torch.stack(errors).argmin(0)]
    return UniformQuantizer(bits, "asymmetric", scale, zero_point.expand_as(scale), axis)
