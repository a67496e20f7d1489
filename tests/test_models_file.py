"""Entries of a models file: a module runs only if it registers a network, and no argument loads weights."""

import sys
from types import ModuleType

import pytest
import yaml
from conftest import TINY_EXPERIMENT

from qhyvit.config.loading import load_config, read_yaml
from qhyvit.config.models import MODELS, Model, find_model
from qhyvit.errors import InputError


def find(module: str) -> Model:
    return find_model("own", {"own": Model(family="Own", constructor="own", module=module)}, "models.yaml")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules that Python finds, in a package that must not be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets/__init__.py").write_text("raise AssertionError('imported')")
    return tmp_path / "own_nets"


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels_than_three_are_refused_with_the_experiment(channels, tmp_path):
    entry = {"family": "ResNet", "constructor": "resnet18", "arguments": {"in_chans": channels}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"own": entry}))
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(TINY_EXPERIMENT | {"models": ["own"], "models_file": str(tmp_path / "models.yaml")})
    )
    said = rf"models\.yaml: own: arguments\.in_chans: {channels}: images of an experiment have 3 channels, red, green and blue; remove it"
    with pytest.raises(InputError, match=said):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("module", ["own_network", "own_package.network", "own_nets.missing", "own_nets.none.missing", "sys", "made"])
def test_module_without_a_python_file_is_named(folder, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "made", ModuleType("made"))
    with pytest.raises(InputError, match=rf"^models\.yaml: own: no Python file of a module named '{module}'; .* PYTHONPATH$"):
        find(module)


@pytest.mark.parametrize(
    "source",
    [
        "from timm.models import build_model_with_cfg, register_model",
        "from timm.models.registry import register_model as register",
        "import timm\n@timm.models.register_model\ndef own(): ...",
    ],
)
def test_module_that_registers_a_network_is_found_without_an_import(folder, source):
    (folder / "network.py").write_text(source)
    assert find("own_nets.network").module == "own_nets.network"
    assert "own_nets" not in sys.modules


@pytest.mark.parametrize("source", ["import timm  # register_model", "from mine import register_model", "'register_model'", ""])
def test_module_that_registers_no_network_is_not_imported(folder, source):
    (folder / "network.py").write_text(source)
    with pytest.raises(InputError, match=r"own: module 'own_nets\.network' registers no network, so it is not imported; name the module"):
        find("own_nets.network")


@pytest.mark.parametrize("module", ["antigravity", "os", "json.decoder"])
def test_module_of_the_standard_library_is_not_imported(module):
    with pytest.raises(InputError, match=r"registers no network, so it is not imported|no Python file"):
        find(module)


@pytest.mark.parametrize("content", [b"def (:", b"\xff\xfe", b"a\0b"])
def test_module_that_is_no_python_is_named(folder, content):
    (folder / "network.py").write_bytes(content)
    with pytest.raises(InputError, match=r"own: module 'own_nets\.network': .*network\.py is no Python file \(.*\); correct it"):
        find("own_nets.network")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module": ".network"}, r"own\.module: .*pattern.*found '\.network'"),
        ({"module": "a; b"}, r"own\.module: .*pattern.*found 'a; b'"),
        ({"constructor": "hf-hub:someone/net"}, r"own\.constructor: .*pattern.*found 'hf-hub:someone/net'"),
        ({"constructor": "local-dir:net"}, r"own\.constructor: .*pattern"),
        ({"arguments": {"checkpoint_path": "net.pth"}}, r"own\.arguments: checkpoint_path: not allowed, as it may load weights; remove it"),
        ({"arguments": {"pretrained": True}}, r"own\.arguments: pretrained: not allowed"),
        ({"arguments": {"pretrained_cfg": {"file": "net.pth"}}}, r"own\.arguments: pretrained_cfg: not allowed"),
        ({"arguments": {"pretrained_cfg_overlay": {"url": "https://x"}}}, r"own\.arguments: pretrained_cfg_overlay\.url: not allowed"),
        ({"arguments": {"pretrained_cfg_overlay": {"file": "x", "interpolation": "bilinear"}}}, r"pretrained_cfg_overlay\.file: not"),
        ({"arguments": {"pretrained_cfg_overlay": "x"}}, r"own\.arguments: pretrained_cfg_overlay: not allowed"),
    ],
)
def test_entry_that_may_load_or_run_something_else_is_refused(tmp_path, changes, message):
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump({"own": {"family": "Own", "constructor": "resnet18"} | changes}))
    with pytest.raises(InputError, match=rf"models\.yaml: .*{message}") as error:
        read_yaml(path, MODELS)
    assert "\n" not in str(error.value)


def test_interpolation_may_be_laid_over(tmp_path):
    overlay = {"pretrained_cfg_overlay": {"interpolation": "bilinear"}}
    assert Model(family="", constructor="resnet18", arguments=overlay).arguments == overlay


def test_full_name_of_timm_is_a_model():
    assert find_model("resnet18.a1_in1k", {}, "models.yaml") == Model(family="resnet", constructor="resnet18.a1_in1k")


@pytest.mark.parametrize("name", ["resnet18.", "resnet18.a.b", "resnet18.a-b", "hf-hub:timm/resnet18", "local-dir:net", ""])
def test_other_names_of_timm_are_no_models(name):
    with pytest.raises(InputError, match=rf"unknown model '{name}'; neither models\.yaml nor timm has it"):
        find_model(name, {}, "models.yaml")


def test_unknown_name_without_a_models_file_has_advice():
    with pytest.raises(InputError, match=r"unknown model '0'; neither models\.yaml nor timm has it: correct the name\. To add a network"):
        find_model("0", {}, "models.yaml")
