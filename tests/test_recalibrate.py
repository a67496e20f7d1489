"""Commands `recalibrate` and `quantize`, with a small network in the place of the experiment's."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import REPOSITORY, TINY_EXPERIMENT, write_images
from safetensors import safe_open
from safetensors.torch import load_file
from small_network import small_network

from qhyvit.calibration.losses import kl_loss
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.cli import calibrate, task
from qhyvit.cli.quantize import quantize
from qhyvit.cli.recalibrate import recalibrate
from qhyvit.config.loading import load_config
from qhyvit.data.manifest import write_manifest
from qhyvit.errors import InputError
from qhyvit.methods import recalibration
from qhyvit.tuning import distillation

MODEL = "mobilevit_xxs"
CONFIG, IMAGES, CALIBRATION = Path("config.yaml"), Path("images.csv"), Path("calibration.safetensors")
MADE = Path("recalibration.safetensors")
RUN = (CONFIG, MODEL, "qhyvit", "partial", "w4a4", IMAGES, CALIBRATION)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a calibration of the small network by seed 0, another by seed 1, and a recalibration of the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        for seed, split in enumerate(("calibration", "evaluation")):
            write_images(Path("data/tiny", split), 8, seed)
        weights = Path(f"data/weights/{MODEL}.safetensors")
        weights.parent.mkdir()
        weights.write_bytes(b"any")
        Path("methods.yaml").write_text((REPOSITORY / "config/methods.yaml").read_text().replace("steps: 256", "steps: 32"))
        files = {"models_file": str(REPOSITORY / "config/models.yaml"), "methods_file": "methods.yaml"}
        CONFIG.write_text(json.dumps(TINY_EXPERIMENT | files | {"methods": ["minmax", "qhyvit", "qhyvit-cv", "qhyvit-tuned"]}))
        loaded = small_network()
        for module in (calibrate, task):
            patch.setattr(module, "load_model", lambda *_: loaded)
        write_manifest(load_config(CONFIG).experiment.dataset, IMAGES)
        for seed, path in enumerate((CALIBRATION, Path("other.safetensors"))):
            calibrate.calibrate(CONFIG, MODEL, seed, IMAGES, path)
        recalibrate(CONFIG, MODEL, "qhyvit", "w4a4", IMAGES, CALIBRATION, MADE)
        yield


@pytest.fixture
def refuse_second_pass(monkeypatch):
    def refuse(*_: object) -> Recalibration:
        raise AssertionError("the calibration images are run again")

    monkeypatch.setattr(recalibration, "recalibrate", refuse)


def test_quantizers_from_recalibration_have_equal_bytes(project):
    whole, errors, given = Path("whole"), Path("errors.csv"), Path("given")
    quantize(*RUN, whole, errors)
    quantize(*RUN, given, errors, recalibration=MADE)
    assert whole.read_bytes() == given.read_bytes()


def test_methods_share_a_recalibration_without_second_pass(project, refuse_second_pass):
    quantize(CONFIG, MODEL, "qhyvit-cv", *RUN[3:], Path("shared"), Path("errors.csv"), recalibration=MADE)
    with pytest.raises(AssertionError, match="run again"):
        quantize(*RUN, Path("none"), Path("errors.csv"))


@pytest.mark.parametrize(
    "changes",
    [{"bits": "w4a8"}, {"calibration": Path("other.safetensors")}, {"method": "minmax"}],
    ids=["other bits", "other calibration", "other defaults"],
)
def test_recalibration_of_another_run_is_refused(project, changes):
    names = ("config", "model", "method", "mode", "bits", "images", "calibration")
    run = dict(zip(names, RUN, strict=True)) | changes
    with pytest.raises(InputError, match=r"^recalibration\.safetensors: made from another calibration, .*`qhyvit recalibrate`"):
        quantize(**run, output=Path("refused"), errors=Path("refused.csv"), recalibration=MADE)
    assert not list(Path().glob("refused*"))


def test_method_without_recalibration_is_told_so(project):
    with pytest.raises(InputError, match="method minmax needs no recalibration"):
        recalibrate(CONFIG, MODEL, "minmax", "w4a4", IMAGES, CALIBRATION, Path("refused"))


def stop_tuning(run, output):
    """Quantize with a tuning that is interrupted, so that it leaves a checkpoint."""
    losses = []

    def loss(*arguments):
        losses.append(kl_loss(*arguments))
        if len(losses) == 20:
            raise KeyboardInterrupt
        return losses[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "kl_loss", loss)
        with pytest.raises(KeyboardInterrupt):
            quantize(*run, output, Path("errors.csv"))
    assert not output.exists()
    assert output.with_name(f".{output.name}.tuning").exists()


def test_tuning_that_was_stopped_continues_and_leaves_no_checkpoint(project):
    run, stopped = (CONFIG, MODEL, "qhyvit-tuned", *RUN[3:]), Path("stopped")
    quantize(*run, Path("whole"), Path("errors.csv"))
    stop_tuning(run, stopped)
    quantize(*run, stopped, Path("errors.csv"))
    assert stopped.read_bytes() == Path("whole").read_bytes()
    assert not Path(".stopped.tuning").exists()


@pytest.mark.parametrize("changed", [{4: "w4a8"}, {6: Path("other.safetensors")}], ids=["other bits", "other calibration"])
def test_tuning_does_not_continue_another_one_that_was_stopped(project, changed):
    run = (CONFIG, MODEL, "qhyvit-tuned", *RUN[3:])
    other = tuple(changed.get(position, value) for position, value in enumerate(run))
    quantize(*other, Path("fresh"), Path("errors.csv"))
    Path("reused").unlink(missing_ok=True)
    stop_tuning(run, Path("reused"))
    quantize(*other, Path("reused"), Path("errors.csv"))
    assert Path("reused").read_bytes() == Path("fresh").read_bytes()


@pytest.mark.parametrize("method", ["minmax", "qhyvit-tuned"])
def test_labels_of_calibration_images_change_nothing(project, method):
    labels = Path("data/tiny/calibration/labels.csv")
    true = labels.read_text()
    table = pd.read_csv(labels)
    table.assign(label=1 - table.label[::-1].to_numpy()).iloc[::-1].to_csv(labels, index=False)
    try:
        write_manifest(load_config(CONFIG).experiment.dataset, Path("wrong.csv"))
        calibrate.calibrate(CONFIG, MODEL, 0, Path("wrong.csv"), Path("wrong"))
        quantize(CONFIG, MODEL, method, *RUN[3:5], Path("wrong.csv"), Path("wrong"), Path("by wrong"), Path("wrong errors"))
    finally:
        labels.write_text(true)
    quantize(CONFIG, MODEL, method, *RUN[3:], Path("by true"), Path("errors"))
    expected, found = load_file("by true"), load_file("by wrong")
    assert Path("errors").read_bytes() == Path("wrong errors").read_bytes()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name


@pytest.mark.parametrize("threads", [1, 2])
def test_calibrations_by_equally_many_threads_have_equal_bytes(project, threads):
    first, second = Path("first"), Path("second")
    for output in (first, second):
        calibrate.calibrate(CONFIG, MODEL, 0, IMAGES, output, threads=threads)
    assert first.read_bytes() == second.read_bytes()
    with safe_open(first, framework="pt") as file:
        assert json.loads(file.metadata()["header"])["provenance"]["threads"] == threads


@pytest.mark.parametrize(
    ("old", "new"),
    [('"input_size": 64', '"input_size": 32'), ('"batch_size": 4', '"batch_size": 2')],
    ids=["preprocessing", "batch size"],
)
def test_calibration_with_other_preprocessing_or_batches_is_refused(project, old, new):
    other = Path("other.yaml")
    other.write_text(CONFIG.read_text().replace(old, new))
    with pytest.raises(InputError, match=r"^calibration\.safetensors: made from another manifest than images\.csv, or with other"):
        recalibrate(other, MODEL, "qhyvit", "w4a4", IMAGES, CALIBRATION, Path("new"))
    assert not Path("new").exists()


def test_calibration_of_another_manifest_is_refused(project):
    manifest = Path("shuffled.csv")
    manifest.write_text("\n".join(IMAGES.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(InputError, match=r"^calibration\.safetensors: made from another manifest than shuffled\.csv"):
        recalibrate(CONFIG, MODEL, "qhyvit", "w4a4", manifest, CALIBRATION, Path("new"))
