"""The four challenges of hybrid vision transformers (Q-HyViT, arXiv 2303.12557, Section III), measured on one network.

C1: the ranges of an activation's channels differ. C2: zero points overflow. C3: norms of several types. C4: few parameters, few
residual connections.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from torch.fx import GraphModule

from qhyvit.analysis.overflow import overflow_errors, overflows
from qhyvit.analysis.residual import residual_branches
from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.ranges import Range
from qhyvit.graph.describe import multiply_accumulates
from qhyvit.graph.sites import Site, site_weight
from qhyvit.search.site_problem import SiteProblem

Statistics = dict[str, SiteStatistics]


def activation_table(graph_module: GraphModule, sites: list[Site], bridge: set[Site], statistics: Statistics) -> pd.DataFrame:
    """C1 and C2, a row a site and activation operand, in the order of execution.

    Channels are the finest quantization units, so heads for the operands of a matrix product. Ranges are widths, high - low; ``ratio`` is
    that of the widest channel to the median one. Zero points are those of 8-bit asymmetric grids, by channel and for the whole tensor;
    errors are relative squared errors over the sampled rows.
    """
    rows = []
    for site in sites:
        problem = SiteProblem(site, site_weight(graph_module, site), statistics[site.name])
        for operand, found in statistics[site.name].ranges.items():
            place = {"site": site.name, "kind": site.kind, "operand": operand, "bridge": site in bridge}
            rows.append(place | _ranges(found) | _overflow(problem, operand))
    return pd.DataFrame(rows)


def channel_table(sites: list[Site], bridge: set[Site], statistics: Statistics) -> pd.DataFrame:
    """The extremes of every channel of every activation operand, in the order of execution."""

    def rows() -> Iterator[tuple[object, ...]]:
        for site in sites:
            for operand, found in statistics[site.name].ranges.items():
                for channel, (low, high) in enumerate(zip(found.low.tolist(), found.high.tolist(), strict=True)):
                    yield site.name, operand, site in bridge, channel, low, high

    return pd.DataFrame(rows(), columns=["site", "operand", "bridge", "channel", "low", "high"])


def network_summary(graph_module: GraphModule, sites: list[Site], bridge: set[Site], norms: pd.DataFrame) -> dict[str, Any]:
    """C3 and C4: norms by type, and sites, MACs of one image and their shares in residual branches (see `residual_branches`)."""
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
        "residual_site_share": round(len(residual) / len(sites), 6),
        "residual_mac_share": round(sum(macs[site] for site in residual) / sum(macs.values()), 6),
    }


def _ranges(found: Range) -> dict[str, Any]:
    widths = found.high - found.low
    median = float(widths.quantile(0.5))  # between the middle two of an even number, as Tensor.median is not
    return {
        "channels": len(widths),
        "low": float(found.low.amin()),
        "high": float(found.high.amax()),
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
