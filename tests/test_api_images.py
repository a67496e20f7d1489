"""Images of the Python API that are given as batches, and those that are read."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import qhyvit
from qhyvit.data.unlabelled_folder import draw


class Net(nn.Sequential):
    """A linear layer, with what models of timm state of their images."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(192, 5))
        self.pretrained_cfg = {"input_size": (3, 8, 8), "mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0, "interpolation": "bilinear"}


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8)


@pytest.mark.parametrize(
    "give",
    [
        lambda images: DataLoader(list(images), batch_size=2, collate_fn=list),
        lambda images: [images.split(2)],
        lambda images: [tuple(images[:2])],
    ],
    ids=["loader", "batches", "tuple"],
)
def test_batch_that_is_a_list_of_images_is_refused(images, give):
    said = r"^images: a batch is a list of images, of which the others would be lost; stack the images of a batch$"
    with pytest.raises(qhyvit.InputError, match=said):
        qhyvit.calibrate(Net(), give(images))


@pytest.mark.parametrize("labels", [torch.zeros(6), torch.zeros(6, 5), torch.zeros(6, 1, 1, dtype=torch.int64), ["name"] * 6, {"id": 1}])
def test_labels_of_a_batch_are_no_images(images, labels):
    assert torch.equal(torch.cat(qhyvit.calibrate(Net(), [[images, labels]]).batches), images)


def counted(items, read):
    for item in items:
        read.append(item)
        yield item


@pytest.mark.parametrize(
    "batches", [lambda images: list(images), lambda images: [images[:0], images[:4], images[4:]]], ids=["images", "batches"]
)
def test_inspect_reads_no_more_than_the_first_image_or_its_batch(images, batches):
    read = []
    assert qhyvit.inspect(Net(), counted(batches(images), read)) == qhyvit.inspect(Net(), images)
    assert torch.equal(read[-1].reshape(-1, 3, 8, 8)[0], images[0])


def test_inspect_reads_one_file_of_a_folder(images, tmp_path):
    first, second = draw([tmp_path / "a.png", tmp_path / "b.png"], 2, seed=0)
    Image.new("RGB", (8, 8)).save(first)
    second.write_text("no image")
    assert qhyvit.inspect(Net(), tmp_path) == qhyvit.inspect(Net(), images)


@pytest.mark.parametrize("none", [[], torch.empty(0, 3, 8, 8), [torch.empty(0, 3, 8, 8)]], ids=["list", "tensor", "batch"])
def test_inspect_needs_an_image(none):
    with pytest.raises(qhyvit.InputError, match=r"^images: there are none; give at least one image"):
        qhyvit.inspect(Net(), none)


def test_batch_without_anything_and_seed_without_an_integer_are_named(images):
    with pytest.raises(qhyvit.InputError, match=r"^images: expected float tensors .*, not NoneType; "):
        qhyvit.calibrate(Net(), [[]])
    with pytest.raises(qhyvit.InputError, match=r"^seed: 0\.5 is no integer; give one$"):
        qhyvit.calibrate(Net(), images, seed=0.5)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_named(images, seed):
    with pytest.raises(qhyvit.InputError, match=rf"^seed: {seed} is outside 0 to \d+; give a number in this range$"):
        qhyvit.calibrate(Net(), images, seed=seed)


def test_seed_of_numpy_is_a_seed(images):
    assert qhyvit.calibrate(Net(), images, seed=np.int64(3)).seed == 3
