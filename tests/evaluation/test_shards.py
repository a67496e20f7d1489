import json
from pathlib import Path

import pytest
import torch
from conftest import SETTINGS_FILES, TINY_EXPERIMENT, write_data, write_images
from safetensors.torch import save
from small_network import small_network

from qhyvit.cli import calibrate, task
from qhyvit.cli.aggregate import aggregate
from qhyvit.cli.evaluate import evaluate
from qhyvit.cli.predict import predict
from qhyvit.cli.quantize import quantize
from qhyvit.config.loading import load_config
from qhyvit.data.manifest import write_manifest
from qhyvit.errors import InputError
from qhyvit.evaluation import evaluation_set
from qhyvit.evaluation.predictions import Predictions, read_reference, save_reference
from qhyvit.evaluation.shards import merge_shards, save_shard, shard_of

MODEL = "mobilevit_xxs"
BITS = ["w8a8", "w4a4"]
PREPROCESSING = {"input_size": 64}


def test_shards_are_whole_batches_in_order():
    # 11 images are batches of 3, 3, 3 and 2: two shards have two batches each, three have one, one and two.
    def sizes(count: int) -> list[int]:
        return [len(shard_of(11, number, count, 3)) for number in range(1, count + 1)]

    assert sizes(1) == [11]
    assert sizes(2) == [6, 5]
    assert sizes(3) == [3, 3, 5]
    assert sizes(4) == [3, 3, 3, 2]
    assert [image for number in (1, 2, 3) for image in shard_of(11, number, 3, 3)] == [*range(11)]


@pytest.mark.parametrize(("number", "count", "message"), [(1, 5, "5 shards of 4 batches"), (0, 4, "shard 0:"), (5, 4, "shard 5:")])
def test_impossible_shard_is_refused(number, count, message):
    with pytest.raises(InputError, match=message):
        shard_of(11, number, count, 3)


def test_wrong_or_missing_shards_are_refused(tmp_path):
    weights, paths = tmp_path / "weights", [tmp_path / name for name in "abc"]
    weights.write_text("some")
    for number, (path, device) in enumerate(zip(paths, ("cuda", "cpu", "cuda"), strict=True), start=1):
        save_shard(path, Predictions([torch.randn(2, 4)], torch.tensor([0, 1]), device), number, 3, [weights], PREPROCESSING)
    logits, labels, devices = merge_shards(paths, [weights], PREPROCESSING)
    assert devices == "cpu, cuda"
    assert logits[0].shape == (6, 4)
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    for wrong in (paths[::-1], paths[:2]):
        with pytest.raises(InputError, match="run `qhyvit predict` again"):
            merge_shards(wrong, [weights], PREPROCESSING)
    with pytest.raises(InputError, match="a: not shard 1 of 3 of these weights, images, quantizers and preprocessing"):
        merge_shards(paths, [weights], {"input_size": 96})
    weights.write_text("others")
    with pytest.raises(InputError, match="a: not shard 1 of 3"):
        merge_shards(paths, [weights], PREPROCESSING)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A function that gives the tiny experiment with so many shards of 160 images, seven batches; it stands in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    weights = tmp_path / f"data/weights/{MODEL}.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"any")
    write_images(tmp_path / "data/many", 160, seed=3)
    content = TINY_EXPERIMENT | SETTINGS_FILES | {"dataset": TINY_EXPERIMENT["dataset"] | {"evaluation": "data/many"}, "bits": BITS}

    def with_shards(shards: int):
        Path("config.yaml").write_text(json.dumps(content | {"evaluation": {"shards": shards}}))
        return Path("config.yaml")

    network = small_network()
    for module in (calibrate, evaluation_set, task):
        monkeypatch.setattr(module, "load_model", lambda *_: network)
    return with_shards


def test_merged_shards_have_the_bytes_of_one_job(experiment):
    config, images, calibration = experiment(1), Path("images.csv"), Path("calibration.safetensors")
    quantized = [Path(f"{bits}.safetensors") for bits in BITS]
    write_manifest(load_config(config).experiment.dataset, images)
    calibrate.calibrate(config, MODEL, 0, images, calibration)
    for bits, path in zip(BITS, quantized, strict=True):
        quantize(config, MODEL, "minmax", "partial", bits, images, calibration, path, Path(f"{bits}.csv"))

    def predicted(shards: int, networks: list[Path], name: str) -> list[Path]:
        paths = [Path(f"{shards}/{name}{number}") for number in range(1, shards + 1)]
        for number, path in enumerate(paths, start=1):
            predict(experiment(shards), MODEL, images, number, path, networks)
        return paths

    def result(shards: int) -> dict[str, bytes]:
        """By name, the bytes of all files that an evaluation by so many jobs ends with; 0 is one job without shards."""
        out = Path(f"results{shards}")
        evaluate(config, MODEL, images, [out / "fp32.json"], out / "fp32", shard=predicted(shards, [], "fp32"))
        outputs = [out / f"{bits}.json" for bits in BITS]
        evaluate(config, MODEL, images, outputs, out / "fp32", quantized, predicted(shards, quantized, "minmax"))
        aggregate(config, [out / "fp32.json", *outputs], images, out)
        return {path.name: path.read_bytes() for path in out.iterdir()}

    whole = result(0)
    assert json.loads(whole["fp32.json"])["images"] == 160
    assert len({whole[f"{bits}.json"] for bits in BITS}) == 2
    for shards in (1, 3, 7):
        assert result(shards) == whole


def test_no_shard_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--shard: none is given; give all files that `qhyvit predict` wrote"):
        merge_shards([], [], {})


@pytest.mark.parametrize("content", [b"no tensors", save({"labels": torch.zeros(2)}), None], ids=["text", "other-tensors", "missing"])
def test_reference_of_another_writer_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "fp32.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"fp32\.safetensors: not written by `qhyvit evaluate` without --quantized \("):
        read_reference(tmp_path / "fp32.safetensors", torch.zeros(2, 4), torch.zeros(2), [tmp_path], {})


@pytest.mark.parametrize("changed", ["labels", "weights", "images", "preprocessing"])
def test_reference_of_other_inputs_is_refused(tmp_path, changed):
    path, labels = tmp_path / "fp32.safetensors", torch.tensor([0, 1])
    inputs = [tmp_path / "weights", tmp_path / "images"]
    for file in inputs:
        file.write_text("some")
    save_reference(path, Predictions([torch.ones(2, 4)], labels, "cpu"), inputs, PREPROCESSING)
    found = torch.zeros(2, 4)
    assert torch.equal(read_reference(path, found, labels, inputs, PREPROCESSING), torch.ones(2, 4))
    if changed in ("weights", "images"):
        (tmp_path / changed).write_text("others")
    others = labels.flip(0) if changed == "labels" else labels
    with pytest.raises(InputError, match=r"fp32\.safetensors: of other weights, images or preprocessing; run `qhyvit evaluate`"):
        read_reference(path, found, others, inputs, {"input_size": 96} if changed == "preprocessing" else PREPROCESSING)
