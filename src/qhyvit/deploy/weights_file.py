"""Weights of an OpenVINO file, which are a file of their own next to it."""

from pathlib import Path

from qhyvit.errors import InputError


def require_own_weights(path: Path) -> None:
    """Raise InputError if the weights of the file ``path``, an .xml that is not there yet, would replace a .bin of another origin."""
    weights = path.with_suffix(".bin")
    if path.suffix == ".xml" and weights.exists() and not path.exists():
        raise InputError(f"{weights}: there without {path}, whose weights it would become; give another name, or remove it")
