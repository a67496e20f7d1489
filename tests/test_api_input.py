"""Input of the Python API that a user can get wrong: one clear error, or a result that does not depend on it."""

from unittest.mock import patch

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import qhyvit
from qhyvit.data.unlabelled_folder import draw, list_images
from qhyvit.methods.task import CalibrationImages
from qhyvit.presets import METHODS_FILE, load_preset


class Classifier(nn.Module):
    """A convolution, a norm, an activation, and a linear layer on pooled features."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


class Pair(Classifier):
    """Returns two tensors."""

    def forward(self, x):
        return super().forward(x), x


def with_nan(path):
    module = Classifier()
    with torch.no_grad():
        module.state_dict()[path].view(-1)[0] = torch.nan
    return module


def on_two_devices():
    module = Classifier()
    module.head.to("meta")
    return module


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Pair(), "Pair: returns tuple, not one tensor; wrap it in a module that returns the logits alone"),
        (with_nan("conv.weight"), r"the parameter conv\.weight holds values that are not finite; load or train other weights"),
        (with_nan("norm.running_var"), r"the buffer norm\.running_var holds NaN; load or train other weights"),
        (Classifier().to("meta"), "is on the device meta, so its parameters have no values; load its weights first"),
        (on_two_devices(), r"is on several devices \(cpu, meta\); move all of it to one of them"),
    ],
    ids=["tuple", "nan", "nan-buffer", "meta", "two-devices"],
)
def test_module_that_cannot_be_quantized_is_one_clear_error(images, module, message):
    with pytest.raises(qhyvit.InputError, match=message):
        qhyvit.quantize(module, images, method="minmax")


@pytest.mark.parametrize("bits", ["w1a8", "w8a9", "w9a9", "w8", 8, ""])
def test_bits_out_of_range_are_refused(images, bits):
    with pytest.raises(qhyvit.InputError, match=rf"bit-width '?{bits}'?: state 2 to 8 bits"):
        qhyvit.quantize(Classifier(), images, bits=bits)


def test_module_in_train_mode_is_quantized_as_in_eval_mode(images):
    module = Classifier()
    trained = qhyvit.quantize(module.train(), images, bits="w4a4")
    assert module.training
    assert torch.equal(trained(images), qhyvit.quantize(module.eval(), images, bits="w4a4")(images))


PRESETS = [line.partition(":")[0] for line in METHODS_FILE.read_text().splitlines() if line[:1].isalpha()]


@pytest.mark.parametrize("method", [name for name in PRESETS if not load_preset(name).tuning])
def test_one_image_suffices(images, method):
    assert qhyvit.quantize(Classifier(), images[:1], method=method, mode=load_preset(method).modes[-1])(images).isfinite().all()


def test_tuning_needs_two_images(images):
    with pytest.raises(qhyvit.InputError, match="images: tuning learns from some and holds others out, but there is one; give"):
        qhyvit.quantize(Classifier(), images[:1], method="qhyvit-tuned")
    assert qhyvit.quantize(Classifier(), images[:2], method="qhyvit-tuned")(images).isfinite().all()


@pytest.mark.parametrize("shape", [(2, 3, 9, 9), (2, 1, 8, 8), (3, 8, 8)])
def test_images_of_another_size_than_those_of_the_calibration_are_refused(images, tmp_path, shape):
    module = Classifier()
    quantized = qhyvit.quantize(module, images, method="minmax")
    quantized.save(tmp_path / "model.safetensors")
    for model in (quantized, qhyvit.load(tmp_path / "model.safetensors", module)):
        with pytest.raises(qhyvit.InputError, match=rf"have the shape \[{shape[0]}, .*and those of the calibration \[B, 3, 8, 8\]"):
            model(torch.zeros(shape))


def test_load_into_a_module_for_another_size_is_refused(images, tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    qhyvit.quantize(module, images, method="minmax").save(tmp_path / "model.safetensors")
    with pytest.raises(qhyvit.InputError, match=r"Sequential, module 1: cannot run on an input of shape \[3, 3, 8, 8\]"):
        qhyvit.load(tmp_path / "model.safetensors", nn.Sequential(nn.Flatten(), nn.Linear(243, 5)))


MEAN, STD = (0.5, 0.25, 0.0), (0.5, 0.25, 1.0)


class Hybrid(Classifier):
    """A module that states, as those of timm do, how it wants its images."""

    def __init__(self):
        super().__init__()
        self.pretrained_cfg = {"input_size": (3, 8, 8), "mean": MEAN, "std": STD, "crop_pct": 1.0, "interpolation": "bilinear"}


@pytest.fixture
def folder(tmp_path):
    """Images of 8 x 8 pixels at three depths, in two formats, next to a text and a hidden image; returned with their pixels by name."""
    generator, pixels = np.random.default_rng(0), {}
    for name in ("a.png", "b/c.PNG", "b/d/e.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels[name] = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels[name]).save(path)
    (tmp_path / "images/notes.txt").write_text("none")
    (tmp_path / "images/.hidden.png").write_bytes(b"none")
    return tmp_path / "images", pixels


def test_folder_equals_its_images_transformed_by_hand(folder):
    path, pixels = folder
    drawn = [str(image.relative_to(path)) for image in draw(list_images(path), 256, seed=0)]
    assert sorted(drawn) == sorted(pixels)
    by_hand = np.stack([(pixels[name] / 255 - np.array(MEAN)) / STD for name in drawn]).transpose(0, 3, 1, 2)
    module = Hybrid()
    got = qhyvit.calibrate(module, path)
    np.testing.assert_allclose(torch.cat(got.batches).numpy(), by_hand, atol=1e-6)
    assert torch.equal(torch.cat(qhyvit.calibrate(module, str(path)).batches), torch.cat(got.batches))


def test_of_a_large_folder_some_images_are_drawn_by_the_seed(folder, monkeypatch):
    monkeypatch.setattr("qhyvit.api.images.LARGEST_FOLDER", 2)
    draws = [torch.cat(qhyvit.calibrate(Hybrid(), folder[0], seed=seed).batches) for seed in range(6)]
    assert {len(draw) for draw in draws} == {2}
    assert any(not torch.equal(draws[0], draw) for draw in draws)
    calibration = qhyvit.calibrate(Hybrid(), folder[0], seed=0)
    assert torch.equal(draws[0], torch.cat(calibration.batches))
    assert [len(calibration.draw(count)) for count in (1, 1024)] == [1, len(folder[1])]  # for correction and tuning


def test_folder_of_a_calibration_stays_where_the_working_folder_changes(folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(folder[0].parent)
    calibration = qhyvit.calibrate(Hybrid(), folder[0].name)
    expected = calibration.draw(2)
    monkeypatch.chdir(tmp_path_factory.mktemp("other"))
    assert torch.equal(calibration.draw(2), expected)


def test_correction_sees_images_of_all_classes():
    """Images by class, of which a correction takes 64: those of a class have one mean of their own."""
    images = torch.randn(256, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.arange(256).view(-1, 1, 1, 1) // 64
    module = Hybrid().eval()
    calibration = qhyvit.calibrate(module, images)
    with patch.object(CalibrationImages, "read", autospec=True, side_effect=CalibrationImages.read) as read:
        qhyvit.quantize(module, calibration, "qhyvit-integer-corrected")
    seen = read.call_args.args[0].read(64)
    assert len(seen) == 64
    assert set(seen.mean((1, 2, 3)).round().tolist()) == {0, 1, 2, 3}


def test_folder_for_a_module_without_a_transform_says_what_to_give(folder):
    with pytest.raises(qhyvit.InputError, match=r"Classifier has no `pretrained_cfg`.*; give images that are transformed: a tensor \[N, C"):
        qhyvit.quantize(Classifier(), folder[0])


def test_folder_without_images_is_refused(tmp_path):
    for path, message in ((tmp_path, r"there are no images \(\.jpg, .* in it or below it"), (tmp_path / "none", "no such folder")):
        with pytest.raises(qhyvit.InputError, match=message):
            qhyvit.quantize(Hybrid(), path)


def test_damaged_image_is_named_with_the_damage(folder):
    path = folder[0] / "b/d/e.png"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(qhyvit.InputError, match=r"b/d/e\.png: damaged or no image \(.*\); replace it with an intact copy, or remove it"):
        qhyvit.quantize(Hybrid(), folder[0])


def test_model_of_timm_states_its_transform(folder):
    module = timm.create_model("test_vit", pretrained_cfg_overlay={"input_size": (3, 160, 160)})
    (batch,) = qhyvit.calibrate(module, folder[0]).batches
    assert batch.shape == (3, 3, 160, 160)


def test_export_to_an_unknown_ending_is_refused(images, tmp_path):
    with pytest.raises(qhyvit.InputError, match=r"model\.tflite: no format has this suffix; give \.xml for OpenVINO or \.onnx for ONNX"):
        qhyvit.quantize(Classifier(), images, method="minmax").export(tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Classifier().state_dict(), "is OrderedDict, no torch.nn.Module; give the network itself, with its weights loaded"),
        (Classifier, "is type, no torch.nn.Module"),
        (nn.DataParallel(Classifier()), "is a network in DataParallel; give the original network"),
        (torch.compile(Classifier()), "is a network in torch.compile; give the original network"),
        (torch.jit.trace(Classifier().eval(), torch.zeros(1, 3, 8, 8)), "is a network in TorchScript; give the original network"),
        (Classifier().half(), r"has parameters of torch\.float16; quantization starts from FP32, so give module\.float\(\)"),
    ],
    ids=["state-dict", "class", "data-parallel", "compiled", "script", "half"],
)
def test_what_is_no_plain_module_of_fp32_is_refused(images, module, message):
    with pytest.raises(qhyvit.InputError, match=message):
        qhyvit.quantize(module, images, method="minmax")


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weights_that_are_computed_before_each_run_are_refused_with_the_way_out(images):
    module = Classifier()
    nn.utils.weight_norm(module.conv)
    said = r"cannot be copied, since conv\.weight is computed before each run and no parameter; call torch\.nn\.utils\.remove_weight_norm"
    for use in (qhyvit.calibrate, qhyvit.inspect):
        with pytest.raises(qhyvit.InputError, match=said):
            use(module, images)
    nn.utils.remove_weight_norm(module.conv)
    nn.utils.parametrizations.weight_norm(module.head)
    qhyvit.inspect(module, images)


class Versioned(Classifier):
    """States its version next to its weights."""

    def get_extra_state(self):
        return {"version": 2}

    def set_extra_state(self, state):
        assert state == {"version": 2}


def test_extra_state_that_is_no_tensor_is_no_part_of_the_weights(images, tmp_path):
    module = Versioned()
    quantized = qhyvit.quantize(module, images, method="minmax")
    quantized.save(tmp_path / "model.safetensors")
    assert torch.equal(qhyvit.load(tmp_path / "model.safetensors", module)(images), quantized(images))


def test_missing_images_are_refused():
    with pytest.raises(qhyvit.InputError, match="images: are NoneType; give a tensor"):
        qhyvit.quantize(Classifier(), None)


def test_images_of_double_precision_are_those_of_single_precision(images):
    module = Classifier()
    expected = qhyvit.quantize(module, images, method="minmax")(images)
    assert torch.equal(qhyvit.quantize(module, images.double(), method="minmax")(images), expected)


def test_bits_may_be_written_as_in_tables(images):
    module = Classifier()
    quantized = qhyvit.quantize(module, images, method="minmax", bits="W4A8")
    assert quantized.settings["bits"] == "w4a8"
    assert torch.equal(quantized(images), qhyvit.quantize(module, images, method="minmax", bits="w4a8")(images))


def test_a_site_to_keep_may_be_one_name(images, tmp_path):
    pytest.importorskip("openvino")
    quantized = qhyvit.quantize(Classifier(), images, method="minmax", bits="w6a6")
    for keep in ("conv", (name for name in ["conv"])):
        assert quantized.export(tmp_path / "model.xml", keep=keep).kept == ["conv"]
    with pytest.raises(qhyvit.InputError, match="keep 'stem': no quantized site of this network"):
        quantized.export(tmp_path / "model.xml", keep="stem")


def test_a_quantized_model_is_not_pickled(images, tmp_path):
    quantized = qhyvit.quantize(Classifier(), images, method="minmax")
    with pytest.raises(qhyvit.InputError, match=r"cannot be pickled, as by torch\.save; write it with its method save"):
        torch.save(quantized, tmp_path / "quantized.pt")


def test_missing_and_foreign_files_are_not_loaded(tmp_path):
    with pytest.raises(qhyvit.InputError, match="no such file; give one that QuantizedModel"):
        qhyvit.load(tmp_path / "none.safetensors", Classifier())
    save_file(Classifier().state_dict(), tmp_path / "weights.safetensors")
    with pytest.raises(qhyvit.InputError, match=r"not written by .* \(ValueError: it has no header\); give a file that is"):
        qhyvit.load(tmp_path / "weights.safetensors", Classifier())


def test_a_saved_model_may_be_read_by_those_who_may_read_other_files(images, tmp_path):
    qhyvit.quantize(Classifier(), images, method="minmax").save(tmp_path / "quantized.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "quantized.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode
