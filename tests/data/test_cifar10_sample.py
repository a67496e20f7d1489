import numpy as np
import pandas as pd
from PIL import Image

from qhyvit.data.cifar10_sample import write_sample


def test_the_sample_is_balanced_and_names_where_it_comes_from(tmp_path):
    generator = np.random.default_rng(0)
    train, test = ((generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), np.arange(n) % 10) for n in (300, 2100))
    write_sample(train, test, tmp_path)
    evaluation = pd.read_csv(tmp_path / "evaluation/labels.csv")
    assert evaluation.label.value_counts().tolist() == [200] * 10
    calibration = pd.read_csv(tmp_path / "calibration/labels.csv")
    assert len(set(calibration.filename)) == 256
    for row in evaluation.head(3).itertuples():
        index = int(row.filename[:5])
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "evaluation" / row.filename)), test[0][index])
        assert row.label == test[1][index]
