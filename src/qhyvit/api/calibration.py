"""Calibration of a module, and its description."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import Any, SupportsIndex

import torch
from torch import Tensor, nn

from qhyvit.api.copying import copy_on_cpu
from qhyvit.api.images import Images, first_image, gather, reader_of
from qhyvit.api.modes import plain_modes
from qhyvit.api.module import device_of, example, require_logits, state_hash
from qhyvit.api.placement import place
from qhyvit.calibration.capture import SiteStatistics, capture
from qhyvit.calibration.output_samples import OutputCollector, OutputStatistics
from qhyvit.config.base import LARGEST_SEED
from qhyvit.errors import InputError
from qhyvit.graph.describe import describe
from qhyvit.graph.traced_model import TracedModel
from qhyvit.models.values import require_finite

BATCH_SIZE = 4  # as in the embedded experiment, whose results are those of this API with the same images
SAMPLED_POSITIONS = 64


@dataclass(frozen=True)
class Calibration:
    """Statistics of a traced module over calibration images, which all methods, modes and bit-widths share.

    ``model`` is the traced module; ``statistics`` and ``output_statistics`` are those of its sites and output sites, by name. ``batches``
    are the images [B, C, H, W], in order; methods that need further passes run them again. ``state_sha256`` is the hash of the parameters
    and buffers of the module. ``read_more(count)`` returns at most ``count`` images [N, C, H, W] on the CPU, for the correction and the
    tuning; None: they draw from ``batches``.
    """

    model: TracedModel
    statistics: dict[str, SiteStatistics]
    output_statistics: dict[str, OutputStatistics]
    batches: list[Tensor]
    seed: int
    state_sha256: str
    read_more: Callable[[int], Tensor] | None = None

    def draw(self, count: int) -> Tensor:
        """Return at most ``count`` images [N, C, H, W] on the CPU, for the correction and the tuning."""
        if self.read_more:
            return self.read_more(count)
        images = torch.cat(self.batches).cpu()  # the first of a user's are often of few classes
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
        return images[order[:count]]


@plain_modes()
def calibrate(module: nn.Module, images: Images, *, seed: int = 0) -> Calibration:
    """Collect ranges, sampled rows and Fisher gradients of every quantization site of ``module`` over ``images``.

    ``images`` is a tensor [N, C, H, W], a DataLoader, or an iterable of images [C, H, W] or batches [B, C, H, W], normalized as the module
    expects them; of a batch with labels, a tuple or list, the first item is taken. All of them are used: 32 to 256 are usual. For a model
    of timm it may be the path of a folder, whose images, at any depth, are transformed as the model states; of more than 256, as many are
    drawn by ``seed``, and methods that correct or tune draw as many as their settings ask for. ``module``, which must return logits
    [B, classes], is not changed; it is run as in eval mode, on its device. ``seed`` also draws the sampled labels and positions (Q-HyViT,
    arXiv 2303.12557, Section IV, with labels sampled from the softmax of the module).

    Raises InputError for a ``seed`` that is no integer from 0 to 2^63 - 1; for images that are missing, damaged, of several sizes or not
    finite; for a module that has no finite weights on one device, cannot be copied or traced, has no sites, or returns no logits; for
    activations or gradients that are not finite; and for a full disk.
    """
    seed = _checked_seed(seed)
    device = device_of(module)
    require_finite(module, "module")
    gathered = gather(images, module, seed)
    batches = [batch.to(device) for batch in gathered.split(BATCH_SIZE)]
    model = TracedModel.from_module(copy_on_cpu(module), example(gathered))
    place(model, device)
    with torch.no_grad():
        require_logits(model.graph_module(batches[0]), len(batches[0]))
    outputs = OutputCollector(model.output_sites, len(batches), seed)
    statistics = capture(model.graph_module, model.sites, batches, SAMPLED_POSITIONS, seed, collectors=[outputs])
    read_more = reader_of(images, module, seed)
    return Calibration(model, statistics, outputs.statistics(), batches, seed, state_hash(module), read_more)


@plain_modes()
def inspect(module: nn.Module, images: Images) -> dict[str, Any]:
    """Describe the quantization sites, bridge blocks and norms of ``module``, and the products that stay FP32, as plain data.

    ``images``, as in `calibrate`, give the input size; no more of them are read than the first, or its batch. Shapes and
    multiply-accumulates are those of one image. The key ``unquantized_products`` lists each product that no method quantizes, with its
    operator and the reason. Raises InputError for images that are missing, damaged or not finite, and for a module that is not on one
    device, or that cannot be copied or traced.
    """
    device_of(module)
    return describe(copy_on_cpu(module), example(first_image(images, module)))


def _checked_seed(seed: SupportsIndex) -> int:
    try:
        checked = index(seed)
    except TypeError as error:
        raise InputError(f"seed: {seed!r} is no integer; give one") from error
    if not 0 <= checked <= LARGEST_SEED:
        raise InputError(f"seed: {checked} is outside 0 to {LARGEST_SEED}; give a number in this range")
    return checked
