"""Exported files, run by their engines, compute what the simulator computes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sites import IMAGES, quantizers_of, small_traced
from torch import nn

from qhyvit.deploy import openvino, verification
from qhyvit.deploy.engines import load_engine
from qhyvit.deploy.exporting import export
from qhyvit.errors import InputError
from qhyvit.graph.traced_model import TracedModel
from qhyvit.processor import adds_in_16_bits

ONE = IMAGES[:1]
VNNI = not adds_in_16_bits()


@pytest.fixture(scope="module")
def model():
    return small_traced()


@pytest.fixture(scope="module")
def six_bits(model, tmp_path_factory):
    """W6A6 as OpenVINO IR."""
    return export(model, quantizers_of(model, IMAGES, 6, 6), ONE, tmp_path_factory.mktemp("six") / "model.xml")


def largest_difference(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
@pytest.mark.parametrize(("bits", "rescaled"), [((8, 8), False), ((6, 6), True), ((4, 8), True), ((4, 4), False)], ids=str)
def test_exported_file_computes_what_the_simulator_computes(model, tmp_path, suffix, bits, rescaled):
    quantizers = quantizers_of(model, IMAGES, *bits, rescaled=rescaled)
    exported = export(model, quantizers, ONE, tmp_path / f"model{suffix}")
    engine = load_engine(exported.path, threads=1)
    simulated = model.with_quantizers(quantizers)(IMAGES)
    eight_bit_products = bits[1] == 8  # of the right operands of matrix products
    if suffix == ".onnx" or VNNI or not eight_bit_products:
        assert exported.disagreeing == []
        assert largest_difference(engine.logits(IMAGES), simulated) < 1e-3
        assert exported.difference < 1e-5
    else:
        assert all(check.saturates for check in exported.disagreeing)
    assert exported.in_floating_point == exported.kept == []
    if suffix == ".xml":
        assert engine.int8_share() == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ([".bin", ".xml"] if suffix == ".xml" else [".onnx"])


def test_openvino_reads_an_onnx_file_back(model, tmp_path):
    quantizers = quantizers_of(model, IMAGES, 6, 6, rescaled=True)
    path = export(model, quantizers, ONE, tmp_path / "model.onnx").path
    (found,) = openvino.run(openvino.compile_model(path), [ONE])
    assert largest_difference(found, model.with_quantizers(quantizers)(ONE)) < 1e-5


class Perceptron(nn.Module):
    """Linear layers on the mean of all pixels, as those of Mobile-Former's dynamic activations, and one on all pixels."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix = nn.Conv2d(3, 128, 4, stride=4), nn.Linear(128, 128)
        self.squeeze, self.excite, self.head = nn.Linear(128, 32), nn.Linear(32, 128), nn.Conv2d(128, 10, 1)

    def forward(self, x):
        x = self.mix(self.embed(x).flatten(2).transpose(1, 2))
        scales = nn.functional.hardsigmoid(self.excite(self.squeeze(x.mean(1)).relu())) * 2 - 1
        return self.head((x * scales[:, None]).transpose(1, 2).unflatten(2, (4, 4))).mean((2, 3))


@pytest.mark.parametrize("between", [nn.Dropout(), nn.BatchNorm1d(8)])
def test_linear_layers_with_nothing_in_between_are_exported(tmp_path, between):
    torch.manual_seed(0)
    pool = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(pool, nn.Linear(16, 8), between, nn.Linear(8, 5)).eval()
    model = TracedModel.from_module(network, torch.zeros(2, 3, 16, 16))
    quantizers = quantizers_of(model, IMAGES, 7, 8)
    exported = export(model, quantizers, ONE, tmp_path / "model.xml")
    assert largest_difference(load_engine(exported.path).logits(ONE), model.with_quantizers(quantizers)(ONE)) < 1e-5


@pytest.mark.parametrize(("suffix", "weight_bits"), [(".xml", 4), (".xml", 7), (".onnx", 7)])
def test_linear_layers_that_openvino_fuses_are_convolutions_of_integers(tmp_path, suffix, weight_bits):
    torch.manual_seed(0)
    model = TracedModel.from_module(Perceptron().eval(), torch.zeros(2, 3, 16, 16))
    exported = export(model, quantizers_of(model, IMAGES, weight_bits, 8), ONE, tmp_path / f"model{suffix}")
    convolutions = [check.site for check in exported.checks if check.form == "convolution"]
    assert convolutions == (["squeeze", "excite"] if suffix == ".xml" else [])
    assert exported.in_floating_point == []
    assert exported.difference < 1e-5
    if suffix == ".xml":
        kernels = openvino.products(exported.path, load_engine(exported.path).compiled)
        assert all(integers for _, integers in kernels)


