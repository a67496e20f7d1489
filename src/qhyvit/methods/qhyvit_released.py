"""Q-HyViT's released code, which differs from the paper (arXiv 2303.12557): PTQ4ViT's search, and bridge sites that stay quantized.

Sites are searched in order of execution. All of the network is FP32 except the earlier bridge sites, which stay quantized, so that later
sites see their errors in values and gradients. Up to the first bridge site the network is FP32, where the gradients of the KL divergence
are floating-point noise. All quantizers are symmetric, and a rule sets the granularity.

Differences from that code. It lists bridge sites by index, at most one convolution and the first projection of a block; here they are all
sites of the detected blocks. One scale serves the weights of q, k and v, which have one each in the code. The scale that covers a range
is max|x| / (2^(b-1) - 1), not max|x| / (2^(b-1) - 0.5). All matrix products are quantized; the code knows only those of MobileViTv1's
attention. As for all methods, BatchNorm is folded, and errors are estimated at sampled positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from qhyvit.calibration.capture import capture
from qhyvit.calibration.losses import kl_loss
from qhyvit.config.methods import QhyvitReleasedMethod
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.sites import Site
from qhyvit.methods.scale_search import candidates_of
from qhyvit.methods.task import Task
from qhyvit.progress import track
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search import alternating
from qhyvit.search.candidates import Candidates, UniformCandidates
from qhyvit.search.site_problem import SiteProblem


def find_quantizers(task: Task) -> Quantizers:
    """Return the quantizers of every site."""
    bridge = {site.name for block in find_bridge_blocks(task.model.graph_module, task.model.sites) for site in block.sites}
    batches = task.calibration.read_batches()
    results: dict[str, dict[str, Quantizer]] = {}
    for segment in track(_segments(task.model.sites, bridge), "searching"):
        quantized = {name: quantizers for name, quantizers in results.items() if name in bridge}
        recalibrated = _recalibrated(task, segment, quantized, batches)
        results |= {site.name: _search(recalibrated, site) for site in segment}
    return results


def _segments(sites: Sequence[Site], bridge: set[str]) -> list[list[Site]]:
    """Split the sites after every bridge site: the sites of a segment share a network and a calibration."""
    segments: list[list[Site]] = [[]]
    for site in sites:
        segments[-1].append(site)
        if site.name in bridge:
            segments.append([])
    return [segment for segment in segments if segment]


def _recalibrated(task: Task, segment: list[Site], quantizers: Quantizers, batches: list[Tensor]) -> Task:
    """Return the task with the statistics of a segment's sites in the network with ``quantizers``."""
    network, images = task.model, task.calibration
    statistics = capture(
        network.graph_module,
        network.sites,
        batches,
        images.positions,
        images.seed,
        kl_loss,
        quantizers,
        watched=segment,
        values="quantized",
    )
    return replace(task, statistics=statistics)


def _search(task: Task, site: Site) -> dict[str, Quantizer]:
    families = {operand: [_as_released(family) for family in allowed] for operand, allowed in candidates_of(task, site).items()}
    return alternating.alternate(families, task.settings(QhyvitReleasedMethod).rounds)


def _as_released(family: UniformCandidates) -> Candidates:
    """Return the family; of per-channel inputs, the candidates with one multiplier for all channels, as in the released search."""
    if family.operand != "input" or family.granularity == "per_tensor":
        return family
    return CommonMultiplier(family.problem, family.operand, family.objective, family=family)


@dataclass(kw_only=True)
class CommonMultiplier(Candidates):
    """Candidates of a per-channel ``family`` with one multiplier for all channels, compared by the loss of the whole tensor."""

    family: UniformCandidates

    def __len__(self) -> int:
        return len(self.family)

    def start(self) -> UniformQuantizer:
        """Return the start of the family."""
        return self.family.start()

    def quantizer(self, index: Tensor) -> UniformQuantizer:
        """Return the quantizer with the multiplier in place ``index`` []."""
        return self.family.quantizer(index[None])

    def rows(self, problem: SiteProblem, index: Tensor) -> Tensor:
        """Return the operand's rows by the candidates ``index`` [m]."""
        return self.family.rows(problem, index[:, None])
