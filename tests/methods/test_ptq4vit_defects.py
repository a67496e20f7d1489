"""The variants of config/ptq4vit-defects.yaml: one setting of the released code each, all of which together are the released code."""

from conftest import REPOSITORY

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.presets import load_preset

VARIANTS = {name: method.quantizer_settings for name, method in read_yaml(REPOSITORY / "config/ptq4vit-defects.yaml", METHODS).items()}
METHOD, RELEASED = VARIANTS.pop("ptq4vit"), VARIANTS.pop("ptq4vit-released")


def differences(settings):
    """Settings that differ from those of the method, each defect apart."""
    found = {(key, str(value)) for key, value in settings.items() if key != "defects" and value != METHOD[key]}
    return found | {("defects", defect) for defect in settings["defects"]}


def test_both_ends_are_the_presets():
    assert load_preset("ptq4vit").quantizer_settings == METHOD
    assert load_preset("ptq4vit-released").quantizer_settings == RELEASED


def test_each_variant_has_one_difference_and_all_together_are_the_released_code():
    parts = [differences(settings) for settings in VARIANTS.values()]
    assert [len(part) for part in parts] == [1] * 5
    assert set.union(*parts) == differences(RELEASED)
