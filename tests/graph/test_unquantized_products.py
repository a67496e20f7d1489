import pytest
import torch
import torch.nn.functional as F
from torch import nn

from qhyvit.graph.describe import describe
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.graph.unquantized_products import find_unquantized_products


class Product(nn.Module):
    """A function of an image [B, 4, 4, 4] and a weight [4, 4]."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x):
        return self.function(x, self.weight)


def first_result(layer):
    return lambda x, _: layer(x.flatten(2))[0]


NO_SITES = {  # by operator, the function, and a word of the reason
    "conv1d.default": (lambda x, w: F.conv1d(x.flatten(2), w[..., None]), "two dimensions"),
    "conv1d.padding": (lambda x, w: F.conv1d(x.flatten(2), w[..., None], padding="same"), "two dimensions"),
    "conv2d.padding": (lambda x, w: F.conv2d(x, w[..., None, None], padding="same"), "padding"),
    "conv2d.default": (lambda x, w: F.conv2d(x, (w * 2)[..., None, None]), "weight"),
    "conv3d.default": (lambda x, w: F.conv3d(x[:, :, None], w[..., None, None, None]), "two dimensions"),
    "conv_transpose2d.input": (lambda x, w: F.conv_transpose2d(x, w[..., None, None]), "transposed"),
    "linear.default": (lambda x, w: F.linear(x, w.softmax(0)), "weight"),
    "einsum.default": (lambda x, _: torch.einsum("bchw,bdhw->bcd", x, x), "matmul"),
    "mm.default": (lambda x, w: torch.mm(x.flatten(0, 2), w), "matmul"),
    "addmm.default": (lambda x, w: torch.addmm(w[0], x.flatten(0, 2), w), "matmul"),
    "baddbmm.default": (lambda x, _: torch.baddbmm(x[:, 0], x[:, 1], x[:, 2]), "matmul"),
    "tensordot.default": (lambda x, w: torch.tensordot(x, w, 1), "matmul"),
    "mv.default": (lambda x, w: torch.mv(x.flatten(0, 2), w[0]), "matmul"),
    "bilinear.default": (lambda x, w: F.bilinear(x, x, w[None]), "bilinear"),
    "cdist.default": (lambda x, _: torch.cdist(x[:, 0], x[:, 1]), "distances"),
    "lstm.input": (first_result(nn.LSTM(16, 4, batch_first=True)), "recurrent"),
    "gru.input": (first_result(nn.GRU(16, 4, batch_first=True)), "recurrent"),
    "rnn_tanh.input": (first_result(nn.RNN(16, 4, batch_first=True)), "recurrent"),
}


@pytest.mark.parametrize("operator", NO_SITES)
def test_product_that_is_no_site_is_listed_with_its_reason(operator):
    function, reason = NO_SITES[operator]
    graph_module = trace(Product(function), torch.randn(2, 4, 4, 4))
    (product,) = find_unquantized_products(graph_module, find_sites(graph_module))
    assert product.operator == f"aten.{operator}"
    assert reason in product.reason


@torch.library.custom_op("qhyvit_test::gram", mutates_args=())
def gram(x: torch.Tensor) -> torch.Tensor:
    return x @ x.transpose(-2, -1)


@gram.register_fake
def _(x):
    return x.new_empty(*x.shape[:-1], x.shape[-2])


def test_operator_of_another_library_is_listed():
    graph_module = trace(Product(lambda x, _: gram(x)), torch.randn(2, 4, 4, 4))
    (product,) = find_unquantized_products(graph_module, [])
    assert (product.name, product.operator) == ("gram", "qhyvit_test.gram.default")


class Mixed(nn.Module):
    """Two sites, an attention whose products are sites, and two products that are none."""

    def __init__(self):
        super().__init__()
        self.conv, self.upsample = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.upsample(self.conv(x).relu()).flatten(2)
        x = F.scaled_dot_product_attention(x, x, x)
        return self.head(torch.einsum("bct,bdt->bcd", x, x))


def test_description_lists_what_stays_in_floating_point_by_module():
    description = describe(Mixed(), torch.randn(2, 3, 4, 4))
    assert [site["name"] for site in description["sites"]] == ["conv", "matmul1", "matmul2", "head"]
    assert [(product["name"], product["operator"]) for product in description["unquantized_products"]] == [
        ("upsample", "aten.conv_transpose2d.input"),
        ("einsum", "aten.einsum.default"),
    ]
    assert all(product["reason"] for product in description["unquantized_products"])
