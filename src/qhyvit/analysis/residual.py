"""Find residual branches: the parts of a network that residual connections bypass."""

from itertools import permutations

from torch.fx import GraphModule, Node

from qhyvit.graph.operators import ADD
from qhyvit.graph.walks import between


def residual_branches(graph_module: GraphModule) -> set[Node]:
    """Find all nodes in a residual branch.

    A residual connection is an addition of two tensors one of which, the skip, is an ancestor of the other through the graph: y = x + f(x)
    with the identity as the shortcut. Its branch f consists of the nodes on the paths from the skip to the other addend, which is included.
    A shortcut with a layer in it, y = g(x) + f(x), is no residual connection: nothing passes unchanged.
    """
    branches: set[Node] = set()
    for node in graph_module.graph.find_nodes(op="call_function", target=ADD):
        addends = [addend for addend in node.args[:2] if isinstance(addend, Node)]
        for skip, end in permutations(addends, 2):
            branches |= between([skip], [end]) - {skip}
    return branches
