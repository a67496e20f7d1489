"""Quantization methods that come with the package, with every constant and its source: `methods.yaml`."""

from functools import cache
from pathlib import Path

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS, Method, QhyvitIntegerMethod, find_method
from qhyvit.config.targets import TargetName

METHODS_FILE = Path(__file__).with_name("methods.yaml")


def load_preset(name: str) -> Method:
    """Load the settings of the method ``name``, such as "qhyvit". Raises InputError for a name that is not in `methods.yaml`."""
    return find_method(name, _read_presets(), METHODS_FILE)


def methods_for(target: TargetName) -> list[str]:
    """Return the names of the methods that find quantizers for ``target``, without those that correct or tune them afterwards."""
    methods = {
        name: method
        for name, method in _read_presets().items()
        if isinstance(method, QhyvitIntegerMethod) and not method.changes_parameters
    }
    return [name for name, method in methods.items() if method.target == target]


@cache
def _read_presets() -> dict[str, Method]:
    return read_yaml(METHODS_FILE, METHODS)
