import pytest
import torch
from small_network import small_network
from torch import nn

from qhyvit.evaluation.predict import predict
from qhyvit.evaluation.rounding_noise import NOISE, DisturbedSimulation
from qhyvit.graph.traced_model import TracedModel
from qhyvit.quantizers.uniform import UniformQuantizer


class Sum(nn.Module):
    """Linear layer that adds up its inputs."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1, bias=False)
        nn.init.ones_(self.linear.weight)

    def forward(self, x):
        """Add up."""
        return self.linear(x)


MODEL = TracedModel.from_module(Sum().eval(), torch.rand(2, 4))
STEPS = UniformQuantizer(8, "asymmetric", torch.tensor(1.0), torch.tensor(0.0))


@pytest.mark.parametrize(("value", "is_tie"), [(1.5, True), (1.4, False)])
def test_only_a_value_on_a_tie_is_moved_by_a_step(value, is_tie):
    simulation = DisturbedSimulation(MODEL, {"linear": {"input": STEPS}})
    images = torch.full((500, 4), value)
    moved = simulation(images) - MODEL.with_quantizers({"linear": {"input": STEPS}})(images)
    assert set(moved.flatten().tolist()) == ({-4.0, -3.0, -2.0, -1.0, 0.0} if is_tie else {0.0})


def test_simulation_can_be_evaluated_like_any_network():
    small = small_network().traced
    quantizers = {site.name: dict.fromkeys(site.operands, STEPS) for site in small.sites}
    images = torch.rand(4, 3, 16, 16)
    simulation = DisturbedSimulation(small, quantizers)
    (logits,), _ = predict([simulation], [(images, torch.zeros(4))])
    torch.testing.assert_close(logits, simulation(images))


class Several(nn.Module):
    """Three layers that read one tensor, and the tensor itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
        for layer in self.layers:
            nn.init.eye_(layer.weight)

    def forward(self, x):
        """Return what each layer computes, and the values."""
        return torch.cat([*(layer(x) for layer in self.layers), x], 1)


def test_each_reader_sees_noise_of_its_own():
    images = torch.rand(500, 4)
    model = TracedModel.from_module(Several().eval(), images)
    found = DisturbedSimulation(model, {site.name: {} for site in model.sites})(images)
    noise = (found - images.repeat(1, 4)).unflatten(1, (4, 4)).abs().amax((0, 2))
    assert noise[3] == 0
    assert all(0.9 * NOISE < each < NOISE + torch.finfo(torch.float32).eps for each in noise[:3])


def test_noise_is_no_larger_than_a_rounding_error():
    images = torch.rand(100, 4)
    difference = (DisturbedSimulation(MODEL, {"linear": {}})(images) - images.sum(1, keepdim=True)).abs()
    assert 0 < difference.max() <= 4 * (NOISE + torch.finfo(torch.float32).eps)
