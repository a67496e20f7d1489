"""Find bridge blocks (Q-HyViT, arXiv 2303.12557, Table I): where a network passes between local maps and global tokens.

They are found from the contents of the tensors (see `layout`) and the data flow, in two kinds. A *conversion* makes tokens of a map:
it runs from the layers that write the map to the first one that reads the tokens. The paper's block has one output, so that of separate
layers for queries, keys and values only the first belongs to it. A network that leaves a map of the same size again crosses the same
bridge, so the first conversion at each size counts. An *exchange* is an attention between the pixels of a map and tokens of another
origin, with its projections; each one counts.

Table I of the paper has 3 blocks for MobileViTv1 and MobileViTv2, 1 for EfficientFormerV1 and 2 for EfficientFormerV2, as found here.
It has 15 for Mobile-Former, which no size has: one exchange each way in every block and one more before the classifier make 17 up to
96M and 23 above. Which 15 are meant is not known, so all of them count.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch.fx import GraphModule, Node

from qhyvit.graph.layout import Layout, find_layouts
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import ancestors, between, users_of, visit


@dataclass(frozen=True)
class BridgeBlock:
    """Sites that are quantized jointly: the output of the last one depends on the quantizers of all ``sites``, in the order of execution.

    ``before`` are the sites on the near side, ``after`` those on the far side: of a conversion the layers that write the map and those
    that read the tokens, of an exchange the projections that feed the products, and the products with the projection of their result.
    ``map_shape`` and ``token_shape`` are the shapes on both sides without the first axis.
    """

    kind: Literal["conversion", "exchange"]
    before: tuple[Site, ...]
    after: tuple[Site, ...]
    sites: tuple[Site, ...]
    map_shape: tuple[int, ...]
    token_shape: tuple[int, ...]


def find_bridge_blocks(graph_module: GraphModule, sites: list[Site]) -> list[BridgeBlock]:
    """Find all bridge blocks, in the order of execution; a network without tokens has none."""
    flow = _Flow(find_layouts(graph_module), sites)
    units = flow.units()
    exchanges = [block for unit in units if (block := _exchange(flow, unit))]
    exchanging = {site for block in exchanges for site in block.sites}
    conversions = _conversions(flow, [unit for unit in units if not exchanging & {*unit}])
    return sorted([*exchanges, *conversions], key=lambda block: flow.order[block.sites[-1]])


def _conversions(flow: "_Flow", units: list[list[Site]]) -> list[BridgeBlock]:
    blocks = []
    seen: set[Node] = set()
    grids: set[tuple[int, int] | None] = set()
    for unit in units:
        if not any(flow.kind(site.node) == "tokens" for site in unit):  # it computes a map, or pools
            continue
        reads = [(source, operand, site) for site in unit for operand in _operands(site) for source in flow.maps(operand)]
        reads = [(source, operand, site) for source, operand, site in reads if source not in seen]
        new = [(source, operand) for source, operand, _ in reads if flow.layouts[source].grid not in grids]
        seen |= {source for source, _, _ in reads}
        grids |= {flow.layouts[source].grid for source, _ in new}
        if new:
            writers = {site for source, _, _ in reads for site in flow.nearest(source, beyond="neither")}
            blocks.append(_block(flow, "conversion", writers, {site for _, _, site in reads}, *new[0]))
    return blocks


def _exchange(flow: "_Flow", products: list[Site]) -> BridgeBlock | None:
    operands = _operands(products[0])
    for pixels, tokens in zip(operands, operands[::-1], strict=True):
        maps = flow.maps(pixels, through_projections=True)
        if not maps or not flow.is_other_stream(tokens):
            continue
        after = {*products, *flow.projections(products[-1])[:1]}
        fed = [operand for site in after for operand in _operands(site)]
        feeding = {site for operand in fed for site in flow.nearest(operand, beyond="map")} - {*flow.between(products, after)}
        stream = [_operands(site)[0] for site in flow.nearest(tokens, beyond="map")] or [tokens]
        return _block(flow, "exchange", feeding, after, maps[0], stream[0])
    return None


def _block(
    flow: "_Flow", kind: Literal["conversion", "exchange"], before: set[Site], after: set[Site], source: Node, tokens: Node
) -> BridgeBlock:
    last = max(after, key=flow.order.__getitem__)
    sites = flow.between(before | after, [last])
    near, far = (tuple(site for site in sites if site in side) for side in (before, after))
    return BridgeBlock(kind, near, far, sites, shape_of(source)[1:], shape_of(tokens)[1:])


class _Flow:
    """Data flow of a graph between its sites."""

    def __init__(self, layouts: dict[Node, Layout], sites: list[Site]) -> None:
        self.layouts = layouts
        self.sites = {site.node: site for site in sites}
        self.order = {site: position for position, site in enumerate(sites)}

    def kind(self, node: Node) -> str:
        return self.layouts.get(node, Layout()).kind

    def units(self) -> list[list[Site]]:
        """Group the matrix products of each attention; every other site is a group of its own."""
        units: dict[Site, list[Site]] = {}
        for site in self.sites.values():
            earlier = self._scores(site) if site.kind == "matmul" else None
            units[site] = units[earlier] if earlier else []
            units[site].append(site)
        return [unit for site, unit in units.items() if site is unit[0]]

    def maps(self, operand: Node, through_projections: bool = False) -> list[Node]:
        """Return the maps that reach the tokens with no layer, or only projections, on the way; none if the operand is no tokens."""

        def passes(node: Node) -> bool:
            return self.kind(node) == "tokens" and (node not in self.sites or (through_projections and not self._is_product(node)))

        visited = visit([operand], passes)
        is_mixed = any(self._is_product(node) and self.kind(node) == "tokens" for node in visited)
        if self.kind(operand) != "tokens" or (through_projections and is_mixed):
            return []
        return [node for node in visited if self.kind(node) == "map"]

    def nearest(self, node: Node, beyond: str) -> list[Site]:
        """Return the last sites on the paths to the node, none of which leads to another; paths end at tensors of the kind ``beyond``."""
        visited = visit([node], lambda other: other not in self.sites and self.kind(other) != beyond)
        found = [other for other in visited if other in self.sites and self.kind(other) != beyond]
        return [self.sites[site] for site in found if not any(site in ancestors([other]) for other in found)]

    def between(self, first: Iterable[Site], last: Iterable[Site]) -> tuple[Site, ...]:
        """Return all sites on the paths from the first to the last, both included."""
        inside = between((site.node for site in first), (site.node for site in last))
        return tuple(site for node, site in self.sites.items() if node in inside)

    def projections(self, product: Site) -> list[Site]:
        """Return the layers that read the product before it joins a tensor that it was computed from, such as the residual stream."""
        origins = {node for node in ancestors([product.node]) if node in self.layouts}

        def is_free(node: Node) -> bool:
            return not origins & {*node.all_input_nodes}

        visited = visit(product.node.users, lambda node: is_free(node) and node not in self.sites, users_of)
        return [site for node, site in self.sites.items() if node in visited and is_free(node) and not self._is_product(node)]

    def is_other_stream(self, node: Node) -> bool:
        """Tell if the tensor depends on the image and is not made of single pixels."""
        return self.kind(node) == "neither" and any(source.op == "placeholder" for source in ancestors([node]))

    def _scores(self, product: Site) -> Site | None:
        """Return the earlier product whose result this one multiplies."""
        return next((self.sites[node] for operand in _operands(product) for node in self._products_behind(operand)), None)

    def _products_behind(self, operand: Node) -> list[Node]:
        """Return the products behind the operand; operators between act on elements or mix heads, and keep the last two axes."""
        axes = _last_axes(operand)
        visited = visit([operand], lambda node: _last_axes(node) == axes and self._is_transparent(node))
        return [node for node in visited if self._is_product(node) and _last_axes(node) == axes]

    def _is_transparent(self, node: Node) -> bool:
        return node not in self.sites or self.sites[node].kind == "conv"

    def _is_product(self, node: Node) -> bool:
        return node in self.sites and self.sites[node].kind == "matmul"


def _operands(site: Site) -> list[Any]:
    return list(site.node.args[: 2 if site.kind == "matmul" else 1])


def _last_axes(node: Node) -> list[int] | None:
    value = node.meta.get("val")
    return sorted(shape_of(node)[-2:]) if hasattr(value, "shape") else None
