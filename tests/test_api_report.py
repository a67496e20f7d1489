"""Report of a quantized model, and the files that it exports."""

import numpy as np
import pytest
import torch
from torch import nn

import qhyvit


class Block(nn.Module):
    """A depthwise and a dense convolution, attention of one head, and a bilinear product that no method quantizes."""

    def __init__(self):
        super().__init__()
        self.depthwise = nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.dense = nn.Conv2d(3, 8, 2, stride=2)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.depthwise(x)
        q, k, v = self.qkv(self.dense(x + x.relu()).flatten(2).mT).chunk(3, -1)
        attended = ((q @ k.mT).softmax(-1) @ v).mean(1)
        return self.head(attended) + torch.einsum("bi,bi->b", attended, attended)[:, None]


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    return torch.randn(6, 3, 8, 8)


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(0)
    return Block().eval()


@pytest.fixture(scope="module")
def calibration(module, images):
    return qhyvit.calibrate(module, images)


def test_report_has_every_site_with_its_choices_and_what_stays_fp32(module, calibration):
    with pytest.warns(UserWarning, match=r"^1 product, .* % of the multiply-accumulates, is not quantized: einsum\.$") as warned:
        report = qhyvit.quantize(module, calibration, method="minmax", bits="w4a6").report()
    assert [found.filename for found in warned if "einsum" in str(found.message)] == [__file__]
    sites = report[report.stays_fp32 == ""]
    assert list(sites.site) == ["depthwise", "dense", "qkv", "matmul1", "matmul2", "head"]
    assert list(sites.kind) == ["conv", "conv", "linear", "matmul", "matmul", "linear"]
    assert list(sites.first_bits) == [6] * 6
    assert list(sites.second_bits) == [4, 4, 4, 6, 6, 4]
    assert set(sites.first_operand) == {"per-tensor asymmetric"}
    (product,) = report[report.stays_fp32 != ""].itertuples()
    assert (product.kind, product.first_bits) == ("aten.einsum.default", 32)
    assert "einsum" in product.site
    assert product.share_of_macs > 0
    assert sites.share_of_macs.isna().all()


def test_relative_errors_are_squared_errors_and_survive_the_file(module, calibration, tmp_path):
    reports = {}
    for bits in ("w4a4", "w5a5", "w8a8"):
        quantized = qhyvit.quantize(module, calibration, method="minmax", bits=bits)
        reports[bits] = quantized.report().set_index("site").relative_error.dropna()
        quantized.save(tmp_path / "model.safetensors")
        again = qhyvit.load(tmp_path / "model.safetensors", module).report().set_index("site").relative_error.dropna()
        np.testing.assert_array_equal(again, reports[bits])
    # A step of half the size has a quarter of the squared error, and one of 1/16 the size 1/256.
    assert 2 < np.exp(np.log(reports["w4a4"] / reports["w5a5"]).mean()) < 8
    assert 100 < np.exp(np.log(reports["w4a4"] / reports["w8a8"]).mean()) < 600


def relative_error(rows, gradients, exact, rounded, quantizer):
    """The weighted squared error of a linear layer over the weighted energy of its exact product, in float64."""
    product = rows.double() @ exact.double().T
    error = quantizer["input"].fake_quantize(rows).double() @ quantizer["weight"].fake_quantize(rounded).double().T - product
    return float((error * gradients).square().sum() / (product * gradients).square().sum())


@pytest.mark.parametrize("method", ["minmax", "qhyvit-integer-corrected"])
def test_relative_error_of_a_layer_is_that_of_its_sampled_rows(module, calibration, method):
    """A corrected weight is compared with the original one."""
    quantized = qhyvit.quantize(module, calibration, method=method, bits="w3a3")
    drawn, weight = calibration.statistics["head"].rows, module.head.weight.detach()
    tuned = quantized.changed.get("head.weight", weight)
    assert torch.equal(tuned, weight) == (method == "minmax")
    expected = relative_error(drawn.left[0], drawn.gradient[0].double(), weight, tuned, quantized.quantizers["head"])
    assert quantized.report().set_index("site").relative_error["head"] == pytest.approx(expected, rel=1e-3)


def test_report_of_full_mode_has_the_outputs_between_the_sites_and_the_rest(module, calibration):
    """The activation is the one tensor that is no operand of a product and that an addition reads."""
    report = qhyvit.quantize(module, calibration, method="minmax", mode="full").report()
    sites = ["conv", "conv", "linear", "matmul", "matmul", "linear"]
    assert list(report.kind) == [*sites, "activation", "aten.einsum.default"]
    assert list(report.first_bits) == [8] * 7 + [32]


@pytest.mark.parametrize("name", ["model.xml", "model.onnx"])
def test_exported_file_computes_what_the_simulation_computes(module, calibration, images, tmp_path, name):
    pytest.importorskip("openvino")
    from qhyvit.deploy.engines import load_engine

    quantized = qhyvit.quantize(module, calibration, method="minmax", bits="w6a6")
    quantized.save(tmp_path / "model.safetensors")
    expected = quantized(images)
    for model in (quantized, qhyvit.load(tmp_path / "model.safetensors", module)):
        path = model.export(tmp_path / f"{id(model)}-{name}").path
        assert (load_engine(path).logits(images) - expected).abs().max() <= 1e-3 * expected.abs().max()
