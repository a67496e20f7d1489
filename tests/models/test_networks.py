"""Every network of the zoo, and hybrids that nothing here was written for, go through the same engine."""

import pytest
import torch
from conftest import REPOSITORY

from qhyvit.calibration.capture import capture
from qhyvit.config import METHODS, MODELS, Model, read_yaml
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.insert import insert_quantizers
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.methods import quantize
from qhyvit.methods.task import Task
from qhyvit.models.zoo import build
from qhyvit.network import Network

ZOO = read_yaml(REPOSITORY / "config/models.yaml", MODELS)
MINMAX = read_yaml(REPOSITORY / "config/methods.yaml", METHODS)["minmax"]
QUICK = {"mobilevit_xxs", "mobilevitv2_050", "efficientformer_l1", "efficientformerv2_s0"}
OTHERS = [
    *("edgenext_xx_small", "fastvit_t8", "fastvit_t12", "efficientvit_b0", "efficientvit_b1", "levit_128s"),
    *("mobileone_s0", "repvit_m0_9", "coat_lite_tiny", "poolformer_s12", "convit_tiny", "pit_ti_224"),
]


def zoo_parameters():
    return [pytest.param(name, marks=[] if name in QUICK or ("former_" in name and "mobile" in name) else pytest.mark.slow) for name in ZOO]


def check(spec):
    """Trace and fold at the network's own input size, then quantize to W8A8 from two random images."""
    torch.manual_seed(0)
    model = build(spec, classes=1000).eval()
    x = torch.rand(2, *model.pretrained_cfg["input_size"])
    graph_module = trace(model, x)
    fold_batch_norm(graph_module)
    with torch.no_grad():
        expected, folded = model(x), graph_module(x)
    assert float((folded - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    network = Network(graph_module, find_sites(graph_module), transform=None)
    assert {"conv", "linear"} <= {site.kind for site in network.sites}
    statistics = capture(graph_module, network.sites, [x], positions=2, seed=0)
    insert_quantizers(graph_module, network.sites, quantize(Task(network, statistics, MINMAX, weight_bits=8, activation_bits=8)))
    with torch.no_grad():
        quantized = graph_module(x)
    error = float((quantized - expected).square().sum() / expected.square().sum())
    assert 0 < error < 0.1


@pytest.mark.parametrize("name", zoo_parameters())
def test_a_network_of_the_zoo_is_quantized(name):
    check(ZOO[name])


@pytest.mark.parametrize("name", [OTHERS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS[1:])])
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
