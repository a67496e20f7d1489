"""Results that contradict each other, themselves or the manifest are refused before a file is written."""

import json
from pathlib import Path

import pytest

from qhyvit.errors import InputError
from qhyvit.files import file_sha256
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.aggregate import aggregate
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.runs import read_results

METHODS = read_catalog(METHODS_FILE)
IMAGES, OUTPUT = Path("images.csv"), Path("reports")
NETWORK = {"dataset": "tiny", "model": "net", "family": "F", "seed": 0, "images": 4}
FP32 = NETWORK | {"method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "top1": 75.0, "correct": "1110"}
QUANTIZED = NETWORK | {"method": "minmax", "mode": "partial", "w_bits": 4, "a_bits": 8, "top1": 50.0, "correct": "1100", "kl": 0.5}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(4)


def write_manifest(images):
    rows = [f"{split},{i}.png,{i % 2},{split}{i}" for split in ("calibration", "evaluation") for i in range(images)]
    IMAGES.write_text("\n".join(["split,filename,label,pixels_sha256", *rows]) + "\n")


def gather(**results):
    for name, result in results.items():
        Path(f"{name}.json").write_text(json.dumps(result))
    aggregate([Path(f"{name}.json") for name in results], IMAGES, METHODS, OUTPUT)


def refused(message, **results):
    with pytest.raises(InputError, match=message):
        gather(**results)
    assert not OUTPUT.exists()


def evaluated(**inputs):
    return {"inputs": {"weights": "w", "images": file_sha256(IMAGES)} | inputs}


def test_results_of_the_same_inputs_are_gathered():
    reference, quantized = FP32 | {"provenance": evaluated()}, QUANTIZED | {"provenance": {"inputs": {}}, "evaluated": evaluated()}
    more = quantized | {"seed": 2**63 - 1}
    gather(fp32=reference, minmax=quantized, seeds=more)
    assert read_results(OUTPUT / "results.csv").seed.tolist() == [0, 0, 2**63 - 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"top1": 99.0}, "top1 is 99.0, but 50 % of the images are correct"),
        ({"top1": float("nan")}, "top1 is nan"),
        ({"top1": "50"}, "TypeError"),
        ({"kl": float("nan")}, "kl is nan"),
        ({"kl": float("inf")}, "kl is inf"),
        ({"kl": []}, "TypeError"),
        ({"w_bits": 99}, "w_bits or a_bits of minmax is none of 2 to 8"),
        ({"a_bits": 32}, "w_bits or a_bits of minmax is none of 2 to 8"),
        ({"a_bits": 1}, "w_bits or a_bits of minmax is none of 2 to 8"),
        ({"seed": -5}, "seed -5 is none of 0 to"),
        ({"seed": 2**63}, "is none of 0 to"),
        ({"mode": ""}, "a mode is for quantized networks alone"),
        ({"evaluated": 3}, "AttributeError"),
        ({"evaluated": {"inputs": "w"}}, "no hashes of its inputs"),
    ],
)
def test_result_that_contradicts_itself_is_refused(change, message):
    refused(rf"minmax\.json: not the result of a run .*{message}", fp32=FP32, minmax=QUANTIZED | change)


@pytest.mark.parametrize("change", [{"w_bits": 8}, {"mode": "partial"}])
def test_fp32_result_with_bits_or_mode_of_a_quantized_network_is_refused(change):
    refused(r"fp32\.json: not the result of a run", fp32=FP32 | change, minmax=QUANTIZED)


def test_run_that_is_given_twice_is_refused():
    message = r"again\.json: a result of the same run as minmax\.json \(net on tiny, minmax, partial, W4A8, seed 0\); give one of them"
    refused(message, fp32=FP32, minmax=QUANTIZED, again=QUANTIZED | {"top1": 75.0, "correct": "1101"})


@pytest.mark.parametrize("change", [{}, {"seed": 1}, {"top1": 100.0, "correct": "1111"}])
def test_two_fp32_results_of_a_network_are_refused(change):
    message = r"again\.json: a result of the same run as fp32\.json \(net on tiny, fp32\); give one of them"
    refused(message, fp32=FP32, minmax=QUANTIZED, again=FP32 | change)


@pytest.mark.parametrize("name", ["weights", "images"])
def test_result_of_other_inputs_than_fp32_is_refused(name):
    reference, quantized = FP32 | {"provenance": evaluated()}, QUANTIZED | {"evaluated": evaluated(**{name: "other"})}
    message = rf"minmax\.json: evaluated on other {name} than the FP32 result of net; evaluate both again"
    refused(message, fp32=reference, minmax=quantized)


def test_manifest_of_another_number_of_images_is_refused():
    write_manifest(3)
    refused(r"images\.csv: 3 evaluation images, but net, fp32, was evaluated on 4", fp32=FP32, minmax=QUANTIZED)


def test_manifest_of_other_images_is_refused():
    record = evaluated()
    IMAGES.write_text(IMAGES.read_text().replace("evaluation0", "other"))
    results = {"fp32": FP32 | {"provenance": record}, "minmax": QUANTIZED | {"evaluated": record}}
    refused(r"fp32\.json: evaluated on the images of another manifest than images\.csv; give its own", **results)


def test_file_that_is_no_manifest_is_refused_before_the_first_file_is_written():
    IMAGES.write_text("no manifest\n")
    refused(r"images\.csv: not written by `qhyvit fetch images`", fp32=FP32, minmax=QUANTIZED)