class MeanOf(nn.Module):
    """Two layers with factors per channel that read a mean of tokens, as the heads of EfficientFormer do, or of pixels."""

    def __init__(self, *axes):
        super().__init__()
        self.axes = axes
        self.embed = nn.Conv2d(3, 64, 4, stride=4)
        self.norm = nn.LayerNorm(64)
        self.heads = nn.ModuleList(nn.Linear(64, 10) for _ in range(2))

    def forward(self, x):
        x = self.norm(self.embed(x).movedim(1, -1))
        pooled = (x.flatten(1, 2) if len(self.axes) == 1 else x).mean(self.axes)
        return sum(head(pooled) for head in self.heads) / 2


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
@pytest.mark.parametrize("axes", [(1, 2), *(pytest.param(axes, marks=pytest.mark.slow) for axes in ((1,), (-2, -3)))], ids=str)
def test_factors_behind_a_mean_stay_with_their_channels(tmp_path, axes, suffix):
    torch.manual_seed(0)
    model = TracedModel.from_module(MeanOf(*axes).eval(), torch.zeros(2, 3, 16, 16))
    quantizers = quantizers_of(model, IMAGES, 4, 8, rescaled=True)
    exported = export(model, quantizers, ONE, tmp_path / f"model{suffix}")
    assert exported.difference < 1e-5


@pytest.mark.parametrize("weight_bits", [7, 8])
def test_depthwise_convolution_with_a_multiplier_is_exact_where_16_bits_hold_its_sums(tmp_path, weight_bits):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 64, 3, padding=1, groups=16), nn.Flatten(), nn.Linear(64 * 14 * 14, 10)
    model = TracedModel.from_module(nn.Sequential(*layers).eval(), torch.zeros(2, 3, 16, 16))
    exported = export(model, quantizers_of(model, IMAGES, weight_bits, 8), ONE, tmp_path / "model.xml")
    (multiplied,) = (check for check in exported.checks if check.site == model.sites[1].name)
    assert multiplied.saturates == (weight_bits == 8 and not VNNI)
    assert multiplied.saturates or (multiplied.form != "float" and multiplied.difference < 1e-5)


def test_size_is_that_of_the_files_of_one_format(model, six_bits):
    onnx = six_bits.path.with_suffix(".onnx")
    export(model, quantizers_of(model, IMAGES, 6, 8), ONE, onnx)
    files = {suffix: six_bits.path.with_suffix(suffix).stat().st_size for suffix in (".xml", ".bin", ".onnx")}
    assert load_engine(onnx).size == files[".onnx"]
    assert load_engine(six_bits.path).size == files[".xml"] + files[".bin"]


def test_file_holds_weights_as_integers(model, six_bits):
    weights = sum(site.node.args[1].meta["val"].numel() for site in model.sites if site.kind != "matmul")
    assert weights < six_bits.path.with_suffix(".bin").stat().st_size < 3 * weights


def test_equal_inputs_give_equal_bytes(model, six_bits, tmp_path):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    again = export(model, quantizers, ONE, tmp_path / "model.xml").path
    for suffix in (".xml", ".bin"):
        assert again.with_suffix(suffix).read_bytes() == six_bits.path.with_suffix(suffix).read_bytes()
    one, two = (export(model, quantizers, ONE, tmp_path / name / "model.onnx").path.read_bytes() for name in ("one", "two"))
    assert one == two


def test_kept_site_stays_fp32_and_is_named(model, tmp_path):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    exported = export(model, quantizers, ONE, tmp_path / "model.onnx", keep=["stem", "matmul1"])
    assert exported.kept == ["matmul1", "stem"]
    others = {name: operands for name, operands in quantizers.items() if name not in exported.kept}
    assert [check.site for check in exported.checks] == list(others)
    assert largest_difference(load_engine(exported.path).logits(ONE), model.with_quantizers(others)(ONE)) < 1e-5


class Faulty:
    """An engine that is PyTorch, except for the first site, which it computes wrongly with integers."""

    fused_wrongly = staticmethod(openvino.fused_wrongly)
    NAME = "PyTorch"
    FIRST_FORM = "integer"
    ERROR = 0.1  # of its largest output

    @staticmethod
    def convert(graph_module, inputs):
        return graph_module

    compile_model = staticmethod(lambda graph_module: graph_module)

    @staticmethod
    def run(graph_module, inputs):
        first, *others = graph_module(*inputs)
        (output,) = graph_module.graph.find_nodes(op="output")
        is_rounded_here = output.args[0][0].args[1].op == "call_function"
        return [first + Faulty.ERROR * first.abs().max() if is_rounded_here else first, *others]


