"""Q-HyViT as its released code has it, not as the paper does (arXiv 2303.12557): PTQ4ViT's search, and bridge sites that stay rounded.

Site after site, in the order of execution, is searched in a network that is FP32 but for the bridge sites before it: these stay quantized
with what was found for them, so that later sites see their errors, in values and in gradients alike. Up to the first bridge site the
network is the FP32 one, where the gradients of the KL divergence are rounding noise. All is symmetric, and a rule sets the granularity.

Some things are not as there. The code lists bridge sites by their indices, one convolution and the first projection of a block at most:
here they are all sites of the detected blocks. One scale serves the weights of q, k and v, which have one each there. The scale that
covers a range is max|x| / (2^(b-1) - 1) and not max|x| / (2^(b-1) - 0.5). All matrix products are quantized, where the code knows only
those of the attention that MobileViTv1 uses. And as for all methods BatchNorm is folded, and errors are estimated at sampled positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.progress import track
from torch import Tensor

from qhyvit.calibration.capture import capture
from qhyvit.calibration.losses import kl_loss
from qhyvit.config.methods import QhyvitReleasedMethod
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.sites import Site
from qhyvit.methods.scale_search import candidates_of
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.search import alternating
from qhyvit.search.candidates import Candidates, UniformCandidates
from qhyvit.search.site_problem import SiteProblem


def find_quantizers(task: Task) -> Quantizers:
    """The quantizers of every site."""
    bridge = {site.name for block in find_bridge_blocks(task.model.graph_module, task.model.sites) for site in block.sites}
    batches = task.calibration.read_batches()
    found: dict[str, dict[str, Quantizer]] = {}
    for segment in track(_segments(task.model.sites, bridge), "searching"):
        rounding = {name: quantizers for name, quantizers in found.items() if name in bridge}
        recalibrated = _recalibrated(task, segment, rounding, batches)
        found |= {site.name: _search(recalibrated, site) for site in segment}
    return found


def _segments(sites: Sequence[Site], bridge: set[str]) -> list[list[Site]]:
    """The sites cut after every bridge site: what lies between two sees the same network, and so shares one calibration."""
    segments: list[list[Site]] = [[]]
    for site in sites:
        segments[-1].append(site)
        if site.name in bridge:
            segments.append([])
    return [segment for segment in segments if segment]


def _recalibrated(task: Task, segment: list[Site], rounding: Quantizers, batches: list[Tensor]) -> Task:
    """The task with the statistics of a segment's sites in the network with the quantizers ``rounding``."""
    network, images = task.model, task.calibration
    statistics = capture(
        network.graph_module, network.sites, batches, images.positions, images.seed, kl_loss, rounding, watched=segment, values="rounded"
    )
    return replace(task, statistics=statistics)


def _search(task: Task, site: Site) -> dict[str, Quantizer]:
    families = {operand: [_as_released(family) for family in found] for operand, found in candidates_of(task, site).items()}
    return alternating.alternate(families, task.settings(QhyvitReleasedMethod).rounds)


def _as_released(family: UniformCandidates) -> Candidates:
    """The family, but for inputs with channels of their own, whose released search has one index for all channels."""
    if family.operand != "input" or family.granularity == "per_tensor":
        return family
    return CommonFactor(family.problem, family.operand, family.objective, family=family)


@dataclass(kw_only=True)
class CommonFactor(Candidates):
    """Those of a channel-wise ``family`` that have one factor for all channels; the loss of the whole tensor decides."""

    family: UniformCandidates

    def __len__(self) -> int:
        return len(self.family)

    def start(self) -> UniformQuantizer:
        """That of the family."""
        return self.family.start()

    def quantizer(self, index: Tensor) -> UniformQuantizer:
        """The quantizer with the factor ``index`` []."""
        return self.family.quantizer(index[None])

    def rows(self, problem: SiteProblem, index: Tensor) -> Tensor:
        """The operand's rows by the candidates ``index`` [m]."""
        return self.family.rows(problem, index[:, None])
