"""Files that hold no calibration."""

import pytest
import torch
from safetensors.torch import save

from qhyvit.calibration.serialization import load_output_statistics, load_recalibration, load_statistics
from qhyvit.errors import InputError


@pytest.mark.parametrize("content", [b"no tensors", save({"weight": torch.zeros(2)}), None], ids=["text", "weights", "missing"])
@pytest.mark.parametrize(
    ("load", "writer"),
    [(load_statistics, "calibrate"), (load_output_statistics, "calibrate"), (load_recalibration, "recalibrate")],
)
def test_file_of_another_kind_is_refused_with_its_writer(tmp_path, content, load, writer):
    path = tmp_path / "wrong.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"wrong\.safetensors: not written by `qhyvit {writer}` \(.*; give a file that is"):
        load(path)
