"""Check each site of an exported model against the simulator, with the simulator's inputs of the site, so that differences do not add up.

The sites stand next to each other in one graph, which the engine compiles and runs like the model itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule

from qhyvit.deploy.extra import convertible
from qhyvit.deploy.lowering import FORMS, Form, lower_site
from qhyvit.deploy.simulated_values import simulated_values
from qhyvit.graph.interpreter import FakeQuantInterpreter
from qhyvit.graph.sites import Site
from qhyvit.graph.traced_model import TracedModel
from qhyvit.processor import adds_in_16_bits
from qhyvit.quantizers.base import Quantizer, Quantizers
from qhyvit.quantizers.uniform import UniformQuantizer

TOLERANCE = 1e-4  # of the largest output of a site: float32 sums in another order differ by less, a wrong kernel by more
TIE = 0.01  # distance from a rounding tie, in steps, below which engine and simulator may round a value to different sides
SATURATING_BITS = 8


@dataclass(frozen=True)
class SiteCheck:
    """Form of a site, and the largest difference of its outputs from the simulator's, in parts of the largest output.

    ``saturates`` says that the difference is this processor's: its kernels add pairs of products in 16 bits, too few for this site.
    """

    site: str
    form: Form
    difference: float
    saturates: bool

    @property
    def agrees(self) -> bool:
        """True if the difference is one of rounding alone."""
        return self.difference <= TOLERANCE


def check_sites(model: TracedModel, quantizers: Quantizers, example: Tensor, engine: ModuleType) -> list[SiteCheck]:
    """Give each quantized site the first of the forms that agrees with the simulator, and return the checks of all.

    ``engine`` converts and runs graphs. A site that only this processor computes wrongly keeps its form. Linear layers that the engine
    fuses with others and then computes wrongly become convolutions: alone they would agree.
    """
    sites = [site for site in model.sites if site.name in quantizers]
    inputs = _inputs(model, sites, quantizers, example)
    fused = engine.fused_wrongly(sites)
    checks: dict[str, SiteCheck] = {}
    for form in FORMS[FORMS.index(engine.FIRST_FORM) :]:
        unsettled = [site for site in sites if site.name not in checks or not (checks[site.name].agrees or checks[site.name].saturates)]
        tried = [site for site in unsettled if form == "float" or (form == "convolution") == (site.name in fused)]
        checks |= {check.site: check for check in _check(model, tried, quantizers, inputs, form, engine)}
    return [checks[site.name] for site in sites]


def _check(
    model: TracedModel,
    sites: Sequence[Site],
    quantizers: Quantizers,
    inputs: Mapping[str, list[Tensor]],
    form: Form,
    engine: ModuleType,
) -> list[SiteCheck]:
    if not sites:
        return []
    graph_module, copies = side_by_side(model.graph_module, sites)
    values = [tensor for site in sites for tensor in inputs[site.name]]
    expected = _simulate(graph_module, copies, quantizers, values)
    for site in copies:
        lower_site(graph_module, site, quantizers[site.name], form)
    graph_module.recompile()
    converted = engine.convert(graph_module, values)
    with convertible(engine.NAME):
        compiled = engine.compile_model(converted)
    found = engine.run(compiled, values)
    checks = []
    for site, one, other in zip(sites, found, expected, strict=True):
        difference = float((one - other).abs().max() / other.abs().max().clamp(min=torch.finfo(torch.float32).tiny))
        saturates = difference > TOLERANCE and form != "float" and _saturates(site, quantizers[site.name])
        checks.append(SiteCheck(site.name, form, difference, saturates))
    return checks


def side_by_side(graph_module: GraphModule, sites: Sequence[Site]) -> tuple[GraphModule, list[Site]]:
    """Return a graph of nothing but ``sites``, each with its own inputs, in order, and the copies of the sites in it."""
    graph, copies = Graph(), []
    for site in sites:
        inputs = site.operand_nodes if site.kind == "matmul" else site.operand_nodes[:1]
        placeholders = [graph.placeholder(f"{site.node.name}_{position}") for position in range(len(inputs))]
        known = dict(zip(inputs, placeholders, strict=True))
        for node, copy in zip(inputs, placeholders, strict=True):
            copy.meta.update(node.meta)
        known |= {old: graph.get_attr(str(old.target)) for old in site.node.all_input_nodes if old not in known}
        node = graph.node_copy(site.node, known.__getitem__)
        for position, copy in enumerate(placeholders):  # both operands of a product may be one node
            node.update_arg(position, copy)
        copies.append(Site(site.name, site.kind, node, site.groups))
    graph.output(tuple(copy.node for copy in copies))
    return GraphModule(graph_module, graph), copies


def _simulate(graph_module: GraphModule, sites: Sequence[Site], quantizers: Quantizers, values: Sequence[Tensor]) -> Sequence[Tensor]:
    with torch.no_grad():
        return FakeQuantInterpreter(graph_module, sites, quantizers).run(*values)


def _inputs(model: TracedModel, sites: Sequence[Site], quantizers: Quantizers, example: Tensor) -> dict[str, list[Tensor]]:
    """Return the inputs of each site in the quantized network, without rounding ties."""
    values = simulated_values(model, quantizers, example)
    inputs: dict[str, list[Tensor]] = {}
    for site in sites:
        operands = zip(site.operands, site.operand_nodes, strict=True)
        named = [(name, values[node.name]) for name, node in operands if name != "weight"]
        inputs[site.name] = [_without_ties(value, quantizers[site.name].get(name)).contiguous() for name, value in named]
    return inputs


def _without_ties(x: Tensor, quantizer: Quantizer | None) -> Tensor:
    """Replace values that lie next to a rounding tie by their rounded values."""
    if not isinstance(quantizer, UniformQuantizer):
        return x
    shape = [1] * x.ndim
    if quantizer.axis is not None:
        shape[quantizer.axis] = -1
    steps = x / quantizer.scale.view(shape)
    return torch.where((steps - steps.floor() - 0.5).abs() < TIE, quantizer.fake_quantize(x), x)


def _saturates(site: Site, operands: Mapping[str, Quantizer]) -> bool:
    """Tell if this processor adds pairs of products of the site in 16 bits, where 8-bit weights leave too little room."""
    if site.site_class == "depthwise_conv":
        return False
    return operands[site.operands[1]].bits == SATURATING_BITS and adds_in_16_bits()
