"""Command `inspect`, with small networks in the place of timm's."""

import json
from importlib import import_module
from io import StringIO

import pytest
from rich.console import Console
from tiny_hybrid import TinyHybrid
from torch import nn

from qhyvit.cli.inspect import inspect, show
from qhyvit.errors import InputError


class Branch(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))


@pytest.fixture
def use(monkeypatch, tmp_path):
    """A function that puts a network for images of 16 x 16 pixels in the place of all others."""
    monkeypatch.chdir(tmp_path)

    def replace_build(network):
        network.pretrained_cfg = {"input_size": (3, 16, 16)}
        monkeypatch.setattr(import_module("qhyvit.cli.inspect"), "build", lambda *_: network)

    return replace_build


def shown(description):
    text = StringIO()
    show(description, Console(file=text, width=200))
    return text.getvalue()


@pytest.fixture
def description(use, tmp_path):
    use(TinyHybrid())
    inspect("resnet18", output=tmp_path / "sites.json", svg=tmp_path / "sites.svg")
    return json.loads((tmp_path / "sites.json").read_text())


def test_description_of_a_timm_model_is_written_and_drawn(description, tmp_path):
    assert description["model"] == "resnet18"
    names = "stem depthwise expand queries matmul1 values matmul2 head"
    assert " ".join(site["name"] for site in description["sites"]) == names
    assert [block["after"] for block in description["bridge_blocks"]] == [["queries"]]
    assert (tmp_path / "sites.svg").read_text().startswith("<?xml")


def test_sites_blocks_and_totals_are_shown(description):
    text = shown(description)
    # Per image: 4 x 4 x 4 outputs of 48 terms and as many of 9, 8 x 4 x 4 of 4, two layers and a product of 16 x 8 and 16 x 16, and 2 of 8.
    assert f"{64 * (48 + 9) + 128 * 4 + 2 * 128 * 8 + 2 * 256 * 8 + 16:,} MACs at [3, 16, 16]" in text
    assert "bridge blocks" in text
    assert "There are no bridge blocks." in shown(description | {"bridge_blocks": []})
    assert "All products have quantizers" in text


def test_products_that_stay_fp32_are_shown_with_reason(description):
    product = {"name": "mixer", "operator": "aten.einsum.default", "reason": "only matmul is", "macs": 123456, "share": 0.5}
    text = shown(description | {"unquantized_products": [product]})
    (line,) = (line for line in text.splitlines() if "einsum" in line)
    assert product["operator"] in line
    assert product["reason"] in line
    assert "123,456" in line
    assert "1 product, 50 % of the multiply-accumulates, is not quantized: mixer." in text


def test_sensitivity_of_other_sites_is_refused(use, tmp_path):
    use(TinyHybrid())
    (tmp_path / "costs.csv").write_text("site,alone_kl,alone_drop,without_kl,without_drop\nother,0,0,0,0\n")
    with pytest.raises(InputError, match="its sites are not those of this network"):
        inspect("resnet18", sensitivity=tmp_path / "costs.csv")


def test_model_that_states_no_input_is_shown_at_the_size_of_imagenet(use, tmp_path):
    network = TinyHybrid()
    use(network)
    del network.pretrained_cfg
    inspect("resnet18", output=tmp_path / "sites.json")
    assert json.loads((tmp_path / "sites.json").read_text())["input"] == [3, 224, 224]


def test_untraceable_model_is_one_line(use, capfd):
    use(Branch())
    with pytest.raises(InputError, match=r"^model resnet18: Branch: torch\.export cannot trace it") as refused:
        inspect("resnet18")
    assert "\n" not in str(refused.value)
    assert capfd.readouterr().err == ""


def test_network_without_sites_says_so(use, tmp_path):
    use(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    inspect("resnet18", output=tmp_path / "sites.json")
    description = json.loads((tmp_path / "sites.json").read_text())
    assert (description["sites"], description["bridge_blocks"], description["unquantized_products"]) == ([], [], [])
    assert "resnet18: has no sites, so no method quantizes anything in it." in shown(description)
    with pytest.raises(InputError, match=r"^model resnet18: has no sites to draw; leave out --svg$"):
        inspect("resnet18", output=tmp_path / "other.json", svg=tmp_path / "sites.svg")
    assert not (tmp_path / "other.json").exists()


def test_unknown_model_is_one_line(use):
    with pytest.raises(InputError, match="resnet_18") as refused:
        inspect("resnet_18")
    assert "\n" not in str(refused.value)
