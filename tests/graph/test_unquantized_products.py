import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from qhyvit.graph.describe import describe
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.graph.unquantized_products import UnquantizedProduct, find_unquantized_products, unquantized_sentence


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


NO_SITES = [  # the operator, the function, and a word of the reason
    ("conv1d.default", lambda x, w: F.conv1d(x.flatten(2), (w * x.mean())[..., None]), "weight"),
    ("conv2d.default", lambda x, w: F.conv2d(x, (w * x.mean())[..., None, None]), "weight"),
    ("conv2d.default", lambda x, w: F.conv2d(x.transpose(0, 1).flatten(1, 2), w[..., None, None]), "axis of images"),
    ("conv3d.default", lambda x, w: F.conv3d(x[:, :, None], w[..., None, None, None]), "two dimensions"),
    ("conv_transpose2d.input", lambda x, w: F.conv_transpose2d(x, w[..., None, None]), "transposed"),
    ("linear.default", lambda x, w: F.linear(x, (w * x.mean()).softmax(0)), "weight"),
    ("conv2d.default", lambda x, w: F.conv2d(x, w[..., None, None], x.mean((0, 2, 3))), "bias"),
    ("linear.default", lambda x, w: F.linear(x, w, x.mean((0, 1, 2))), "bias"),
    ("matmul.default", lambda x, w: x @ w[0], "two real matrices"),
    ("matmul.default", lambda x, _: x.flatten(1).mT @ x.flatten(1), "two real matrices"),  # a sum over images
    ("matmul.default", lambda x, _: (torch.fft.fft(x) @ torch.fft.fft(x)).abs(), "two real matrices"),
    ("einsum.default", lambda x, w: torch.einsum("bchw,cd->bdhw", x, w), "matmul"),
    ("mm.default", lambda x, w: torch.mm(x.flatten(0, 2), w), "matmul"),
    ("addmm.default", lambda x, w: torch.addmm(w[0], x.flatten(0, 2), w), "matmul"),
    ("tensordot.default", lambda x, w: torch.tensordot(x, w, 1), "matmul"),
    ("mv.default", lambda x, w: torch.mv(x.flatten(0, 2), w[0]), "matmul"),
    ("bilinear.default", lambda x, w: F.bilinear(x, x, w[None]), "bilinear"),
    ("cdist.default", lambda x, _: torch.cdist(x[:, 0], x[:, 1]), "distances"),
    ("lstm.input", first_result(nn.LSTM(16, 4, batch_first=True)), "recurrent"),
    ("gru.input", first_result(nn.GRU(16, 4, batch_first=True)), "recurrent"),
    ("rnn_tanh.input", first_result(nn.RNN(16, 4, batch_first=True)), "recurrent"),
]


@pytest.mark.parametrize(("operator", "function", "reason"), NO_SITES)
def test_product_that_is_no_site_is_listed_with_its_reason(operator, function, reason):
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
    """Two sites, an attention whose products are sites, and two products that are none; then one of each that see no image."""

    def __init__(self):
        super().__init__()
        self.conv, self.upsample = nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 2)
        self.head, self.places = nn.Linear(4, 5), nn.Linear(2, 4)
        self.coordinates = nn.Buffer(torch.randn(25, 2))

    def forward(self, x):
        x = self.upsample(self.conv(x).relu()).flatten(2)
        x = F.scaled_dot_product_attention(x, x, x)
        x = x + torch.einsum("td,cd->ct", self.places(self.coordinates), self.head.weight[:4])
        return self.head(torch.einsum("bct,bdt->bd", x, x))


def test_description_lists_what_stays_in_floating_point_by_module():
    description = describe(Mixed(), torch.randn(2, 3, 4, 4))
    assert [site["name"] for site in description["sites"]] == ["conv", "matmul1", "matmul2", "places", "head"]
    assert [(product["name"], product["operator"]) for product in description["unquantized_products"]] == [
        ("upsample", "aten.conv_transpose2d.input"),
        ("einsum", "aten.einsum.default"),
        ("einsum_1", "aten.einsum.default"),
    ]
    assert all(product["reason"] for product in description["unquantized_products"])


@pytest.mark.parametrize("layer", [nn.LSTM(4, 6, batch_first=True), nn.GRU(4, 6, 2, batch_first=True)], ids=["lstm", "gru"])
def test_share_of_recurrent_layers_is_that_of_their_products(layer):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.layer = nn.Linear(4, 4), layer

        def forward(self, x):
            return self.layer(self.first(x))[0]

    description = describe(Recurrent(), torch.zeros(2, 5, 4))
    weights = sum(parameter.numel() for name, parameter in layer.named_parameters() if name.startswith("weight"))
    (product,) = description["unquantized_products"]
    assert product["macs"] == 5 * weights  # each weight multiplies once at each of 5 places
    assert description["unquantized_share"] == pytest.approx(weights / (weights + 16), abs=1e-6)


def test_share_is_as_pytorch_counts_the_model():
    model, image = Mixed().eval(), torch.zeros(1, 3, 4, 4)
    description = describe(model, image.expand(2, -1, -1, -1))
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(image)
    sites = sum(site["macs"] for site in description["sites"])
    assert sites + sum(product["macs"] for product in description["unquantized_products"]) == counter.get_total_flops() // 2
    # A transposed convolution of 4 x 4 pixels to 5 x 5, with 4 x 4 kernels of 2 x 2; 4 channels of 25 places, each from 4; then 4 sums
    # over 25 pixels, of sums over channels.
    assert [product["macs"] for product in description["unquantized_products"]] == [16 * 4 * 4 * 4, 4 * 25 * 4, 4 * 25]


def product(name, share):
    return UnquantizedProduct(name, "aten.einsum.default", "", 1, share)


def test_sentence_names_count_share_and_modules():
    assert unquantized_sentence([]) == "All products have quantizers."
    assert unquantized_sentence([product("a", 0.25)]) == "1 product, 25 % of the multiply-accumulates, is not quantized: a."
    many = [product(name, 0.01) for name in "aabcdefg"]
    assert unquantized_sentence(many) == "8 products, 8 % of the multiply-accumulates, are not quantized: a, b, c, d, e and 2 others."
