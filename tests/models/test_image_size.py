import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from qhyvit.config.models import Model
from qhyvit.models.image_size import load_state
from qhyvit.models.zoo import build

OWN_SIZE = 224


def network(constructor, size):
    return build(Model(family="", constructor=constructor), classes=3, size=size)


def grid_side(name, size):
    """Of the distances between the pixels that attend: the attention that halves the map sees it before."""
    return size // (16 if "downsample" in name else 32)


def biases(state):
    return {name: tensor for name, tensor in state.items() if name.endswith("attention_biases")}


def drawn_state(model):
    """The state of a model with attention biases that differ from each other."""
    state = model.state_dict()
    return state | {name: torch.randn_like(tensor) for name, tensor in biases(state).items()}


def interpolated(field, side):
    """Bilinear between the points of a square grid [heads, points], whose corners stay where they are."""
    old = int(len(field[0]) ** 0.5)
    ends = (np.linspace(0, 1, old),) * 2
    points = np.stack(np.meshgrid(*(np.linspace(0, 1, side),) * 2, indexing="ij"), -1)
    return np.stack([RegularGridInterpolator(ends, head.reshape(old, old))(points).ravel() for head in field.double().numpy()])


@pytest.mark.parametrize(
    ("constructor", "size", "grids"),
    [("efficientformer_l1", 128, {16}), ("efficientformerv2_s0", 128, {16, 64}), ("efficientformerv2_s0", 64, {4, 16})],
)
def test_attention_is_built_for_the_size_of_the_image(constructor, size, grids):
    model = network(constructor, size).eval()
    assert {tensor.shape[1] for tensor in biases(model.state_dict()).values()} == grids
    with torch.no_grad():
        assert model(torch.randn(1, 3, size, size)).shape == (1, 3)


@pytest.mark.parametrize(
    ("constructor", "old", "new"),
    [("efficientformer_l1", None, 128), ("efficientformerv2_s0", OWN_SIZE, 128), ("efficientformerv2_s0", 64, 128)],
)
def test_biases_are_interpolated_and_all_else_is_kept(constructor, old, new):
    state, model = drawn_state(network(constructor, old)), network(constructor, new)
    indices = {name: tensor.clone() for name, tensor in model.state_dict().items() if name.endswith("attention_bias_idxs")}
    load_state(model, state)
    loaded = model.state_dict()
    for name, field in biases(state).items():
        np.testing.assert_allclose(loaded[name], interpolated(field, grid_side(name, new)), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(loaded[name], own) for name, own in indices.items())
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items() if name not in biases(state) | indices)


def test_a_state_of_the_same_size_is_loaded_as_it_is():
    state, model = drawn_state(network("efficientformerv2_s0", 64)), network("efficientformerv2_s0", 64)
    load_state(model, state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.fixture(scope="module")
def small():
    return network("efficientformerv2_s0", 64)


def test_a_missing_tensor_is_refused(small):
    state = small.state_dict()
    name = next(iter(biases(state)))
    with pytest.raises(RuntimeError, match=f'Missing key.*"{name}"'):
        load_state(small, {other: tensor for other, tensor in state.items() if other != name})


def test_an_unknown_tensor_is_refused(small):
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"other\.attention_biases"'):
        load_state(small, small.state_dict() | {"other.attention_biases": torch.zeros(4, 49)})


@pytest.mark.parametrize("name", ["head.weight", "stem.conv1.conv.bias"])
def test_another_shape_of_any_other_tensor_is_refused(small, name):
    with pytest.raises(RuntimeError, match=f"size mismatch for {name}"):
        load_state(small, small.state_dict() | {name: torch.zeros(9, 9)})


def test_biases_of_another_number_of_heads_are_refused(small):
    state = small.state_dict()
    name, field = next(iter(biases(state).items()))
    with pytest.raises(RuntimeError, match=f"size mismatch for {name}"):
        load_state(small, state | {name: torch.zeros(len(field) + 1, 49)})


def test_biases_of_no_square_grid_are_refused(small):
    name = next(iter(biases(small.state_dict())))
    with pytest.raises(RuntimeError, match=f"size mismatch for {name}"):
        load_state(small, small.state_dict() | {name: torch.zeros(8, 50)})
