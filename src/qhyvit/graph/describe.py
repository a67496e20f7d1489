"""Describe a network as plain data: sites, products that stay in floating point, bridge blocks, norms, parameters."""

from collections import Counter
from dataclasses import asdict
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.fx import Node

from qhyvit.graph.bridge import BridgeBlock, find_bridge_blocks
from qhyvit.graph.floating_point import find_floating_point
from qhyvit.graph.fold import fold_and_check
from qhyvit.graph.nodes import is_batched, shape_of
from qhyvit.graph.operators import NORMS
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.trace import trace
from qhyvit.graph.unquantized_products import find_unquantized_products, share_of
from qhyvit.graph.walks import visit


def describe(model: nn.Module, example: Tensor) -> dict[str, Any]:
    """Describe ``model``, traced on a batch of two images ``example`` [2, C, H, W]; shapes and MACs are per image.

    The key ``unquantized_share`` is the part of the multiply-accumulates that is in no site, from 0 to 1.

    Raises InputError for a model that cannot be traced.
    """
    graph_module = trace(model, example)
    norms = Counter(NORMS[node.target] for node in graph_module.graph.nodes if node.target in NORMS)
    folded = fold_and_check(graph_module, example)
    sites = find_sites(graph_module)
    nodes, products = {site.node: site for site in sites}, find_unquantized_products(graph_module, sites)
    return {
        "input": list(example.shape[1:]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "norms": dict(norms) | {"batch_norm_folded": folded},
        "sites": [_describe_site(site, len(example)) | {"reads": _reads(site, nodes)} for site in sites],
        "unquantized_products": [asdict(product) for product in products],
        "unquantized_share": share_of(products),
        "floating_point_in_full_mode": [asdict(result) for result in find_floating_point(graph_module, sites)],
        "bridge_blocks": [_describe_bridge(block) for block in find_bridge_blocks(graph_module, sites)],
    }


def multiply_accumulates(site: Site, batch: int) -> int:
    """Count the multiply-accumulates of a site per image, from the shapes on a batch of ``batch`` images.

    A site that is computed once for all images counts in full, as it does for a single image.
    """
    left, right = _operand_shapes(site)
    terms = left[-1] if site.kind == "matmul" else prod(right[1:])
    return prod(shape_of(site.node)) * terms // (batch if is_batched(site.node) else 1)


def _reads(site: Site, sites: dict[Node, Site]) -> list[str]:
    """Return the names of the sites whose results reach ``site`` with no other one on the way."""
    visited = visit(site.node.all_input_nodes, lambda node: node not in sites)
    return [other.name for node, other in sites.items() if node in visited]


def _operand_shapes(site: Site) -> list[tuple[int, ...]]:
    return [shape_of(argument) for argument in site.node.args[:2] if isinstance(argument, Node)]


def _describe_site(site: Site, batch: int) -> dict[str, Any]:
    first, second = site.operands
    left, right = _operand_shapes(site)
    return {
        "name": site.name,
        "kind": site.kind,
        "groups": site.groups,
        first: list(left[1:]),
        second: list(right if second == "weight" else right[1:]),
        "output": list(shape_of(site.node)[1:]),
        "granularity": ["per_tensor"]
        if site.axis(first) is None
        else ["per_tensor", "per_head" if site.kind == "matmul" else "per_channel"],
        "macs": multiply_accumulates(site, batch),
    }


def _describe_bridge(block: BridgeBlock) -> dict[str, Any]:
    return {
        "kind": block.kind,
        "sites": [site.name for site in block.sites],
        "before": [site.name for site in block.before],
        "after": [site.name for site in block.after],
        "map": list(block.map_shape),
        "tokens": list(block.token_shape),
    }
