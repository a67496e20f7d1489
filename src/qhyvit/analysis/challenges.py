"""Measure the four challenges of hybrid vision transformers (Q-HyViT, arXiv 2303.12557, Section III) on one network.

C1: the ranges of an activation's channels differ. C2: zero points overflow. C3: norms of several types. C4: few parameters, few
residual connections.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.analysis.norms import find_norms, norm_table
from qhyvit.analysis.overflow import overflow_errors, overflows
from qhyvit.analysis.residual import residual_branches
from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.ranges import Range
from qhyvit.errors import InputError
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.describe import multiply_accumulates
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.sites import Site, find_sites, site_weight
from qhyvit.graph.trace import trace
from qhyvit.graph.unquantized_products import find_unquantized_products, share_of
from qhyvit.search.site_problem import SiteProblem

Statistics = dict[str, SiteStatistics]


class Challenges(NamedTuple):
    """Challenges of one network: tables per activation and per channel, and a summary of the whole network."""

    activations: pd.DataFrame
    channels: pd.DataFrame
    summary: dict[str, Any]


def measure_challenges(model: nn.Module, example: Tensor, statistics: Statistics) -> Challenges:
    """Measure the challenges of ``model`` from the ``statistics`` of its sites.

    ``example`` is a batch of two images [2, C, H, W]. The weights of ``model`` do not matter: all that depends on
    them is in the statistics. Raises InputError for the statistics of another network.
    """
    graph_module = trace(model, example)
    norm_nodes = find_norms(graph_module)
    fold_batch_norm(graph_module)
    sites = find_sites(graph_module)
    if statistics.keys() != {site.name for site in sites}:
        raise InputError("its sites are not those of the network; give the calibration of this network")
    bridge = {site for block in find_bridge_blocks(graph_module, sites) for site in block.sites}
    norms = norm_table(norm_nodes, graph_module, bridge)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Challenges(
        activation_table(graph_module, sites, bridge, statistics),
        channel_table(sites, bridge, statistics),
        {"parameters": parameters, **network_summary(graph_module, sites, bridge, norms)},
    )


def activation_table(graph_module: GraphModule, sites: list[Site], bridge: set[Site], statistics: Statistics) -> pd.DataFrame:
    """Tabulate C1 and C2, one row per site and activation operand, in the order of execution.

    Channels are the finest granularity, so heads for the operands of a matrix product. Ranges are widths, high - low; ``ratio`` is the
    width of the widest channel relative to the median. Zero points are for 8-bit asymmetric grids, per-channel and per-tensor; errors are
    relative squared errors over the sampled rows.
    """
    rows = []
    for site in sites:
        problem = SiteProblem(site, site_weight(graph_module, site), statistics[site.name])
        for operand, observed in statistics[site.name].ranges.items():
            place = {"site": site.name, "kind": site.kind, "operand": operand, "bridge": site in bridge}
            rows.append(place | _ranges(observed) | _overflow(problem, operand))
    return pd.DataFrame(rows)


def channel_table(sites: list[Site], bridge: set[Site], statistics: Statistics) -> pd.DataFrame:
    """Tabulate the minimum and maximum of every channel of every activation operand, in the order of execution."""

    def rows() -> Iterator[tuple[object, ...]]:
        for site in sites:
            for operand, observed in statistics[site.name].ranges.items():
                for channel, (low, high) in enumerate(zip(observed.low.tolist(), observed.high.tolist(), strict=True)):
                    yield site.name, operand, site in bridge, channel, low, high

    return pd.DataFrame(rows(), columns=["site", "operand", "bridge", "channel", "low", "high"])


def network_summary(graph_module: GraphModule, sites: list[Site], bridge: set[Site], norms: pd.DataFrame) -> dict[str, Any]:
    """Summarize C3 and C4: norms by type; sites, MACs per image, and their shares in residual branches (see `residual_branches`).

    ``unquantized_mac_share`` is the part of all multiply-accumulates that is in no site.
    """
    branches = residual_branches(graph_module)
    batch = next(node.meta["val"].shape[0] for node in graph_module.graph.nodes if node.op == "placeholder")
    macs = {site: multiply_accumulates(site, int(batch)) for site in sites}
    residual = [site for site in sites if site.node in branches]
    return {
        "norms": {
            name: {"all": len(rows), "folded": int(rows.folded.sum()), "bridge": int(rows.bridge.sum())}
            for name, rows in norms.groupby("type")
        },
        "sites": len(sites),
        "bridge_sites": len(bridge),
        "macs": sum(macs.values()),
        "unquantized_mac_share": share_of(find_unquantized_products(graph_module, sites)),
        "residual_site_share": round(len(residual) / len(sites), 6),
        "residual_mac_share": round(sum(macs[site] for site in residual) / sum(macs.values()), 6),
    }


def _ranges(observed: Range) -> dict[str, Any]:
    widths = observed.high - observed.low
    median = float(widths.quantile(0.5))  # between the middle two of an even number, as Tensor.median is not
    return {
        "channels": len(widths),
        "low": float(observed.low.amin()),
        "high": float(observed.high.amax()),
        "smallest_range": float(widths.amin()),
        "median_range": median,
        "largest_range": float(widths.amax()),
        "ratio": float(widths.amax()) / median if median else float("inf"),
    }


def _overflow(problem: SiteProblem, operand: str) -> dict[str, Any]:
    by_channel, by_tensor = (problem.range(operand, granularity) for granularity in ("per_channel", "per_tensor"))
    channel_errors = overflow_errors(problem, operand, "per_tensor" if problem.site.axis(operand) is None else "per_channel")
    tensor_errors = overflow_errors(problem, operand, "per_tensor")
    return {
        "overflowing_channels": int(overflows(*by_channel).sum()),
        "tensor_overflows": bool(overflows(*by_tensor)),
        "channel_error_clipped": channel_errors[0],
        "channel_error_widened": channel_errors[1],
        "tensor_error_clipped": tensor_errors[0],
        "tensor_error_widened": tensor_errors[1],
    }
