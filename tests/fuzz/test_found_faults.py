"""Inputs that the tests of this folder found: each ended in a traceback, a hang or a wrong value, and is now refused in one line."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import TINY_EXPERIMENT
from safetensors.torch import load_file, save_file
from torch import nn

from qhyvit.calibration.serialization import load_statistics
from qhyvit.config.dataset import Dataset
from qhyvit.config.loading import load_config
from qhyvit.data.dvc import tracked_hash
from qhyvit.data.labelled_folder import read_entries
from qhyvit.data.manifest import read_manifest
from qhyvit.data.stamps import data_state
from qhyvit.errors import LONGEST, InputError
from qhyvit.evaluation.predictions import read_reference
from qhyvit.models.recorded_weights import read_pins
from qhyvit.models.zoo import load_weights
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.reporting.revisions import present_runs
from qhyvit.reporting.runs import read_result
from qhyvit.tuning.checkpoint import Checkpoint, Progress

FILE = Path("file")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refused(message, read, *arguments):
    with pytest.raises(InputError, match=message) as error:
        read(*arguments)
    assert str(error.value).isprintable()


def write_header(header: object, **tensors: torch.Tensor) -> None:
    save_file(tensors or {"none": torch.zeros(1)}, FILE, metadata={"header": header if isinstance(header, str) else json.dumps(header)})


def test_message_is_one_line_of_bounded_length():
    said = str(InputError("a\nb\u2028c\udc80 é" + "x" * 10_000 + "; correct it"))
    assert said.startswith(r"a\nb\u2028c\udc80 é")
    assert said.endswith("x; correct it")
    assert len(said) < LONGEST + 50


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models_file": "a\nb"}, "models_file: a path has a line end or another character that is not printed"),
        ({"weights": "{model}" + "x" * 300}, "weights: a path has .* or a name that is too long"),
        ({"dataset": TINY_EXPERIMENT["dataset"] | {"mean": [float("nan")] * 3}}, r"dataset\.mean\.0: Input should be a finite number"),
        ({"a\nb": 1}, r"a\\nb: unknown key"),
        ({"seeds": ["x" * 10_000]}, r"seeds\.0: .* \(found 'x+\.\.\.x+'\)"),
    ],
)
def test_value_of_an_experiment_that_no_file_can_have_is_refused(changes, message):
    FILE.write_text(yaml.safe_dump(TINY_EXPERIMENT | changes))
    refused(message, load_config, FILE)


def test_aliases_that_are_too_large_to_write_out_are_shown_in_short():
    levels = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10) if level else 'x'}]" for level in range(12)]
    FILE.write_text("\n".join([*levels, yaml.safe_dump(TINY_EXPERIMENT | {"models": None}).replace("models: null", "models: *a11")]))
    refused(r"file: models\.0: .*\(found \[.*\[\.\.\.\]", load_config, FILE)


def test_list_of_images_with_a_name_that_is_too_long_is_refused():
    Path("labels.csv").write_text(f"filename,label\n{'x' * 300},0\n")
    refused(r"x: missing, but listed in labels\.csv \(line 2\)", read_entries, Path(), 2)


@pytest.mark.parametrize("row", ["a.png,x,0,,", "a.png,0,0,-1,5", "a.png,0,0,1,", "a.png,0,0,,,7", "a.png,99999999999999999999,0,,"])
def test_manifest_of_other_values_is_refused(row):
    FILE.write_text(f"split,filename,label,pixels_sha256,offset,size\ncalibration,{row}\n")
    dataset = Dataset(name="mine", classes=2, calibration="one", evaluation="two")
    refused("file: not written by `qhyvit fetch images`", read_manifest, dataset, FILE, "calibration")


@pytest.mark.parametrize("text", ["outs:", "[", "outs: [{path: a}]"])
def test_file_of_dvc_that_dvc_has_not_written_is_refused(text):
    Path("data.dvc").write_text(text)
    refused(r"data\.dvc: ", tracked_hash, FILE)


def test_stamps_with_a_field_larger_than_the_limit_of_csv_count_as_none():
    FILE.write_text("first\n" + "x" * 200_000)
    assert data_state(FILE, {}) == ("first", [])


def test_stamp_of_a_name_that_is_too_long_is_a_change():
    FILE.write_text(f"first\ncalibration,{'x' * 300},1,2,3\n")
    assert data_state(FILE, {"calibration": Path()})[1] == [Path("x" * 300)]


@pytest.mark.parametrize("text", ["- a", "a: [1]", "a: b: c"])
def test_pins_of_another_form_are_refused(text):
    FILE.write_text(text)
    refused("file: ", read_pins, FILE)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 0)])
def test_weights_of_attention_of_another_form_are_refused(shape):
    network = nn.Module()
    network.attention_biases = nn.Parameter(torch.zeros(1, 4))
    save_file({"attention_biases": torch.zeros(shape)}, FILE)
    refused("file: does not fit the model", load_weights, network, FILE)


@pytest.mark.parametrize("header", ["[" * 100_000, "[]", {"counts": {}, "provenance": []}, {"counts": {"a": {"input": [10**400]}}}])
def test_header_of_another_form_is_refused(header):
    write_header(header)
    refused(r"file: not written by `qhyvit calibrate` \(", load_statistics, FILE)


def test_provenance_of_another_form_is_refused():
    for record in ({"inputs": {"weights": 1}}, {"settings": "x"}, {"calibrated": None}):
        write_header({"quantizers": {}, "provenance": record})
        refused("file: not written by `qhyvit quantize`.*(provenance|hashes)", load_quantizers, FILE)


@pytest.mark.parametrize(
    "changes",
    [{"bits": 2.5}, {"bits": 4, "scheme": "other"}, {"axis": "0"}, {"axis": 10**9}, {"scale": float("nan")}, {"scale": 0.0}],
)
def test_quantizer_of_other_values_is_refused(changes):
    values = {"bits": 4, "scheme": "symmetric", "scale": 0.5, "zero_point": 0.0, "axis": None} | changes
    tensors = {name: torch.tensor(values.pop(name)).expand(1 if values["axis"] else ()).clone() for name in ("scale", "zero_point")}
    quantizer = UniformQuantizer(4, "symmetric", torch.tensor(0.5), torch.tensor(0.0))
    save_quantizers(FILE, {"a": {"input": quantizer}}, {})
    assert load_quantizers(FILE)[0]["a"]["input"].bits == 4
    write_header(
        {"quantizers": {"a/input": {"kind": "UniformQuantizer"} | values}, "provenance": {}},
        **{f"a/input/{name}": tensor for name, tensor in tensors.items()},
    )
    refused("file: not written by `qhyvit quantize`", load_quantizers, FILE)


@pytest.mark.parametrize("boundary", [10**30, 1e300, "1"])
def test_twin_quantizer_of_a_boundary_that_no_tensor_holds_is_refused(boundary):
    settings = {"kind": "AddedTwinUniformQuantizer", "bits": 6, "boundary": boundary}
    scales = {f"a/left/{name}": torch.tensor(0.1) for name in ("low_scale", "high_scale")}
    write_header({"quantizers": {"a/left": settings}, "provenance": {}}, **scales)
    refused("file: not written by `qhyvit quantize`", load_quantizers, FILE)


def test_quantizer_of_complex_scales_is_refused():
    settings = {"kind": "RescaledWeightQuantizer", "bits": 8, "scheme": "symmetric"}
    tensors = {f"a/weight/{name}": torch.ones(2) for name in ("scale", "zero_point", "channel_rescale")}
    write_header({"quantizers": {"a/weight": settings}, "provenance": {}}, **tensors)
    assert load_quantizers(FILE)[0]["a"]["weight"].bits == 8
    for name, tensor in tensors.items():
        write_header({"quantizers": {"a/weight": settings}, "provenance": {}}, **tensors | {name: tensor.to(torch.complex64)})
        refused("file: not written by `qhyvit quantize`.*float32", load_quantizers, FILE)


def test_logits_of_other_images_are_refused():
    save_file({"logits": torch.zeros(1, 4), "labels": torch.zeros(1)}, FILE)
    refused(
        r"file: has logits \[1, 4\], not \[3, 4\]; give those of the same images",
        read_reference,
        FILE,
        torch.zeros(3, 4),
        torch.zeros(3),
        [FILE],
        {},
    )


@pytest.mark.parametrize("name", ["learnt/a", "moments/0/step", "best/a"])
def test_unfinished_tuning_of_other_values_is_refused_before_any_is_taken(name):
    value = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([value])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    value.sum().backward()
    optimizer.step()
    schedule.step()
    checkpoint = Checkpoint(FILE, "key")
    checkpoint.save(Progress(1, 0.5, 0.5, 0.5, 0, {"a": torch.ones(2)}), {"a": value}, optimizer, schedule)
    assert checkpoint.restore({"a": value}, optimizer, schedule).step == 1
    header = Path(FILE).read_bytes()
    saved = json.loads(json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])["__metadata__"]["header"])
    write_header(saved, **load_file(FILE) | {name: torch.zeros(3)})
    before = value.detach().clone()
    refused("file: not written by `qhyvit quantize`", checkpoint.restore, {"a": value}, optimizer, schedule)
    assert torch.equal(value, before)


RUN = "tiny,net,F,minmax,partial,4,4,0,{images},{top1},75,0,-1,1,0.5"
HEADER = "dataset,model,family,method,mode,w_bits,a_bits,seed,images,top1,top1_fp32,drop,drop_low,drop_high,kl"


@pytest.mark.parametrize(
    "rows",
    [[], [RUN.format(images=8, top1="x")], [RUN.format(images=10**12, top1=50)], [RUN.format(images=8, top1=50)] * 2, ['"']],
    ids=["none", "text", "too-many-images", "twice", "quote"],
)
def test_results_of_other_values_are_refused(rows):
    Path("results.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    refused(r"results\.csv: not written by `qhyvit aggregate` \(", present_runs, Path())


def test_correct_images_of_another_number_are_refused():
    Path("results.csv").write_text(f"{HEADER}\n{RUN.format(images=8, top1=50)}\n")
    for digits in ("f", "f0f0", "xx"):
        Path("correct.csv").write_text(
            f"dataset,model,mode,method,w_bits,a_bits,seed,images,images_hash,correct\ntiny,net,partial,minmax,4,4,0,8,a,{digits}\n"
        )
        refused(r"correct\.csv: not written by `qhyvit aggregate` \(", present_runs, Path())


@pytest.mark.parametrize("change", [{"model": "\udc80"}, {"correct": "10"}, {"images": None}, {"top1": "x"}, {"kl": "x"}, {"mode": "no"}])
def test_result_of_other_values_is_refused(change):
    run = {"dataset": "tiny", "model": "net", "family": "F", "method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "seed": 0}
    run |= {"images": 4, "top1": 50.0, "correct": "1100"}
    FILE.write_text(json.dumps(run))
    assert read_result(FILE) == run
    FILE.write_text(json.dumps(run | change))
    refused("file: not the result of a run .*; give an output of `qhyvit evaluate`", read_result, FILE)
