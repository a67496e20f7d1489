"""Sets of images that are cut out of CIFAR-10: here out of random images, and as DVC has them."""

import json
from functools import cache
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY
from PIL import Image

from qhyvit.data import cifar10_sample
from qhyvit.data.cifar10_sample import Sample, draw_sample, write_sample
from qhyvit.data.entries import pixel_hash

FINAL_EXPERIMENT = "config/experiments/final.yaml"  # the only one that may name the final evaluation set
STORE = REPOSITORY / "dvc-store/files/md5"


@pytest.fixture(scope="module")
def splits():
    """1,400 training and 4,500 test images; 600 of the latter have the pixels of a training image or of another test image."""
    generator = np.random.default_rng(0)
    train, test = (generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8) for count in (1400, 4500))
    test[:300] = train[:300]
    test[300:450] = test[450:600]
    return (train, np.arange(1400) % 10), (test, np.arange(4500) % 10)


@pytest.fixture(scope="module")
def sample(splits) -> Sample:
    return draw_sample(*splits)


def test_sets_of_evaluation_have_equally_many_of_each_class(splits, sample):
    for chosen in (sample.evaluation, sample.final):
        assert np.bincount(splits[1][1][chosen]).tolist() == [200] * 10
    assert len(set(sample.calibration)) == 256


def test_tuning_adds_training_images_that_are_no_others(splits, sample):
    (train, _), (test, _) = splits
    more = set(sample.tuning) - set(sample.calibration)
    assert (len(sample.tuning), len(more)) == (1024, 768)
    others = {image.tobytes() for image in test} | {train[index].tobytes() for index in set(range(len(train))) - more}
    assert not others & {train[index].tobytes() for index in more}


def test_final_images_are_no_others_of_either_split(splits, sample):
    (train, _), (test, _) = splits
    assert not set(sample.final) & set(sample.evaluation)
    others = {image.tobytes() for image in train} | {test[index].tobytes() for index in set(range(len(test))) - set(sample.final)}
    final = [test[index].tobytes() for index in sample.final]
    assert len(set(final)) == len(final)
    assert not others & set(final)


def test_evaluation_and_calibration_are_drawn_as_before_there_was_a_final_set(splits, sample):
    (train, _), (_, labels) = splits
    generator = np.random.default_rng(0)
    evaluation = [generator.choice(np.flatnonzero(labels == label), 200, replace=False) for label in range(10)]
    assert sample.evaluation.tolist() == sorted(np.concatenate(evaluation))
    assert sample.calibration.tolist() == sorted(generator.choice(len(train), 256, replace=False))


def test_files_are_named_by_index_and_hold_its_pixels_and_label(splits, tmp_path, monkeypatch):
    train, test = splits
    for constant, count in {"EVALUATION_PER_CLASS": 4, "CALIBRATION_IMAGES": 8, "TUNING_IMAGES": 12}.items():
        monkeypatch.setattr(cifar10_sample, constant, count)
    sample = draw_sample(train, test)
    write_sample(train, test, tmp_path)
    sets = {"cifar10/evaluation": (test, sample.evaluation), "cifar10/calibration": (train, sample.calibration)}
    sets |= {"cifar10-tuning": (train, sample.tuning), "cifar10-final": (test, sample.final)}
    for name, ((images, labels), chosen) in sets.items():
        table = pd.read_csv(tmp_path / name / "labels.csv")
        assert [int(filename[:5]) for filename in table.filename] == chosen.tolist()
        for row in table.head(3).itertuples():
            index = int(row.filename[:5])
            np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / name / row.filename)), images[index])
            assert row.label == labels[index]


def test_sets_written_again_take_the_place_of_those_that_are_there(splits, tmp_path, monkeypatch):
    for constant, count in {"EVALUATION_PER_CLASS": 1, "CALIBRATION_IMAGES": 4, "TUNING_IMAGES": 6}.items():
        monkeypatch.setattr(cifar10_sample, constant, count)
    write_sample(*splits, tmp_path)
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "cifar10-final/stale.png").touch()
    write_sample(*splits, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def stored(md5: str) -> bytes:
    return (STORE / md5[:2] / md5[2:]).read_bytes()


@cache
def embedded(path: str) -> dict[str, bytes]:
    """Files of a folder that DVC tracks, out of the remote in the repository."""
    outs = {out["path"]: out["md5"] for out in yaml.safe_load((REPOSITORY / "data.dvc").read_text())["outs"]}
    return {file["relpath"]: stored(file["md5"]) for file in json.loads(stored(outs[path]))}


def pixels(files: dict[str, bytes], folder: str) -> list[str]:
    return [
        pixel_hash(Image.open(BytesIO(content)).convert("RGB"))
        for name, content in files.items()
        if name.startswith(folder) and name.endswith(".png")
    ]


def test_embedded_final_images_are_in_no_other_embedded_set():
    final = pixels(embedded("data/cifar10-final"), "")
    evaluation, calibration = (pixels(embedded("data/cifar10"), folder) for folder in ("evaluation/", "calibration/"))
    assert (len(final), len(evaluation), len(calibration)) == (2000, 2000, 256)
    assert len({*final, *evaluation, *calibration}) == 4256


def test_embedded_final_images_have_equally_many_of_each_class():
    labels = pd.read_csv(BytesIO(embedded("data/cifar10-final")["labels.csv"]))
    assert labels.label.value_counts().to_dict() == dict.fromkeys(range(10), 200)
    assert set(labels.filename) == embedded("data/cifar10-final").keys() - {"labels.csv"}


def test_only_the_final_experiment_names_the_final_evaluation_set():
    readers = [path for folder in ("config", "benchmarks", "workflow") for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
    naming = {str(path.relative_to(REPOSITORY)) for path in readers if b"cifar10-final" in path.read_bytes()}
    assert naming == {FINAL_EXPERIMENT}
