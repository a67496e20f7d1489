"""Every network of the zoo, and hybrids that nothing here was written for, go through the same engine."""

from collections import Counter

import pytest
import torch
from conftest import REPOSITORY, make_task

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.config.models import MODELS, Model
from qhyvit.graph.describe import describe
from qhyvit.graph.fake_quant import insert_quantizers
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.trace import trace
from qhyvit.methods import find_quantizers
from qhyvit.models.zoo import build

ZOO = read_yaml(REPOSITORY / "config/models.yaml", MODELS)
MINMAX = read_yaml(REPOSITORY / "config/methods.yaml", METHODS)["minmax"]
MOBILE_FORMERS = {name for name, spec in ZOO.items() if spec.family == "Mobile-Former"}
QUICK = {"mobilevit_xxs", "mobilevitv2_050", "efficientformer_l1", "efficientformerv2_s0"} | MOBILE_FORMERS
OTHERS = [
    *("edgenext_xx_small", "fastvit_t8", "fastvit_t12", "efficientvit_b0", "efficientvit_b1", "levit_128s"),
    *("mobileone_s0", "fastvit_sa12", "coat_lite_tiny", "tiny_vit_5m_224", "convit_tiny", "pit_ti_224"),
]


def bridge_blocks(name):
    """Table I of Q-HyViT (arXiv 2303.12557), except Mobile-Former, where it has 15: there and back in every block, there at the end."""
    conversions = {"MobileViTv1": 3, "MobileViTv2": 3, "EfficientFormerV1": 1, "EfficientFormerV2": 2}
    if ZOO[name].family in conversions:
        return Counter(conversion=conversions[ZOO[name].family])
    blocks = 8 if name.endswith(("_26m", "_52m", "_96m")) else 11
    return Counter(exchange=2 * blocks + 1)


def with_slow_marks(names, quick):
    return [pytest.param(name, marks=[] if name in quick else pytest.mark.slow) for name in names]


def check(spec):
    """Describe, trace and fold at the network's own input size, then quantize to W8A8 from two random images; returns the description."""
    torch.manual_seed(0)
    model = build(spec, classes=1000).eval()
    x = torch.rand(2, *model.pretrained_cfg["input_size"])
    description = describe(model, x)
    graph_module = trace(model, x)
    fold_batch_norm(graph_module)
    with torch.no_grad():
        expected, folded = model(x), graph_module(x)
    assert float((folded - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    task = make_task(graph_module, [x], MINMAX, positions=2)
    sites = task.model.sites
    assert {"conv", "linear"} <= {site.kind for site in sites}
    assert [site["name"] for site in description["sites"]] == [site.name for site in sites]
    insert_quantizers(graph_module, sites, find_quantizers(task, "partial"))
    with torch.no_grad():
        quantized = graph_module(x)
    error = float((quantized - expected).square().sum() / expected.square().sum())
    assert 0 < error < 0.1
    return description


@pytest.mark.parametrize("name", with_slow_marks(ZOO, QUICK))
def test_a_network_of_the_zoo_is_quantized_and_shows_its_bridge_blocks(name):
    assert Counter(block["kind"] for block in check(ZOO[name])["bridge_blocks"]) == bridge_blocks(name)


@pytest.mark.parametrize("name", with_slow_marks(OTHERS, {"edgenext_xx_small", "efficientvit_b0"}))
def test_a_hybrid_that_nothing_was_written_for_is_quantized(name):
    check(Model(family="", constructor=name))


def test_the_zoo_holds_the_24_networks_of_the_paper():
    families = [spec.family for spec in ZOO.values()]
    counts = {family: families.count(family) for family in families}
    assert counts == {"MobileViTv1": 3, "MobileViTv2": 7, "Mobile-Former": 7, "EfficientFormerV1": 3, "EfficientFormerV2": 4}


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevitv2_100", "mobile_former_26m", "efficientformer_l1", "efficientformerv2_s0"])
def test_parameters_are_those_published(name):
    parameters = sum(parameter.numel() for parameter in build(ZOO[name], classes=1000).parameters())
    assert parameters / 1e6 == pytest.approx(ZOO[name].published.parameters, abs=0.11)
