"""Quantized network of which scales, biases, parameters of norms and weights can be learnt."""

from collections.abc import Iterator, Mapping
from copy import deepcopy

from torch import Tensor, nn

from qhyvit.errors import InputError
from qhyvit.graph.sites import Site, find_sites
from qhyvit.graph.strides import reshape_views
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.base import Parameters, Quantizer, Quantizers
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.tuning.learnt_quantizer import LearntQuantizer


class LearntNetwork(nn.Module):
    """Copy of a model, with the parameters that were ``changed`` before, and with a learnt quantizer per operand.

    An input whose scales per channel the weight has absorbed keeps their ratios: only a common factor is learnt. Raises InputError for an
    operand without a uniform quantizer.
    """

    def __init__(self, model: TracedModel, quantizers: Quantizers, changed: Parameters) -> None:
        super().__init__()
        self.graph_module = deepcopy(model.with_parameters(changed).graph_module)
        self.changed = changed
        self.learnt: dict[tuple[str, str], LearntQuantizer] = {}
        sites = [site for site in find_sites(self.graph_module) if site.name in quantizers]
        self.weights = list(dict.fromkeys(str(site.node.args[1].target) for site in sites if site.kind != "matmul"))  # type: ignore[union-attr]
        for site in sites:
            for position, operand in enumerate(site.operands):
                self._insert(site, position, quantizers[site.name], operand)
        reshape_views(self.graph_module)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [B, classes] of images [B, C, H, W]."""
        logits = self.graph_module(images)
        assert isinstance(logits, Tensor)
        return logits

    def scales(self, *, of_weights: bool) -> list[nn.Parameter]:
        """Return the learnt logarithms of scales of weights, or of all other operands."""
        return [learnt.log_multiplier for (_, operand), learnt in self.learnt.items() if (operand == "weight") == of_weights]

    def weight_values(self) -> list[nn.Parameter]:
        """Return the weights of sites, each once."""
        return [self.graph_module.get_parameter(name) for name in self.weights]

    def vectors(self) -> list[nn.Parameter]:
        """Return biases and the parameters of norms."""
        return [parameter for _, parameter in self._vectors()]

    def learnt_values(self) -> dict[str, Tensor]:
        """Return all that is learnt, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def set_learnt_values(self, values: Mapping[str, Tensor]) -> None:
        """Set what is learnt to ``values``, by name."""
        for name, value in values.items():
            self.get_parameter(name).data.copy_(value)

    def quantizers(self) -> Quantizers:
        """Return the quantizers with the scales learnt so far."""
        found: dict[str, dict[str, Quantizer]] = {}
        for (site, operand), learnt in self.learnt.items():
            found.setdefault(site, {})[operand] = learnt.quantizer()
        return found

    def parameters_changed(self) -> Parameters:
        """Return what was changed before or learnt: biases, norm parameters and weights. Quantizers round learnt weights to their grids."""
        weights = ((name, weight) for name in self.weights if (weight := self.graph_module.get_parameter(name)).requires_grad)
        return {**self.changed, **{name: parameter.detach().clone() for name, parameter in (*self._vectors(), *weights)}}

    def _vectors(self) -> Iterator[tuple[str, nn.Parameter]]:
        learnt = {id(scale) for each in self.learnt.values() for scale in each.parameters()}
        for name, parameter in self.graph_module.named_parameters():
            if parameter.ndim == 1 and parameter.is_floating_point() and name not in self.weights and id(parameter) not in learnt:
                yield name, parameter

    def _insert(self, site: Site, position: int, operands: Mapping[str, Quantizer], operand: str) -> None:
        quantizer = operands[operand]
        if not isinstance(quantizer, UniformQuantizer | RescaledWeightQuantizer):
            raise InputError(f"{site.name}: its {operand} has no uniform quantizer, and only these are tuned; state another method")
        absorbed = operand == "input" and isinstance(operands["weight"], RescaledWeightQuantizer)
        learnt = self.learnt[site.name, operand] = LearntQuantizer(quantizer, common=absorbed)
        attribute = f"learnt_{site.node.name}_{operand}"
        self.graph_module.add_submodule(attribute, learnt)
        with self.graph_module.graph.inserting_before(site.node):
            replacement = self.graph_module.graph.call_module(attribute, (site.node.args[position],))
        site.node.update_arg(position, replacement)
