"""Insert quantizers into a graph: fake-quantized weights, and modules that fake-quantize activations."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.graph.output_sites import OutputSite
from qhyvit.graph.sites import Site, site_weight
from qhyvit.quantizers.base import Quantizer, Quantizers


class FakeQuantize(nn.Module):
    """Module that fake-quantizes an activation."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        """Return the fake-quantized activation, of the shape of ``x``."""
        return self.quantizer.fake_quantize(x)


def insert_quantizers(graph_module: GraphModule, sites: Sequence[Site | OutputSite], quantizers: Quantizers) -> None:
    """Quantize every site that ``quantizers`` names, in place; an output site by the quantizer of its operand ``output``.

    All readers of an output site get the fake-quantized values; a site quantizes them again if its operand has a quantizer of its own.
    Raises KeyError for a name that is no site and for an output site without a quantizer for its output.
    """
    by_name = {site.name: site for site in sites}
    for name, operands in quantizers.items():
        site = by_name[name]
        if isinstance(site, OutputSite):
            _insert_after(graph_module, site, operands["output"])
            continue
        for position, operand in enumerate(site.operands):
            if operand in operands:
                _insert(graph_module, site, position, operand, operands[operand])
    graph_module.recompile()


def _insert_after(graph_module: GraphModule, site: OutputSite, quantizer: Quantizer) -> None:
    attribute = f"quantized_{site.node.name}_output"
    graph_module.add_submodule(attribute, FakeQuantize(quantizer))
    with graph_module.graph.inserting_after(site.node):
        quantized = graph_module.graph.call_module(attribute, (site.node,))
    site.node.replace_all_uses_with(quantized, delete_user_cb=lambda user: user is not quantized)


def _insert(graph_module: GraphModule, site: Site, position: int, operand: str, quantizer: Quantizer) -> None:
    attribute = f"quantized_{site.node.name}_{operand}"
    with graph_module.graph.inserting_before(site.node):
        if operand == "weight":
            weight = site_weight(graph_module, site)
            assert weight is not None
            graph_module.register_buffer(attribute, quantizer.fake_quantize(weight))
            replacement = graph_module.graph.get_attr(attribute)
        else:
            graph_module.add_submodule(attribute, FakeQuantize(quantizer))
            replacement = graph_module.graph.call_module(attribute, (site.node.args[position],))
    site.node.update_arg(position, replacement)
