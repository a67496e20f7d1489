"""Weights that are replaced between two commands: one line in every command that reads what was made from the former ones."""

import errno
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, TINY_MODEL, write_data, write_images, write_weights
from safetensors.torch import load_file, save_file

from qhyvit.cli.calibrate import calibrate
from qhyvit.cli.challenges import challenges
from qhyvit.cli.evaluate import evaluate
from qhyvit.cli.execute import execute
from qhyvit.cli.export import export
from qhyvit.cli.fetch.images import fetch_images
from qhyvit.cli.fetch.weights import fetch_weights
from qhyvit.cli.peer import peer
from qhyvit.cli.predict import predict
from qhyvit.cli.quantize import quantize
from qhyvit.cli.recalibrate import recalibrate
from qhyvit.cli.sensitivity import sensitivity
from qhyvit.errors import InputError, UnwritableError
from qhyvit.files import file_sha256

MODEL, CONFIG, IMAGES, OUT = "tiny_hybrid", Path("config.yaml"), Path("images.csv"), Path("out")
WEIGHTS, FP32 = Path("data/weights/tiny_hybrid.safetensors"), Path("fp32.safetensors")
CALIBRATION, QUANTIZED = Path("calibration.safetensors"), Path("quantized.safetensors")
EXPORTED, ERRORS, CHECKS = Path("nncf.xml"), Path("out.csv"), Path("checks.csv")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A project with a calibration and quantizers of its weights, and their pin."""
    root = tmp_path_factory.mktemp("weights") / "project"
    with pytest.MonkeyPatch.context() as patch:
        root.mkdir()
        patch.chdir(root)
        write_data(root)
        write_weights(root / WEIGHTS, 2, **TINY_MODEL)
        Path("models.yaml").write_text(yaml.safe_dump({MODEL: TINY_MODEL}))
        files = {"models_file": "models.yaml", "methods_file": str(REPOSITORY / "config/methods.yaml")}
        sensitivity_of = {"methods": ["minmax"], "bits": ["w4a4"], "images": 2}
        CONFIG.write_text(yaml.safe_dump(TINY_EXPERIMENT | files | {"models": [MODEL], "sensitivity": sensitivity_of}))
        fetch_images(CONFIG, IMAGES)
        calibrate(CONFIG, MODEL, 0, IMAGES, CALIBRATION)
        quantize(CONFIG, MODEL, "minmax", "partial", "w4a4", IMAGES, CALIBRATION, QUANTIZED, Path("errors.csv"))
        fetch_weights(CONFIG, MODEL, Path("weights.json"))
        evaluate(CONFIG, MODEL, IMAGES, [Path("fp32.json")], FP32)
        peer(CONFIG, MODEL, "nncf", 0, IMAGES, EXPORTED)
    return root


@pytest.fixture
def project(template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


def replace_weights():
    save_file({name: 2 * tensor if tensor.is_floating_point() else tensor for name, tensor in load_file(WEIGHTS).items()}, WEIGHTS)


def run_evaluate(paths):
    evaluate(CONFIG, MODEL, IMAGES, [OUT], FP32, paths)


def run_execute():
    execute(CONFIG, MODEL, "nncf", "w8a8", 0, IMAGES, EXPORTED, FP32, OUT)


COMMANDS = {
    "challenges": (CALIBRATION, lambda: challenges(CONFIG, MODEL, CALIBRATION, OUT, OUT, OUT)),
    "quantize": (
        CALIBRATION,
        lambda: quantize(CONFIG, MODEL, "minmax", "partial", "w4a4", IMAGES, CALIBRATION, OUT, ERRORS),
    ),
    "recalibrate": (CALIBRATION, lambda: recalibrate(CONFIG, MODEL, "qhyvit", "w4a4", IMAGES, CALIBRATION, OUT)),
    "predict": (QUANTIZED, lambda: predict(CONFIG, MODEL, IMAGES, 1, OUT, [QUANTIZED])),
    "evaluate": (QUANTIZED, lambda: run_evaluate([QUANTIZED])),
    "sensitivity": (QUANTIZED, lambda: sensitivity(CONFIG, MODEL, IMAGES, QUANTIZED, OUT)),
    "export": (QUANTIZED, lambda: export(CONFIG, MODEL, IMAGES, QUANTIZED, OUT.with_suffix(".xml"))),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_weights_other_than_those_of_the_calibration_are_refused(project, command):
    source, run = COMMANDS[command]
    recorded = file_sha256(WEIGHTS)
    replace_weights()
    Path("reports/weights.lock.yaml").unlink()
    hashes = rf"sha256 {file_sha256(WEIGHTS)[:12]}\.\.\. is not {recorded[:12]}\.\.\."
    with pytest.raises(InputError, match=rf"^{WEIGHTS}: {hashes}: it has changed since {source} was made from it; ") as refused:
        run()
    assert "\n" not in str(refused.value)
    assert not list(Path().glob("out*"))


PINNED = {
    "calibrate": lambda: calibrate(CONFIG, MODEL, 0, IMAGES, OUT),
    "evaluate FP32": lambda: evaluate(CONFIG, MODEL, IMAGES, [OUT], OUT),
    "predict FP32": lambda: predict(CONFIG, MODEL, IMAGES, 1, OUT),
    "peer": lambda: peer(CONFIG, MODEL, "nncf", 0, IMAGES, OUT.with_suffix(".xml")),
    "fetch weights": lambda: fetch_weights(CONFIG, MODEL, OUT),
    "execute": run_execute,
}


@pytest.mark.parametrize("command", PINNED)
def test_weights_other_than_those_fetched_are_refused(project, command):
    replace_weights()
    with pytest.raises(InputError, match=rf"^{WEIGHTS}: sha256 .* is not .*reports/weights\.lock\.yaml .*delete its line there$"):
        PINNED[command]()
    assert not OUT.exists()


def test_fp32_logits_of_other_weights_are_refused(project):
    replace_weights()
    Path("reports/weights.lock.yaml").unlink()
    calibrate(CONFIG, MODEL, 0, IMAGES, CALIBRATION)
    quantize(CONFIG, MODEL, "minmax", "partial", "w4a4", IMAGES, CALIBRATION, QUANTIZED, Path("errors.csv"))
    for run in (lambda: run_evaluate([QUANTIZED]), run_execute):
        with pytest.raises(InputError, match=rf"^{FP32}: of other weights, images or preprocessing; run `qhyvit evaluate` "):
            run()
    assert not OUT.exists()


@pytest.mark.parametrize("command", ["quantize", "predict", "evaluate", "sensitivity"])
def test_same_weights_in_a_new_file_are_accepted(project, command):
    again = WEIGHTS.read_bytes()
    WEIGHTS.unlink()
    WEIGHTS.write_bytes(again)
    COMMANDS[command][1]()
    assert OUT.exists()


def change_size():
    experiment = yaml.safe_load(CONFIG.read_text())
    experiment["dataset"]["input_size"] = 96
    CONFIG.write_text(yaml.safe_dump(experiment))


def change_images():
    shutil.rmtree("data/tiny/calibration")
    write_images(Path("data/tiny/calibration"), 6, seed=3)
    fetch_images(CONFIG, IMAGES)


@pytest.mark.parametrize(
    ("command", "change"),
    [(command, change_size) for command in COMMANDS] + [(command, change_images) for command in COMMANDS if command != "challenges"],
)
def test_calibration_on_other_images_is_refused(project, command, change):
    """But by `challenges` other images are not, since it reads none."""
    source, run = COMMANDS[command]
    change()
    with pytest.raises(InputError, match=rf"^{source}: made .* other preprocessing or batches; calibrate and quantize again$"):
        run()
    assert not list(Path().glob("out*"))


def test_same_quantizers_given_twice_have_two_results(project):
    outputs = [OUT, Path("again")]
    evaluate(CONFIG, MODEL, IMAGES, outputs, FP32, [QUANTIZED, Path(f"./{QUANTIZED}")])
    first, second = (path.read_text() for path in outputs)
    assert first == second


def run_simulated(method="minmax", bits="w4a4", seed=0, checks="site,form,difference,saturates\nstem,integer,0.0,False\n"):
    CHECKS.write_text(checks)
    execute(CONFIG, MODEL, method, bits, seed, IMAGES, EXPORTED, FP32, OUT, QUANTIZED, CHECKS, [QUANTIZED])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "nope"}, f"{CONFIG}: the experiment has no method 'nope'"),
        ({"method": "qhyvit"}, f"{QUANTIZED}: has method minmax, not qhyvit; give"),
        ({"method": "nncf"}, f"{EXPORTED}: nncf writes .xml files of w8a8 alone; give"),
        ({"bits": "w2a3"}, f"{QUANTIZED}: has bits w4a4, not w2a3; give"),
        ({"seed": 77}, f"{QUANTIZED}: has seed 0, not 77; give"),
        ({"checks": "site,form,difference,saturates\n"}, f"{CHECKS}: not written by `qhyvit export --checks`"),
        ({"checks": "difference\n0.1\n"}, f"{CHECKS}: not written by `qhyvit export --checks`"),
        ({"checks": "site,form,difference,saturates\nstem,integer,,False\n"}, f"{CHECKS}: not written by `qhyvit export --checks`"),
        ({"checks": "site,form,difference,saturates\nelsewhere,integer,0,False\n"}, f"{CHECKS}: its site elsewhere is none of {QUANTIZED}"),
    ],
)
def test_exported_file_of_another_run_is_refused(project, given, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        run_simulated(**given)
    assert not OUT.exists()


def test_peer_with_a_file_of_another_format_is_refused_before_the_work(project, monkeypatch):
    monkeypatch.setattr("qhyvit.cli.peer.load_experiment", lambda *_: pytest.fail("the work is begun"))
    for name, path in (("nncf", "p.onnx"), ("onnxruntime", "p.xml")):
        with pytest.raises(InputError, match=rf"^{path}: {name} writes \.\w+ files alone; give"):
            peer(CONFIG, MODEL, name, 0, IMAGES, Path(path))


def test_quantizers_that_cannot_be_written_leave_no_errors_of_sites(project, monkeypatch):
    def fail(path, *_):
        raise UnwritableError(path, errno.ENOSPC)

    monkeypatch.setattr("qhyvit.cli.quantize.save_quantizers", fail)
    with pytest.raises(UnwritableError, match=f"^{OUT}: "):
        COMMANDS["quantize"][1]()
    assert not ERRORS.exists()
