"""Write products in the forms that are sites: torch.matmul and torch.bmm of two activations, linear layers of a parameter."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from torch.fx import GraphModule, Node

from qhyvit.graph.nodes import add_call, arguments_of, batch_axis, is_batched, shape_of
from qhyvit.graph.operators import aten
from qhyvit.graph.walks import constants


@dataclass(frozen=True)
class Einsum:
    """Indices of a product of two operands by their part in it; ``shared`` ones are in both operands and in the output."""

    left: str
    right: str
    output: str
    shared: str
    rows: str
    columns: str
    summed: str


def rewrite_products(graph_module: GraphModule) -> None:
    """Replace baddbmm, and each einsum that multiplies matrices of every image, by a product of matrices; in place.

    A product with a matrix that depends on no input becomes a linear layer, whose weight is that matrix or its transpose.
    """
    fixed = constants(graph_module.graph)
    for node in list(graph_module.graph.nodes):
        if node.target is aten.einsum.default and (einsum := _matrix_product(node)):
            _replace_einsum(graph_module, node, einsum)
        elif node.target is aten.baddbmm.default:
            _replace_baddbmm(graph_module, node)
        elif node.target is aten.matmul.default and node not in fixed:
            _replace_by_linear(graph_module, node, fixed)
    graph_module.graph.eliminate_dead_code()


def parse_einsum(equation: str) -> Einsum | None:
    """Return the parts of an equation of two operands that multiplies matrices; None for any other, as with repeated indices.

    There are a row, a column, and one or more indices to sum over.
    """
    operands, _, output = equation.replace(" ", "").partition("->")
    left, separator, right = operands.partition(",")
    if not (separator and output and all(text.isalpha() and len({*text}) == len(text) for text in (left, right, output))):
        return None
    rows, columns = (("".join(index for index in own if index not in other)) for own, other in ((left, right), (right, left)))
    shared = "".join(index for index in output if index in left and index in right)
    summed = "".join(index for index in left if index in right and index not in output)
    is_matrix = len(rows) == len(columns) == 1 and summed and {*output} == {*rows, *columns, *shared}
    return Einsum(left, right, output, shared, rows, columns, summed) if is_matrix else None


def _matrix_product(node: Node) -> Einsum | None:
    """Return the parts of an einsum whose operands hold one matrix or more of each image."""
    einsum, operands = parse_einsum(str(node.args[0])), node.all_input_nodes
    if einsum is None or not all(is_batched(operand) for operand in operands):
        return None
    sizes = [
        dict(zip(text, shape_of(operand), strict=True)) for text, operand in zip((einsum.left, einsum.right), _operands(node), strict=True)
    ]
    if any(sizes[0][index] != sizes[1][index] for index in einsum.summed):  # one operand is repeated along the index
        return None
    images = {text[batch_axis(operand)] for text, operand in zip((einsum.left, einsum.right), _operands(node), strict=True)}
    return einsum if images <= {*einsum.shared} and len(images) == 1 else None


def _operands(node: Node) -> list[Node]:
    """Return the two operands of an einsum, which may be one node."""
    operands = node.args[1]
    assert isinstance(operands, Sequence)
    return [operand for operand in operands if isinstance(operand, Node)]


def _replace_einsum(graph_module: GraphModule, node: Node, einsum: Einsum) -> None:
    left, right = _operands(node)
    with graph_module.graph.inserting_before(node):
        first = _arranged(graph_module, node, left, einsum.left, einsum.shared + einsum.rows, einsum.summed)
        second = _arranged(graph_module, node, right, einsum.right, einsum.shared + einsum.columns, einsum.summed)
        second = add_call(graph_module, node, aten.transpose.int, second, -2, -1)
        product = add_call(graph_module, node, aten.matmul.default, first, second)
        order = einsum.shared + einsum.rows + einsum.columns
        product = _permuted(graph_module, node, product, order, einsum.output)
    node.replace_all_uses_with(product)
    graph_module.graph.erase_node(node)


def _arranged(graph_module: GraphModule, node: Node, operand: Node, indices: str, kept: str, summed: str) -> Node:
    """Move the indices to sum over to the end of an operand, as one axis."""
    arranged = _permuted(graph_module, node, operand, indices, kept + summed)
    return add_call(graph_module, node, aten.flatten.using_ints, arranged, len(kept), -1) if len(summed) > 1 else arranged


def _permuted(graph_module: GraphModule, node: Node, operand: Node, indices: str, order: str) -> Node:
    axes = [indices.index(index) for index in order]
    return operand if axes == sorted(axes) else add_call(graph_module, node, aten.permute.default, operand, axes)


def _replace_baddbmm(graph_module: GraphModule, node: Node) -> None:
    """Compute beta * input + alpha * left @ right by an operator each."""
    given = arguments_of(node)
    with graph_module.graph.inserting_before(node):
        product, added = add_call(graph_module, node, aten.bmm.default, given["batch1"], given["batch2"]), given["self"]
        if given["alpha"] != 1:
            product = add_call(graph_module, node, aten.mul.Tensor, product, given["alpha"])
        if given["beta"] not in (0, 1):
            added = add_call(graph_module, node, aten.mul.Tensor, added, given["beta"])
        result = add_call(graph_module, node, aten.add.Tensor, product, added) if given["beta"] else product
    node.replace_all_uses_with(result)
    graph_module.graph.erase_node(node)


def _replace_by_linear(graph_module: GraphModule, node: Node, fixed: Collection[Node]) -> None:
    """Compute x @ W as a linear layer of W^T, and W @ x as the transpose of a linear layer of x^T, where W is in ``fixed``."""
    is_left = node.args[0] in fixed
    weight, x = node.args if is_left else node.args[::-1]
    assert isinstance(weight, Node)
    assert isinstance(x, Node)
    if weight not in fixed or weight.meta["val"].ndim != 2 or (is_left and x.meta["val"].ndim == 1):
        return
    with graph_module.graph.inserting_before(node):
        transposed = add_call(graph_module, node, aten.transpose.int, x if is_left else weight, -2, -1)
        layer = add_call(graph_module, node, aten.linear.default, *((transposed, weight) if is_left else (x, transposed)))
        result = add_call(graph_module, node, aten.transpose.int, layer, -2, -1) if is_left else layer
    node.replace_all_uses_with(result)
    graph_module.graph.erase_node(node)
