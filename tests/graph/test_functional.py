"""Changes in place of tensors that other views read: the graph computes what the module computes, on any batch."""

import pytest
import torch
from torch import nn

from qhyvit.errors import InputError
from qhyvit.graph import trace as tracing
from qhyvit.graph.fold import fold_batch_norm
from qhyvit.graph.operators import aten
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Changed(nn.Module):
    """Changes an image [B, 4, 8, 8] in place by a function, between convolutions."""

    def __init__(self, change):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        nn.init.uniform_(self.norm.running_mean)
        self.change = change

    def forward(self, x):
        return self.second(self.change(self.norm(self.first(x))))


def scale_channel(x):
    x[:, 0] *= 3
    return x


def add_to_slice(x):
    x[:, :, 1:, :4] += x[:, :, :-1, 4:]
    return x


def change_under_a_view(x):
    view = x.flatten(2)
    x.relu_()
    return view.view_as(x)


def change_a_view(x):
    x.flatten(2).clamp_(min=0.1)
    return x


def change_one_half(x):
    first, second = x[:, :2], x[:, 2:]
    first.sigmoid_()
    return torch.cat([x[:, 1:2], second, first[:, :1]], 1)


def change_twice(x):
    row = x[:, :, 2]
    x.mul_(2).add_(1)
    row.copy_(x[:, :, 3])
    return x


CHANGES = [scale_channel, add_to_slice, change_under_a_view, change_a_view, change_one_half, change_twice]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_change_that_another_view_reads_is_in_the_graph(change):
    model = Changed(change).eval()
    graph_module = trace(model, torch.zeros(2, 4, 8, 8))
    assert fold_batch_norm(graph_module) == 1
    assert [site.name for site in find_sites(graph_module)] == ["first", "second"]
    assert not [node for node in graph_module.graph.nodes if node.op == "call_function" and "_." in str(node.target)]
    x = torch.randn(5, 4, 8, 8)
    torch.testing.assert_close(graph_module(x), model(x))


def test_change_that_nothing_else_reads_leaves_the_operators_as_they_are():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 2)).eval()
    graph_module = trace(model, torch.zeros(2, 3, 4, 4))
    operators = [node.target for node in graph_module.graph.nodes if node.op == "call_function"]
    assert operators == [aten.conv2d.default, aten.relu.default, aten.flatten.using_ints, aten.linear.default]


WITHOUT_FORM = {  # changes by operators of which PyTorch has no functional form with the same name
    "transpose_": lambda x: (x * 2).transpose_(2, 3),
    "pow_ of a tensor": lambda x: x.sigmoid().pow_(x),
    "floor_divide_": lambda x: x.floor_divide_(torch.full_like(x, 0.5)),
    "normal_": lambda x: x + x.clone().normal_() * 0,
    "out": lambda x: torch.mul(x.detach(), 2, out=torch.empty_like(x)),
}


@pytest.mark.parametrize("name", WITHOUT_FORM)
def test_change_by_an_operator_without_a_functional_form_is_in_the_graph(name):
    model = Changed(WITHOUT_FORM[name]).eval().requires_grad_(False)
    graph_module = trace(model, torch.zeros(2, 4, 8, 8))
    x = torch.randn(5, 4, 8, 8)
    torch.testing.assert_close(graph_module(x), model(x))


class ChangesItsInput(nn.Module):
    def forward(self, x):
        return x.mul_(2).sum((2, 3))


class ChangesAViewOfItsInput(nn.Module):
    """Changes its input by a view, and reads it by another."""

    def forward(self, x):
        x[:, 0] *= 2
        return x


def test_view_of_the_image_that_the_model_changes_is_changed_in_a_copy():
    graph_module, image = trace(ChangesAViewOfItsInput(), torch.zeros(2, 4, 8, 8)), torch.randn(3, 4, 8, 8)
    before = image.clone()
    torch.testing.assert_close(graph_module(image), ChangesAViewOfItsInput()(image.clone()))
    assert torch.equal(image, before)


def copy_of_one_channel(x):
    y = torch.empty_like(x)
    y.copy_(x[:, :1])
    return y * x


def copy_of_another_type(x):
    return torch.zeros_like(x, dtype=torch.float64).copy_(x).float()


@pytest.mark.parametrize(
    "change", [*CHANGES[:4], change_twice, copy_of_one_channel, copy_of_another_type], ids=lambda change: change.__name__
)
def test_gradient_of_a_graph_is_that_of_the_module(change):
    model = Changed(change).eval()
    graph_module, x = trace(model, torch.zeros(2, 4, 8, 8)), torch.randn(3, 4, 8, 8, requires_grad=True)
    gradients = [torch.autograd.grad(network(x).square().sum(), x)[0] for network in (graph_module, model)]
    torch.testing.assert_close(*gradients)


def test_image_that_the_model_changes_is_not_changed():
    image = torch.ones(2, 4, 8, 8)
    torch.testing.assert_close(trace(ChangesItsInput(), image)(image), torch.full((2, 4), 128.0))
    assert bool((image == 1).all())


def test_graph_that_is_right_on_a_black_image_alone_is_refused(monkeypatch):
    monkeypatch.setattr(tracing, "without_changed_views", lambda program: program)
    with pytest.raises(InputError, match=r"^Changed: the traced graph differs from the model by"):
        trace(Changed(scale_channel), torch.zeros(2, 4, 8, 8))
