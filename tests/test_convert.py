"""Command `convert`: from a model of timm and a folder of images to files that engines run, whole or not at all."""

import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import qhyvit
from qhyvit.cli import convert as command
from qhyvit.cli import main


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Ten images in two folders, and random weights of a network for two classes."""
    root = tmp_path_factory.mktemp("convert")
    generator = np.random.default_rng(0)
    for index in range(10):
        path = root / f"photos/{'cat' if index % 2 else 'dog'}/{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
    torch.manual_seed(0)
    save_file(timm.create_model("test_convnext", num_classes=2).state_dict(), root / "weights.safetensors")
    return root


@pytest.fixture
def convert(template, monkeypatch, capfd):
    """Run the command and return its exit code and the end of its output."""
    monkeypatch.chdir(template)

    def run(*arguments: str) -> tuple[int, str]:
        options = ("--model", "test_convnext", "--checkpoint", "weights.safetensors", "--classes", "2", "--images", "photos")
        monkeypatch.setattr(sys, "argv", ["qhyvit", "convert", *options, "--size", "64", "--method", "minmax", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, "".join(capfd.readouterr()).strip()

    return run


class Cells(HTMLParser):
    """Collects the cells of tables, and the addresses that a page loads from."""

    def __init__(self):
        super().__init__()
        self.cells, self.addresses, self.open = [], [], False

    def handle_starttag(self, tag, attrs):
        self.open = tag in ("td", "th")
        self.addresses += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]

    def handle_endtag(self, tag):
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.cells.append(data)


def test_folder_of_images_becomes_files_that_run_and_a_page(template, convert):
    pytest.importorskip("openvino")
    from qhyvit.deploy.engines import load_engine

    code, said = convert("--bits", "w6a6", "--output", "out")
    assert code == 0, said
    out = template / "out"
    assert sorted(path.name for path in out.iterdir()) == ["model.bin", "model.onnx", "model.xml", "quantized.safetensors", "report.html"]
    module = timm.create_model("test_convnext", num_classes=2)
    module.load_state_dict(load_file(template / "weights.safetensors"))
    qhyvit.load(out / "quantized.safetensors", module)
    page = Cells()
    page.feed((out / "report.html").read_text())
    rows = [page.cells[page.cells.index(name) :][:4] for name in ("FP32", "simulation", "OpenVINO", "ONNX Runtime")]
    assert rows[0][2:4] == ["100.00", "0.00000"]
    assert float(rows[2][2]) == float(rows[1][2])
    assert page.addresses == []
    text = (out / "report.html").read_text()
    assert "5 images calibrated (32 are usual); the table is on 5 others." in text
    assert "There is no top-1" not in text
    config = timm.data.resolve_data_config({}, model=timm.create_model("test_convnext"))
    assert f"minus the mean {config['mean'][0]:g}, " in text
    assert len(set(re.findall(r'id="worst-([^"]+)"', text))) == 5
    assert load_engine(out / "model.xml").logits(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "photos/cat"), "photos/cat: already there; give another folder, or remove it"),
        (("--output", "photos"), "photos: --output is also --images; give another path"),
        (("--bits", "w1a8"), "bit-width 'w1a8': state 2 to 8 bits of weights"),
        (("--method", "magic"), "unknown method 'magic'"),
        (("--model", "test_convnextt"), "unknown model 'test_convnextt'"),
        (("--images", "nowhere"), "nowhere: no such folder; give a folder of images"),
        (("--images", "weights.safetensors"), "weights.safetensors: is a file; give a folder of images"),
        (("--images", "photos", "--evaluation", "nowhere"), "nowhere: no such folder"),
        (("--images", "photos", "--evaluation", "photos"), "photos: has no images but those of the calibration; add others"),
        (("--classes", "3"), "weights.safetensors: does not fit the model"),
        (("--checkpoint", "none.safetensors"), "none.safetensors: no such"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(template, convert, arguments, message):
    before = sorted(template.rglob("*"))
    code, said = convert("--output", "unwritten", *arguments)
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(template.rglob("*")) == before


def test_quantizers_that_no_engine_executes_leave_nothing(template, convert, monkeypatch):
    def refuse(*_):
        raise qhyvit.InputError("stem: its input has several scales")

    monkeypatch.setattr(qhyvit.QuantizedModel, "export", refuse)
    before = sorted(template.rglob("*"))
    assert convert("--output", "unwritten") == (2, "qhyvit: stem: its input has several scales")
    assert sorted(template.rglob("*")) == before


@pytest.mark.parametrize(("method", "count"), [("minmax", 2), ("qhyvit-corrected", 4), ("qhyvit-tuned", 5)])
def test_method_that_changes_parameters_reads_the_images_that_its_settings_ask_for(convert, monkeypatch, method, count):
    """Or half of the ten that there are; 2 calibrate, and the correction asks for 2 and as many for its check."""
    found = []

    def stop(_, calibration, *__):
        found.extend([len(torch.cat(calibration.batches)), len(calibration.draw(1024))])
        raise qhyvit.InputError("stopped")

    settings = qhyvit.presets.load_preset("qhyvit-corrected")
    fewer = settings.model_copy(update={"correction": settings.correction.model_copy(update={"images": 2})})
    monkeypatch.setattr(command, "CALIBRATION_IMAGES", 2)
    monkeypatch.setattr(command, "load_preset", lambda name: fewer if name == "qhyvit-corrected" else qhyvit.presets.load_preset(name))
    monkeypatch.setattr(command, "quantize", stop)
    convert("--method", method, "--output", "unwritten")
    assert found == [2, count]


def test_report_is_on_no_image_that_the_method_has_seen_under_another_name(template, tmp_path):
    for path in sorted((template / "photos").rglob("*.png")):
        Image.open(path).save(tmp_path / f"{path.stem}.bmp")
    with pytest.raises(qhyvit.InputError, match="has no images but those of the calibration; add others"):
        command._split(template / "photos", tmp_path, 10, 0)
    seen, held_out = command._split(template / "photos", tmp_path, 7, 0)
    assert sorted(path.stem for path in (*seen, *held_out)) == [str(number) for number in range(10)]
