"""Tuning of a small hybrid network towards its FP32 logits."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from tiny_hybrid import TinyHybrid, with_buffers
from torch import nn

import qhyvit
from qhyvit.calibration.losses import kl_loss
from qhyvit.config.targets import load_target
from qhyvit.deploy.executable import require_executable
from qhyvit.errors import InputError
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.presets import load_preset
from qhyvit.quantizers.base import same_quantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.serialization import load_parameters, save_quantizers
from qhyvit.tuning import distillation
from qhyvit.tuning.checkpoint import Checkpoint, Progress
from qhyvit.tuning.distillation import distill
from qhyvit.tuning.learnt_network import LearntNetwork

FEW_STEPS = {"steps": 48, "batch_size": 16}
RATES = load_preset("qhyvit-tuned").tuning.learning_rates
TOO_LARGE = RATES.model_copy(update={"activation_scales": 5.0, "weight_scales": 5.0, "weights": 1.0})


@pytest.fixture(scope="module")
def module():
    """A network with logits that differ much between images."""
    torch.manual_seed(0)
    network = TinyHybrid().eval()
    network.head.weight.data *= 50
    return network


@pytest.fixture(scope="module")
def calibration(module):
    return qhyvit.calibrate(module, torch.randn(160, 3, 16, 16, generator=torch.Generator().manual_seed(1)))


@pytest.fixture
def quantize(module, calibration, monkeypatch):
    """Quantize with a method at 3 bits and tune the result, with other settings of the tuning."""

    def run(method="minmax", images=calibration, bits="w3a3", module=module, **changes):
        tuning = load_preset("qhyvit-tuned").tuning.model_copy(update=FEW_STEPS | changes)
        settings = load_preset(method).model_copy(update={"tuning": tuning})
        monkeypatch.setattr("qhyvit.api.quantization.load_preset", lambda _: settings)
        return qhyvit.quantize(module, images, method, bits)

    return run


def divergence(module, quantized):
    """From FP32 on images that neither calibration nor tuning has seen."""
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return float(kl_loss(quantized(images), module(images), torch.Generator()))


@pytest.mark.parametrize("start", ["minmax", "qhyvit", "qhyvit-integer"])
def test_tuning_lowers_the_divergence_on_unseen_images(module, calibration, quantize, start):
    before = qhyvit.quantize(module, calibration, start, "w3a3")
    assert divergence(module, quantize(start)) < 0.7 * divergence(module, before)


def test_learnt_network_starts_as_the_quantized_network(module, calibration):
    quantized = qhyvit.quantize(module, calibration, "qhyvit-integer", "w4a4")
    learnt = LearntNetwork(calibration.model, quantized.quantizers, quantized.changed)
    images = calibration.batches[0]
    torch.testing.assert_close(learnt(images), quantized(images))
    for site, operands in learnt.quantizers().items():
        assert all(same_quantizer(operands[name], quantized.quantizers[site][name]) for name in operands)


def test_integer_kernels_execute_what_is_tuned(calibration, quantize):
    quantized = quantize("qhyvit-integer")
    assert any(isinstance(operands.get("weight"), RescaledWeightQuantizer) for operands in quantized.quantizers.values())
    require_executable(calibration.model.with_parameters(quantized.changed), quantized.quantizers, load_target("openvino-cpu"))


def test_all_weights_biases_and_norms_are_tuned(calibration, quantize):
    parameters = dict(calibration.model.graph_module.named_parameters())
    tuned = {name for name, value in quantize().changed.items() if not torch.equal(value, parameters[name])}
    assert {site.node.args[1].target for site in calibration.model.sites if site.kind != "matmul"} < tuned
    assert {name for name, value in parameters.items() if value.ndim == 1} < tuned


def test_weights_and_biases_that_are_buffers_are_tuned(module, calibration, quantize):
    """As the same numbers that are parameters."""
    images = torch.cat(calibration.batches)
    buffered, expected = quantize(images=images, module=with_buffers(module), steps=4), quantize(steps=4)
    assert buffered.changed
    torch.testing.assert_close(buffered(images), expected(images))


class Twice(nn.Module):
    """A convolution that is used twice, and a view of a map as a vector."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3 * 64, 5)

    def forward(self, x):
        """Return logits [B, 5]."""
        return self.head(self.conv(self.conv(x).relu()).relu().view(x.shape[0], -1))


