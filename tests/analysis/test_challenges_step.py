import json
import shutil

import pandas as pd
import pytest
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, write_data
from safetensors.torch import load_file

from qhyvit.cli.aggregate_challenges import aggregate_challenges
from qhyvit.cli.calibrate import calibrate
from qhyvit.cli.challenges import challenges
from qhyvit.cli.fetch.images import fetch_images

FILES = ("challenges.csv", "channel_ranges.csv", "norms.csv", "model.json")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A calibrated network with random weights, its challenges written twice, to ``one`` and ``two``."""
    root = tmp_path_factory.mktemp("challenges") / "project"
    shutil.copytree(REPOSITORY / "config", root / "config")
    (root / "config/config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT))
    write_data(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        config = root / "config/config.yaml"
        fetch_images(config, root / "images.csv")
        calibrate(config, "mobilevit_xxs", 0, root / "images.csv", root / "calibration.safetensors")
        for folder in ("one", "two"):
            challenges(config, "mobilevit_xxs", root / "calibration.safetensors", *(root / folder / name for name in FILES))
    return root


def test_the_same_bytes_are_written_each_time_and_nothing_else(project):
    assert {path.name for path in (project / "one").iterdir()} == set(FILES)
    assert all((project / "one" / name).read_bytes() == (project / "two" / name).read_bytes() for name in FILES)


def test_every_site_and_channel_is_there(project):
    activations, channels = (pd.read_csv(project / "one" / name) for name in FILES[:2])
    assert (activations.model == "mobilevit_xxs").all()
    assert len(activations) == 72 + 2 * 18  # inputs of the layers, two operands of each of 2 products in 2 + 4 + 3 attentions
    assert channels.groupby(["site", "operand"], sort=False).size().tolist() == activations.channels.tolist()
    assert sorted(activations.site[activations.bridge]) == sorted(
        f"stages.{stage}.1.{layer}" for stage in (2, 3, 4) for layer in ("conv_1x1", "transformer.0.attn.qkv")
    )


def test_counts_of_a_known_network(project):
    summary = json.loads((project / "one/model.json").read_text())
    weights = load_file(project / "data/weights/mobilevit_xxs.safetensors")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert summary["parameters"] == sum(tensor.numel() for name, tensor in weights.items() if not name.endswith(statistics))
    batch_norms = sum(name.endswith("running_mean") for name in weights)
    assert summary["norms"]["batch_norm"] == {"all": batch_norms, "folded": batch_norms, "bridge": 0}
    assert summary["norms"]["layer_norm"] == {"all": 2 * 9 + 3, "folded": 0, "bridge": 3}
    norms = pd.read_csv(project / "one/norms.csv")
    assert norms.norm[norms.bridge].tolist() == [f"stages.{stage}.1.transformer.0.norm1" for stage in (2, 3, 4)]
    # 4 layers and 2 products in each of 9 transformer blocks, and 3 convolutions in each of 3 inverted residuals
    assert summary["residual_site_share"] == pytest.approx((9 * 6 + 3 * 3) / 90)


def test_the_challenges_of_all_models_become_one_table(project, tmp_path):
    outputs = [tmp_path / name for name in ("challenges.csv", "table.csv", "table.md")]
    aggregate_challenges([project / "one/challenges.csv"], [project / "one/model.json"], *outputs)
    pd.testing.assert_frame_equal(pd.read_csv(outputs[0]), pd.read_csv(project / "one/challenges.csv"))
    assert pd.read_csv(outputs[1]).model.tolist() == ["mobilevit_xxs"]
    assert "| mobilevit_xxs |" in outputs[2].read_text()
