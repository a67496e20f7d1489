"""Products of activations in other forms than that of sites, against PyTorch's own einsum and baddbmm."""

from functools import partial

import pytest
import torch
from torch import nn

import qhyvit
from qhyvit.graph.products import parse_einsum
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace

SIZES = {"b": 3, "h": 2, "n": 4, "m": 5, "d": 6, "e": 2}


class Einsum(nn.Module):
    """A product of two slices of its input [B, 512], of the sizes that the indices have."""

    def __init__(self, equation):
        super().__init__()
        self.equation = equation

    def forward(self, x):
        first, second, *_ = self.equation.replace("->", ",").split(",")
        return torch.einsum(self.equation, operand(x, first), operand(x.sin(), second))


def operand(x, indices):
    """Values of ``x`` [B, 512] with an axis for each of the indices, of which b is the images."""
    sizes = [SIZES[index] for index in indices if index != "b"]
    values = x[:, : torch.Size(sizes).numel()].unflatten(1, sizes)
    return values.movedim(0, indices.index("b"))


ATTENTION = ["bnd,bmd->bnm", "bnm,bmd->bdn", "bhnd,bhmd->bhnm", "bnhd,bmhd->bhnm", "bhnm,bmhd->bnhd", "bnde,bmde->bnm", "bdne,bdme->bmn"]
OTHERS = ["bnd,bmd->bm", "bn,bn->b", "bnd,bnd->bnd", "bn,bm->bnm", "bhn,bhn->bh", "bhnd,bmd->bhnm"]


@pytest.mark.parametrize("equation", [*ATTENTION, "hbnd,hbmd->bnhm", "nbd,mbd->bnm"])
def test_product_of_matrices_is_a_site(equation):
    model, x = Einsum(equation), torch.randn(5, 512, dtype=torch.float64)
    graph_module = trace(model, torch.zeros(2, 512, dtype=torch.float64))
    (site,) = find_sites(graph_module)
    assert (site.name, site.kind) == ("matmul1", "matmul")
    torch.testing.assert_close(graph_module(x), model(x))


@pytest.mark.parametrize("equation", OTHERS)
def test_other_einsum_is_left(equation):
    model, x = Einsum(equation), torch.randn(5, 512, dtype=torch.float64)
    graph_module = trace(model, torch.zeros(2, 512, dtype=torch.float64))
    assert find_sites(graph_module) == []
    torch.testing.assert_close(graph_module(x), model(x))


def test_einsum_that_repeats_an_operand_is_left():
    class Repeated(nn.Module):
        def forward(self, x):
            return torch.einsum("bnd,bmd->bnm", x[..., :1], x)

    graph_module, x = trace(Repeated(), torch.zeros(2, 4, 3)), torch.randn(5, 4, 3)
    assert find_sites(graph_module) == []
    torch.testing.assert_close(graph_module(x), Repeated()(x))


def test_product_over_images_is_left():
    class Mixed(nn.Module):
        def forward(self, x):
            return torch.einsum("ik,jk->ij", x, x).sum(1)

    assert find_sites(trace(Mixed(), torch.zeros(2, 8))) == []


@pytest.mark.parametrize("equation", ["ii,ij->ij", "ij,jk", "...ij,...jk->...ik", "ij,jk,kl->il", "ij->ji", "ij,kl->"])
def test_equation_without_two_matrices_has_no_parts(equation):
    assert parse_einsum(equation) is None


class Baddbmm(nn.Module):
    def __init__(self, **factors):
        super().__init__()
        self.product = partial(torch.baddbmm, **factors)

    def forward(self, x):
        return self.product(x[:, 0], x[:, 1], x[:, 2])


@pytest.mark.parametrize("factors", [{}, {"alpha": 0.5}, {"beta": 3}, {"beta": 0, "alpha": 2}])
def test_product_of_baddbmm_is_a_site(factors):
    model, x = Baddbmm(**factors), torch.randn(5, 3, 4, 4, dtype=torch.float64)
    graph_module = trace(model, torch.zeros(2, 3, 4, 4, dtype=torch.float64))
    assert [site.kind for site in find_sites(graph_module)] == ["matmul"]
    torch.testing.assert_close(graph_module(x), model(x))


class Projections(nn.Module):
    """Products with matrices that are parameters, or computed from some, on either side."""

    def __init__(self):
        super().__init__()
        self.weight, self.tied = (nn.Parameter(torch.randn(4, 4, dtype=torch.float64)) for _ in range(2))

    def forward(self, x):
        x = (self.weight @ (x @ x @ self.weight).mT).relu() @ (self.tied * 2)
        return nn.functional.linear(x, self.tied).transpose(0, 1) @ self.tied


def test_product_with_a_parameter_is_a_linear_layer():
    model, x = Projections(), torch.randn(5, 4, 4, dtype=torch.float64)
    graph_module = trace(model, torch.zeros(2, 4, 4, dtype=torch.float64))
    assert [site.kind for site in find_sites(graph_module)] == ["matmul", *["linear"] * 5]
    torch.testing.assert_close(graph_module(x), model(x))


def test_weight_of_a_product_has_the_bits_of_weights(tmp_path):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.randn(4, 4)), nn.Linear(4, 3)

        def forward(self, x):  # the images are not the first axis of the product
            return self.head((x.flatten(2).transpose(0, 1) @ self.weight).mean(0))

    model, images = Tokens(), torch.randn(6, 5, 2, 2)
    quantized = qhyvit.quantize(model, images, method="minmax", bits="w4a8")
    bits = [{operand: quantizer.bits for operand, quantizer in of_site.items()} for of_site in quantized.quantizers.values()]
    assert bits == [{"input": 8, "weight": 4}] * 2
    quantized.save(tmp_path / "file")
    torch.testing.assert_close(qhyvit.load(tmp_path / "file", model)(images), quantized(images))
