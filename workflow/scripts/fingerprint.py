"""Fingerprints of code, by which Snakemake notices that a rule's code has changed.

Comments, docstrings, help texts of options and formatting are no part of a fingerprint: better prose costs no run.
"""

import ast
import sys
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import grimp

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class CodeFingerprints:
    """Fingerprints of modules of a package, each with all modules of that package that it imports.

    Modules ``by_value``, and the modules below them, are left out, with what only they import: a rule states as params what it reads there.
    An import by a computed name is not seen: a rule states such modules itself. Of a module outside the package, such as that of a user's
    own network, its own code counts alone.
    """

    def __init__(self, package: str, by_value: Iterable[str] = ()):
        self.package = package
        self.root = _folder(package)
        self.imports = grimp.build_graph(package, cache_dir=None)
        for module in by_value:
            for name in (*self.imports.find_descendants(module), module):
                self.imports.remove_module(name)

    @cache  # noqa: B019  # one object per plan, which asks for each job
    def of(self, *modules: str) -> str:
        """Return the fingerprint of ``modules`` and of all modules that they import, directly or not, as 16 hexadecimal digits.

        Raises ModuleNotFoundError for a module outside the package that is not installed.
        """
        inside = [module for module in modules if self._has(module)]
        used = set(modules).union(*map(self.imports.find_upstream_modules, inside))
        digests = [f"{module} {self._digest(module)}" for module in sorted(used)]
        return sha256("\n".join(digests).encode()).hexdigest()[:16]

    @cache  # noqa: B019
    def _digest(self, module: str) -> str:
        return sha256(syntax(self._source(module).read_text()).encode()).hexdigest()

    def _source(self, module: str) -> Path:
        if not self._has(module):
            return _outside(module)
        path = self.root.joinpath(*module.split(".")[1:])
        return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")

    def _has(self, module: str) -> bool:
        return module.partition(".")[0] == self.package


def syntax(source: str) -> str:
    """Return the syntax tree of Python code as text, without docstrings and without arguments named ``help``."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if isinstance(node, ast.Call):
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "help"]
    return _dumped(tree)


def _dumped(tree: ast.AST) -> str:
    """Return a syntax tree as text, as Python 3.11 writes it: later versions have more fields, and leave out those that are empty."""
    whole = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **whole).replace(", type_params=[]", "")


def _outside(module: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return Path(spec.origin)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])
