"""Modules of users' own networks: what they hold is read from their source, since an import runs their code."""

import ast
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from qhyvit.errors import InputError

REGISTER = "register_model"


def require_registration(module: str) -> None:
    """Raise InputError unless the Python file of ``module``, a dotted name, uses timm's `register_model`. Nothing is imported."""
    source = _source_of(module)
    if source is None:
        raise InputError(
            f"no Python file of a module named {module!r}; correct the name, install the module, or add its folder to PYTHONPATH"
        )
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"module {module!r}: {source} is no Python file ({error}); correct it") from error
    if not any(map(_registers, ast.walk(tree))):
        raise InputError(
            f"module {module!r} registers no network, so it is not imported; name the module with `from timm.models import {REGISTER}`"
        )


def _source_of(module: str) -> Path | None:
    """Return the file of a module. The packages around it are searched but not imported, which `find_spec` would do."""
    first, *others = module.split(".")
    try:
        spec = find_spec(first)
    except ValueError:  # of modules made while Python runs, such as __main__
        return None
    for name in others:
        spec = spec and PathFinder.find_spec(f"{spec.name}.{name}", spec.submodule_search_locations or [])
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).suffix == ".py" else None


def _registers(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return str(node.module).partition(".")[0] == "timm" and REGISTER in {alias.name for alias in node.names}
    return isinstance(node, ast.Attribute) and node.attr == REGISTER
