import pytest
import torch
from traced_networks import SIZE, traced_network

from qhyvit.analysis.challenges import measure_challenges
from qhyvit.calibration.capture import capture
from qhyvit.errors import InputError


@pytest.fixture(scope="module")
def model():
    """A MobileViT with random weights."""
    return traced_network("mobilevit_xxs")[0]


@pytest.fixture(scope="module")
def measured(model):
    """The challenges of the model on two random images."""
    _, traced = traced_network("mobilevit_xxs")
    images = torch.rand(2, 3, SIZE, SIZE)
    return measure_challenges(model, images, capture(traced.graph_module, traced.sites, [images], 4, seed=0))


def test_statistics_of_another_network_are_refused(model):
    with pytest.raises(InputError, match="its sites are not those of the network; give the calibration of this network"):
        measure_challenges(model, torch.rand(2, 3, SIZE, SIZE), {})


def test_every_site_and_channel_is_tabulated(measured):
    activations, channels = measured.activations, measured.channels
    assert len(activations) == 72 + 2 * 18  # inputs of the layers, two operands of each of 2 products in 2 + 4 + 3 attentions
    assert channels.groupby(["site", "operand"], sort=False).size().tolist() == activations.channels.tolist()
    assert sorted(activations.site[activations.bridge]) == sorted(
        f"stages.{stage}.1.{layer}" for stage in (2, 3, 4) for layer in ("conv_1x1", "transformer.0.attn.qkv")
    )


def test_norms_of_a_known_network_are_counted(model, measured):
    batch_norms = sum(name.endswith("running_mean") for name in model.state_dict())
    assert measured.summary["norms"]["batch_norm"] == {"all": batch_norms, "folded": batch_norms, "bridge": 0}
    assert measured.summary["norms"]["layer_norm"] == {"all": 2 * 9 + 3, "folded": 0, "bridge": 3}


def test_summary_of_a_known_network_counts_parameters_and_branches(model, measured):
    assert measured.summary["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    # 4 layers and 2 products in each of 9 transformer blocks, and 3 convolutions in each of 3 inverted residuals
    assert measured.summary["residual_site_share"] == pytest.approx((9 * 6 + 3 * 3) / 90)