@pytest.mark.parametrize(("error", "form"), [(3e-4, "float"), (3e-5, "integer")])
def test_site_whose_integers_disagree_is_multiplied_in_floating_point(model, monkeypatch, error, form):
    monkeypatch.setattr(Faulty, "ERROR", error)
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    checks = verification.check_sites(model, quantizers, ONE, Faulty)
    assert [check.form for check in checks] == [form, *["integer"] * (len(model.sites) - 1)]
    assert all(check.agrees for check in checks)


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_inputs_and_outputs_have_names_and_constant_shapes(model, tmp_path, suffix):
    compiled = load_engine(export(model, quantizers_of(model, IMAGES, 6, 6), ONE, tmp_path / f"model{suffix}").path).compiled
    if suffix == ".xml":
        slots = [(next(iter(slot.names)), list(slot.shape)) for slot in (*compiled.inputs, *compiled.outputs)]
    else:
        slots = [(slot.name, slot.shape) for slot in (*compiled.get_inputs(), *compiled.get_outputs())]
    assert slots == [("images", list(ONE.shape)), ("logits", list(model.graph_module(ONE).shape))]


def test_images_of_another_size_and_files_of_another_format_are_refused(model, tmp_path):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    engine = load_engine(export(model, quantizers, ONE, tmp_path / "model.onnx").path)
    with pytest.raises(InputError, match=r"model.onnx: takes 1 images \[3, 16, 16\] at a time, not \[1, 3, 8, 8\]"):
        engine.logits(torch.zeros(1, 3, 8, 8))
    with pytest.raises(InputError, match=r"model.tflite: no format has this suffix"):
        export(model, quantizers, ONE, tmp_path / "model.tflite")
    with pytest.raises(InputError, match=r"model.xml: no such file; write it with `qhyvit export`"):
        load_engine(tmp_path / "model.xml")
    with pytest.raises(InputError, match=r"keep 'steam': no quantized site"):
        export(model, quantizers, ONE, tmp_path / "other.xml", keep=["steam"])
    assert not (tmp_path / "other.xml").exists()


def test_images_of_another_type_and_no_images_are_refused(six_bits):
    engine = load_engine(six_bits.path)
    with pytest.raises(InputError, match=r"takes images of float32, not of float64; convert them"):
        engine.logits(ONE.double())
    with pytest.raises(InputError, match=r"takes 1 images \[3, 16, 16\] at a time, not \[0, 3, 16, 16\]"):
        engine.logits(ONE[:0])


def test_weights_of_another_origin_are_not_replaced(model, tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"weights")
    with pytest.raises(InputError, match=r"pytorch_model\.bin: there without .*pytorch_model\.xml, whose weights it would become"):
        export(model, quantizers_of(model, IMAGES, 6, 6), ONE, tmp_path / "pytorch_model.xml")
    assert (tmp_path / "pytorch_model.bin").read_bytes() == b"weights"


def test_both_files_are_replaced_where_the_path_links_to(model, tmp_path):
    stored, link = tmp_path / "stored.xml", tmp_path / "model.xml"
    export(model, quantizers_of(model, IMAGES, 4, 6), ONE, stored)
    link.symlink_to(stored)
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    assert load_engine(export(model, quantizers, ONE, link).path.resolve()).path == stored
    assert largest_difference(load_engine(stored).logits(ONE), model.with_quantizers(quantizers)(ONE)) < 1e-5
    assert link.is_symlink()


def test_missing_package_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(InputError, match=r"openvino: not installed; run `pip install 'qhyvit\[deploy\]'`"):
        openvino.compile_model("model.xml")


def test_inputs_of_the_check_have_no_rounding_ties(model):
    quantizers = quantizers_of(model, IMAGES, 6, 6)
    inputs = verification._inputs(model, model.sites, quantizers, IMAGES)
    steps = (inputs["stem"][0] / quantizers["stem"]["input"].scale).numpy()
    assert np.abs(steps - np.floor(steps) - 0.5).min() >= verification.TIE - 1e-4


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "spoilt", "said"),
    [
        (empty, ".xml", ".xml: damaged"),
        (truncate, ".xml", ".xml: damaged"),
        (truncate, ".bin", ".xml: damaged"),
        (Path.unlink, ".bin", ".bin: no such file"),
    ],
)
def test_damaged_file_is_refused_in_one_line(six_bits, tmp_path, spoil, spoilt, said):
    for suffix in (".xml", ".bin"):
        shutil.copy(six_bits.path.with_suffix(suffix), tmp_path / f"model{suffix}")
    spoil(tmp_path / f"model{spoilt}")
    with pytest.raises(InputError, match=rf"^{tmp_path}/model\{said}.*; (put it there, or )?export again$"):
        load_engine(tmp_path / "model.xml")


@pytest.mark.parametrize("content", [b"", b"\x08\x09\xff"], ids=["empty", "cut"])
def test_damaged_onnx_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path}: damaged.*; export again$"):
        load_engine(path)
