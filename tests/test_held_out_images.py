"""Images that are held out are none of those that the correction or the tuning has seen."""

from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, TINY_MODEL, write_data, write_images, write_weights

from qhyvit.cli import sensitivity as command
from qhyvit.cli.calibrate import calibrate
from qhyvit.cli.fetch.images import fetch_images
from qhyvit.cli.quantize import quantize
from qhyvit.cli.sensitivity import sensitivity
from qhyvit.config.loading import load_config
from qhyvit.data.calibration_set import calibration_entries
from qhyvit.errors import InputError

MODEL, CONFIG, IMAGES, CALIBRATION = "tiny_hybrid", Path("config.yaml"), Path("images.csv"), Path("calibration.safetensors")
QUANTIZED, OUT = Path("quantized.safetensors"), Path("sites.csv")
OF_THE_CORRECTION = 2 * 64  # to fit, and to judge it on


def quantized_network(calibration_images: int) -> None:
    """Calibrate with 4 images, and correct with OF_THE_CORRECTION or all that there are."""
    write_data(Path())
    write_weights(Path("data/weights/tiny_hybrid.safetensors"), 2, **TINY_MODEL)
    Path("models.yaml").write_text(yaml.safe_dump({MODEL: TINY_MODEL}))
    write_images(Path("data/more"), calibration_images, seed=3)
    files = {"models_file": "models.yaml", "methods_file": str(REPOSITORY / "config/methods.yaml")}
    dataset = {"dataset": TINY_EXPERIMENT["dataset"] | {"calibration": "data/more"}}
    stated = {"models": [MODEL], "methods": ["qhyvit-integer-corrected"], "sensitivity": {"images": 2}}
    CONFIG.write_text(yaml.safe_dump(TINY_EXPERIMENT | files | dataset | stated))
    fetch_images(CONFIG, IMAGES)
    calibrate(CONFIG, MODEL, 0, IMAGES, CALIBRATION)
    quantize(CONFIG, MODEL, "qhyvit-integer-corrected", "partial", "w4a4", IMAGES, CALIBRATION, QUANTIZED, Path("errors.csv"))


def test_sensitivity_is_measured_on_images_that_the_correction_has_not_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quantized_network(OF_THE_CORRECTION + 2)
    drawn = []
    draw = command.sample_entries
    monkeypatch.setattr(command, "sample_entries", lambda *arguments: drawn.extend(draw(*arguments)) or drawn)
    sensitivity(CONFIG, MODEL, IMAGES, QUANTIZED, OUT)
    seen = calibration_entries(load_config(CONFIG).experiment, IMAGES, 0, OF_THE_CORRECTION)
    assert len(drawn) == 2
    assert not set(drawn) & set(seen)


def test_sensitivity_without_such_images_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quantized_network(5)
    with pytest.raises(InputError, match=r"^quantized\.safetensors: made with all 5 calibration images; add others, or measure another"):
        sensitivity(CONFIG, MODEL, IMAGES, QUANTIZED, OUT)
    assert not OUT.exists()
