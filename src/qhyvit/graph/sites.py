"""Find quantization sites: the nodes of a graph that multiply matrices, by their operators and never by their names."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from torch import Tensor
from torch.fx import GraphModule, Node

from qhyvit.config.targets import SiteClass
from qhyvit.graph.nodes import batch_axis, module_path, shape_of, tensor_of
from qhyvit.graph.operators import SITE_KINDS

MAP_AXES = 4  # images, channels, height, width


@dataclass(frozen=True)
class Site:
    """Product of two operands: input and weight of a convolution or linear layer, left and right of a product of two activations."""

    name: str
    kind: Literal["conv", "linear", "matmul"]
    node: Node
    groups: int

    @property
    def operands(self) -> tuple[str, str]:
        """Names of the two operands, in the order of the node's arguments."""
        return ("left", "right") if self.kind == "matmul" else ("input", "weight")

    @property
    def operand_nodes(self) -> tuple[Node, Node]:
        """Nodes whose values the operands are."""
        left, right = self.node.args[:2]
        assert isinstance(left, Node)
        assert isinstance(right, Node)
        return left, right

    @property
    def site_class(self) -> SiteClass:
        """Class of the site, by which targets state what they execute."""
        if self.kind != "conv":
            return self.kind
        if self.groups == 1:
            return "dense_conv"
        if not self.depthwise:
            return "grouped_conv"
        return "depthwise_conv" if shape_of(self.node)[1] == self.groups else "depthwise_multiplier_conv"

    @property
    def depthwise(self) -> bool:
        """True if each input channel is a group of its own, so that channels do not mix."""
        return self.groups > 1 and self.groups == shape_of(self.operand_nodes[0])[1]

    def axis(self, operand: str) -> int | None:
        """Return the axis of the finest granularity: input channels, output channels of a weight, heads of a matrix product.

        None for a matrix product without heads: the third axis from the end may be that of the images.
        """
        if operand == "weight":
            return 0
        if self.kind == "matmul":
            ndim = self.node.meta["val"].ndim
            return -3 if ndim > 3 and batch_axis(self.node) != ndim - 3 else None
        return {"conv": 1, "linear": -1}[self.kind]


def find_sites(graph_module: GraphModule) -> list[Site]:
    """Find all sites, in the order of execution.

    A convolution or linear layer is one only if its weight and bias are parameters, a convolution only of a batch of maps, a product of
    activations only if it multiplies real matrices of each image: no vectors, and no matrices whose rows or columns are images.
    """
    nodes = [node for node in graph_module.graph.nodes if _is_site(node)]
    kinds = [SITE_KINDS[node.target] for node in nodes]
    sites = zip(_names(nodes), kinds, nodes, strict=True)
    return [Site(name, kind, node, groups=_groups(node) if kind == "conv" else 1) for name, kind, node in sites]


def numbered(name: str, taken: Collection[str], first: int) -> str:
    """Return the name with the lowest number, from ``first`` on, that makes it none of those ``taken``."""
    return next(candidate for number in count(first) if (candidate := f"{name}{number}") not in taken)


def site_weight(graph_module: GraphModule, site: Site) -> Tensor | None:
    """Return the weight of a convolution or linear site; None for a matrix product."""
    return None if site.kind == "matmul" else tensor_of(graph_module, site.node.args[1])


def site_bias(graph_module: GraphModule, site: Site) -> Tensor | None:
    """Return the bias of a convolution or linear site; None where it has none, and for a matrix product."""
    return None if site.kind == "matmul" or len(site.node.args) < 3 else tensor_of(graph_module, site.node.args[2])


def _names(nodes: Sequence[Node]) -> list[str]:
    """Name each layer by its module, or in the model itself by its node, and each product of activations and each later call by number."""
    names: dict[str, None] = {}
    taken = {module_path(node) for node in nodes}
    for node in nodes:
        path = module_path(node)
        if SITE_KINDS[node.target] == "matmul":
            name = numbered(f"{path}.matmul" if path else "matmul", taken, 1)
        else:
            name = path or node.name
            if name in names or (not path and name in taken):
                name = numbered(name, taken, 2)
        names[name] = None
        taken.add(name)
    return [*names]


def _is_site(node: Node) -> bool:
    kind = SITE_KINDS.get(node.target)
    if kind == "matmul":
        return all(_is_matrix(operand) for operand in node.all_input_nodes)
    return (
        kind is not None
        and (kind == "linear" or is_of_maps(node))
        and all(operand is None or (isinstance(operand, Node) and operand.op == "get_attr") for operand in node.args[1:3])
    )


def is_of_maps(convolution: Node) -> bool:
    """Tell if a convolution computes a batch of maps, not one map without an axis of images."""
    return bool(convolution.meta["val"].ndim == MAP_AXES)


def _is_matrix(node: Node) -> bool:
    """Tell if the last two axes of the tensor are real matrices, whose sizes do not depend on the number of images."""
    value = node.meta["val"]
    return value.ndim > 1 and value.is_floating_point() and all(isinstance(size, int) for size in value.shape[-2:])


def _groups(node: Node) -> int:
    return int(node.args[6]) if len(node.args) > 6 else 1  # type: ignore[arg-type]
