"""The variants of config/tuning-variants.yaml: each differs from `qhyvit-tuned` in what its name says."""

from conftest import REPOSITORY

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS
from qhyvit.presets import load_preset

VARIANTS = {name: method.quantizer_settings for name, method in read_yaml(REPOSITORY / "config/tuning-variants.yaml", METHODS).items()}
PRESETS = {name: VARIANTS.pop(name) for name in ("qhyvit", "qhyvit-cv", "qhyvit-corrected", "qhyvit-tuned")}


def differences(settings, other, prefix=""):
    """Keys, with those that they are in, of which two settings have other values."""
    found = set()
    for key in settings.keys() | other.keys():
        pair = settings.get(key), other.get(key)
        if all(isinstance(value, dict) for value in pair):
            found |= differences(*pair, f"{prefix}{key}.")
        elif pair[0] != pair[1]:
            found.add(prefix + key)
    return found


def test_search_correction_and_tuning_are_the_presets():
    for name, settings in PRESETS.items():
        assert settings == load_preset(name).quantizer_settings


def test_each_variant_differs_in_what_its_name_says():
    rates = "tuning.learning_rates."
    found = {name: differences(settings, PRESETS["qhyvit-tuned"]) for name, settings in VARIANTS.items()}
    assert found == {
        "bias-corrected": {"correction.slope", "tuning"},
        "not-cross-validated": {"cross_validated"},
        "not-corrected": {"correction"},
        "scales-alone": {rates + "biases", rates + "weights"},
        "biases-alone": {rates + "activation_scales", rates + "weight_scales", rates + "weights"},
        "no-weights": {rates + "weights"},
        "images-32": {"correction.images", "tuning.images"},  # the paper's, of which there are no more
        "images-256": {"tuning.images"},
        "steps-64": {"tuning.steps"},
    }