def test_tuned_network_is_the_one_that_was_learnt_where_two_sites_share_a_weight():
    calibration = qhyvit.calibrate(Twice().eval(), torch.randn(8, 3, 8, 8))
    quantized = qhyvit.quantize(calibration.model.graph_module, calibration, "minmax", "w3a3")
    learnt = LearntNetwork(calibration.model, quantized.quantizers, {})
    optimizer, _ = distillation._optimizer(learnt, [0.1] * 4, 1)
    learnt(calibration.batches[0]).square().sum().backward()
    optimizer.step()
    tuned = calibration.model.with_parameters(learnt.parameters_changed()).with_quantizers(learnt.quantizers())
    torch.testing.assert_close(tuned(calibration.batches[0]), learnt(calibration.batches[0]))


def test_network_that_views_a_map_as_a_vector_is_tuned(quantize):
    images = torch.randn(20, 3, 8, 8)
    tuned = quantize(images=images, module=Twice().eval(), steps=2)
    assert bool(tuned(images).isfinite().all())


def test_divergence_that_is_no_number_begins_again_and_leaves_a_checkpoint_that_is_read(calibration, tmp_path):
    method = load_preset("qhyvit-tuned")
    rates = RATES.model_copy(update={"activation_scales": 1e6})
    settings = method.tuning.model_copy(update=FEW_STEPS | {"learning_rates": rates})
    task = Task(calibration.model, calibration.statistics, {}, CalibrationImages(lambda: calibration.batches, 64, 0), method, 3, 3)
    checkpoint = Checkpoint(tmp_path / "checkpoint", "key")
    start = find_quantizers(replace(task, method=load_preset("minmax")), "partial")
    for _ in range(2):  # the second reads the checkpoint of the end
        assert distill(task, start, {}, settings, checkpoint)[0] is start
    with safe_open(checkpoint.path, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
    assert (header["restarts"], math.isfinite(header["latest"])) == (distillation.RESTARTS, False)


def test_what_has_no_learning_rate_stays(module, calibration, quantize):
    before = qhyvit.quantize(module, calibration, "minmax", "w3a3").quantizers
    quantized = quantize(learning_rates=RATES.model_copy(update={"activation_scales": 0, "weights": 0}))
    assert not {site.node.args[1].target for site in calibration.model.sites if site.kind != "matmul"} & quantized.changed.keys()
    stays = {
        (site, name): same_quantizer(operands[name], before[site][name])
        for site, operands in quantized.quantizers.items()
        for name in operands
    }
    assert {name == "weight" for (_, name), same in stays.items() if not same} == {True}


def test_file_holds_all_that_is_tuned_and_its_bytes_repeat(module, quantize, tmp_path):
    quantized, images = quantize(), torch.rand(2, 3, 16, 16)
    quantized.save(tmp_path / "one")
    loaded = qhyvit.load(tmp_path / "one", module)
    assert torch.equal(loaded(images), quantized(images))
    loaded.save(tmp_path / "two")
    quantize().save(tmp_path / "again")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes() == (tmp_path / "again").read_bytes()
    assert load_parameters(tmp_path / "one").keys() == quantized.changed.keys()


def test_labels_are_not_read(module, calibration, quantize, tmp_path):
    images = torch.cat(calibration.batches)
    wrong = [(images, torch.full((len(images),), 99))]
    quantize(images=wrong).save(tmp_path / "wrong")
    quantize(images=images).save(tmp_path / "none")
    assert (tmp_path / "wrong").read_bytes() == (tmp_path / "none").read_bytes()


def test_step_with_the_least_divergence_of_held_out_images_is_taken(calibration, quantize, monkeypatch):
    """Learning rates that destroy the network leave the start."""
    monkeypatch.setattr(distillation, "RESTARTS", 0)
    assert quantize(bits="w8a8", learning_rates=TOO_LARGE).changed == {}


def test_tenth_is_held_out_and_the_others_are_learnt_from_with_their_mirror_images(quantize, monkeypatch):
    looked_at, drawn = [], []
    take, batches = distillation._take, distillation._batches
    monkeypatch.setattr(distillation, "_take", lambda images, numbers: looked_at.append(len(images)) or take(images, numbers))
    monkeypatch.setattr(distillation, "_batches", lambda count, *others: drawn.append(count) or batches(count, *others))
    quantize()
    seen, held_out = 144, 16
    assert drawn == [2 * seen]
    of_teacher, of_start = 1, 1
    assert looked_at.count(held_out) == of_teacher + of_start + distillation.CHECKS
    assert looked_at.count(seen) == 2 * seen // FEW_STEPS["batch_size"] + FEW_STEPS["steps"]


def test_learning_rates_fall_to_0_as_a_cosine(module, calibration):
    quantizers = qhyvit.quantize(module, calibration, "minmax", "w3a3").quantizers
    optimizer, schedule = distillation._optimizer(LearntNetwork(calibration.model, quantizers, {}), [1.0] * 4, 8)
    found = []
    for _ in range(8):
        optimizer.step()
        schedule.step()
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([(1 + math.cos(math.pi * step / 8)) / 2 for step in range(1, 9)])


def test_tuning_begins_again_with_smaller_rates_where_they_are_too_large(module, calibration, quantize, monkeypatch):
    rates = []
    adam = distillation.Adam
    monkeypatch.setattr(distillation, "Adam", lambda groups: rates.append([group["lr"] for group in groups]) or adam(groups))
    before = divergence(module, qhyvit.quantize(module, calibration, "minmax", "w6a6"))
    quantized = quantize(bits="w6a6", learning_rates=RATES.model_copy(update={"activation_scales": 0.5, "weights": 0.05}))
    first, second, *_ = rates
    assert second == [rate / 4 for rate in first]
    assert divergence(module, quantized) < 0.5 * before


def test_every_image_is_seen_before_any_is_seen_again():
    batches = distillation._batches(10, 4, 5, torch.Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == [4] * 5
    assert len(set(torch.cat(batches[:2]).tolist())) == len(set(torch.cat(batches[2:4]).tolist())) == 8


def test_images_are_counted_on_to_their_mirror_images():
    images = torch.rand(3, 3, 4, 5)
    expected = torch.stack([images[2], images[0].flip(-1), images[2].flip(-1)])
    assert torch.equal(distillation._take(images, torch.tensor([2, 3, 5])), expected)


def test_operand_without_a_uniform_quantizer_is_named(calibration):
    quantized = {"matmul2": qhyvit.quantize(TinyHybrid().eval(), torch.rand(8, 3, 16, 16), "fqvit").quantizers["matmul2"]}
    with pytest.raises(InputError, match="matmul2: its left has no uniform quantizer"):
        LearntNetwork(calibration.model, quantized, {})


@pytest.mark.parametrize(("weight_bits", "rates"), [(3, RATES), (6, RATES), (3, TOO_LARGE)], ids=["3 bits", "6 bits", "begun again"])
def test_tuning_that_was_stopped_goes_on_to_the_same_bytes(calibration, tmp_path, monkeypatch, weight_bits, rates):
    images = CalibrationImages(lambda: calibration.batches, None, 0)
    task = Task(calibration.model, calibration.statistics, {}, images, load_preset("minmax"), weight_bits, 3)
    start = find_quantizers(task, "partial")
    settings = load_preset("qhyvit-tuned").tuning.model_copy(update=FEW_STEPS | {"learning_rates": rates})
    checkpoint, losses = Checkpoint(tmp_path / "checkpoint", "key"), []

    def loss(*arguments):
        losses.append(kl_loss(*arguments))
        if len(losses) == stop:
            raise KeyboardInterrupt
        return losses[-1]

    monkeypatch.setattr(distillation, "kl_loss", loss)
    stop = None
    whole = distill(task, start, {}, settings)
    of_whole = len(losses)
    stop = of_whole + 30
    with pytest.raises(KeyboardInterrupt):
        distill(task, start, {}, settings, checkpoint)
    losses, stop = [], None
    resumed = distill(task, start, {}, settings, checkpoint)
    for name, (quantizers, changed) in {"whole": whole, "resumed": resumed}.items():
        save_quantizers(tmp_path / name, quantizers, {}, changed)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert 0 < len(losses) < of_whole - 20


def test_checkpoint_of_other_settings_counts_as_none(tmp_path):
    learnt = {"scale": torch.nn.Parameter(torch.ones(2))}
    optimizer = torch.optim.Adam(learnt.values())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    Checkpoint(tmp_path / "file", "one").save(Progress.of_start(0.5), learnt, optimizer, schedule)
    assert Checkpoint(tmp_path / "file", "other").restore(learnt, optimizer, schedule) is None
    assert Checkpoint(tmp_path / "file", "one").restore(learnt, optimizer, schedule) == Progress.of_start(0.5)
    (tmp_path / "file").write_bytes(b"something else")
    with pytest.raises(InputError, match="file: not written by `qhyvit quantize`"):
        Checkpoint(tmp_path / "file", "one").restore(learnt, optimizer, schedule)
