"""Every network of the zoo, and hybrids that nothing here was written for, go through the same engine."""

from collections import Counter

import pytest
import torch
from conftest import REPOSITORY, make_task
from torch import Tensor, nn
from traced_networks import SIZE, traced_network

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.config.models import MODELS, Model
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods import find_quantizers
from qhyvit.models.zoo import build

ZOO = read_yaml(REPOSITORY / "config/models.yaml", MODELS)
MINMAX = read_yaml(REPOSITORY / "config/methods.yaml", METHODS)["minmax"]
QUICK = ["mobilevit_xxs", "mobilevitv2_050", "mobile_former_26m", "efficientformer_l1", "efficientformerv2_s0"]
OTHERS = [
    *("fastvit_t8", "fastvit_t12", "efficientvit_b0", "efficientvit_b1", "levit_128s"),
    *("mobileone_s0", "fastvit_sa12", "coat_lite_tiny", "tiny_vit_5m_224", "convit_tiny", "pit_ti_224"),
]


def bridge_blocks(name):
    """Table I of Q-HyViT (arXiv 2303.12557), except Mobile-Former, where it has 15: there and back in every block, there at the end."""
    conversions = {"MobileViTv1": 3, "MobileViTv2": 3, "EfficientFormerV1": 1, "EfficientFormerV2": 2}
    if ZOO[name].family in conversions:
        return Counter(conversion=conversions[ZOO[name].family])
    blocks = 8 if name.endswith(("_26m", "_52m", "_96m")) else 11
    return Counter(exchange=2 * blocks + 1)


def check(model: nn.Module, traced: TracedModel, x: Tensor) -> None:
    """Hold a traced network to the original, in FP32 and in W8A8 from two random images."""
    with torch.no_grad():
        expected, folded = model(x), traced.graph_module(x)
    assert float((folded - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert {"conv", "linear"} <= {site.kind for site in traced.sites}
    quantizers = find_quantizers(make_task(traced.graph_module, [x], MINMAX, positions=2), "partial")
    with torch.no_grad():
        quantized = traced.with_quantizers(quantizers)(x)
    error = float((quantized - expected).square().sum() / expected.square().sum())
    assert 0 < error < 0.1


def check_at_own_size(spec: Model) -> TracedModel:
    torch.manual_seed(0)
    model = build(spec, 1000).eval()
    x = torch.rand(2, *model.pretrained_cfg["input_size"])
    traced = TracedModel.from_module(model, x)
    check(model, traced, x)
    return traced


def kinds_of_blocks(traced: TracedModel) -> Counter:
    return Counter(block.kind for block in find_bridge_blocks(traced.graph_module, traced.sites))


@pytest.mark.parametrize("name", QUICK)
def test_network_is_quantized(name):
    model, traced = traced_network(name)
    check(model, traced, torch.rand(2, 3, SIZE, SIZE))
    assert kinds_of_blocks(traced) == bridge_blocks(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in QUICK])
def test_network_at_its_own_size_is_quantized(name):
    assert kinds_of_blocks(check_at_own_size(ZOO[name])) == bridge_blocks(name)


def test_hybrid_without_an_entry_in_the_zoo_is_quantized():
    check(*traced_network("edgenext_xx_small"), torch.rand(2, 3, SIZE, SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_hybrid_without_an_entry_in_the_zoo_is_quantized_at_its_own_size(name):
    check_at_own_size(Model(family="", constructor=name))


def test_zoo_has_the_24_networks_of_the_paper():
    families = [spec.family for spec in ZOO.values()]
    counts = {family: families.count(family) for family in families}
    assert counts == {"MobileViTv1": 3, "MobileViTv2": 7, "Mobile-Former": 7, "EfficientFormerV1": 3, "EfficientFormerV2": 4}


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevitv2_100", "mobile_former_26m", "efficientformer_l1", "efficientformerv2_s0"])
def test_parameters_are_as_published(name):
    parameters = sum(parameter.numel() for parameter in build(ZOO[name], classes=1000).parameters())
    assert parameters / 1e6 == pytest.approx(ZOO[name].published.parameters, abs=0.11)
