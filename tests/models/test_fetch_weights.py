import pytest
import yaml
from conftest import SETTINGS_FILES, TINY_EXPERIMENT
from safetensors.torch import save_file

from qhyvit.cli.fetch import weights
from qhyvit.config.loading import load_config
from qhyvit.config.models import HubSource
from qhyvit.errors import InputError
from qhyvit.models.zoo import build


@pytest.fixture
def config(tmp_path, monkeypatch):
    """An experiment whose weights nothing tracks."""
    monkeypatch.chdir(tmp_path)
    changes = {"models": ["mobilevit_xxs", "mobile_former_26m"], "weights": "weights/{model}.safetensors"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TINY_EXPERIMENT | SETTINGS_FILES | changes))
    return tmp_path / "config.yaml"


def test_weights_with_a_source_are_downloaded_once(config, tmp_path, monkeypatch):
    downloads = []

    def download(source, path):
        downloads.append((source, path))
        path.parent.mkdir()
        model = build(load_config(config).models["mobilevit_xxs"], classes=2)
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)

    monkeypatch.setattr(weights, "download", download)
    for receipt in ("first.json", "second.json"):
        weights.fetch_weights(config, "mobilevit_xxs", tmp_path / receipt)
    assert [(source, str(path)) for source, path in downloads] == [
        (HubSource(hub="timm/mobilevit_xxs.cvnets_in1k"), "weights/mobilevit_xxs.safetensors")
    ]
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()


def test_receipt_is_another_one_with_other_settings_of_the_network(config, tmp_path):
    content, models = yaml.safe_load(config.read_text()), tmp_path / "models.yaml"
    config.write_text(yaml.safe_dump(content | {"models": ["net"], "models_file": str(models)}))
    models.write_text(yaml.safe_dump({"net": {"family": "Tiny", "constructor": "mobilevit_xxs"}}))
    (tmp_path / "weights").mkdir()
    network = build(load_config(config).models["net"], classes=2)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "weights/net.safetensors")
    receipts = []
    for act_layer in ("silu", "gelu", "silu"):
        arguments = {"act_layer": act_layer}
        models.write_text(yaml.safe_dump({"net": {"family": "Tiny", "constructor": "mobilevit_xxs", "arguments": arguments}}))
        weights.fetch_weights(config, "net", tmp_path / "receipt.json")
        receipts.append((tmp_path / "receipt.json").read_text())
    assert receipts[0] == receipts[2] != receipts[1]


def test_weights_without_a_source_must_be_there(config, tmp_path):
    with pytest.raises(
        InputError, match=r"weights/mobile_former_26m\.safetensors: no such weights, and .* no source for mobile_former_26m"
    ):
        weights.fetch_weights(config, "mobile_former_26m", tmp_path / "receipt.json")
    assert not (tmp_path / "receipt.json").exists()
