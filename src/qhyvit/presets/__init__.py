"""Quantization methods that come with the package, with every constant and its source: `methods.yaml`."""

from functools import cache
from pathlib import Path

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS, Method, find_method

METHODS_FILE = Path(__file__).with_name("methods.yaml")


def load_preset(name: str) -> Method:
    """Load the settings of the method ``name``, such as "qhyvit". Raises InputError for a name that is not in `methods.yaml`."""
    return find_method(name, _read_presets(), METHODS_FILE)


@cache
def _read_presets() -> dict[str, Method]:
    return read_yaml(METHODS_FILE, METHODS)
