"""Inputs of a table or figure, by kind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qhyvit.config.loading import Config
from qhyvit.errors import InputError
from qhyvit.reporting.catalog import MethodCatalog


@dataclass(frozen=True)
class Sources:
    """Files of each kind that the registry names, the methods in their order, and the options of one figure.

    ``mode`` and ``title`` belong to figures that the registry lists per mode or with a heading. ``config`` is the experiment, which
    few tables need.
    """

    methods: MethodCatalog
    paths: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    mode: str = ""
    title: str = ""
    config: Config | None = None

    def all(self, kind: str) -> list[Path]:
        """Return the files of ``kind``. Raises InputError if there are none."""
        paths = list(self.paths.get(kind, ()))
        if not paths:
            raise InputError(f"no input of kind {kind!r}; add `--input {kind}=PATH`")
        return paths

    def one(self, kind: str) -> Path:
        """Return the file of ``kind``. Raises InputError unless there is exactly one."""
        paths = self.all(kind)
        if len(paths) > 1:
            raise InputError(f"{len(paths)} inputs of kind {kind!r}; give one")
        return paths[0]

    def experiment(self) -> Config:
        """Return the experiment. Raises InputError if there is none."""
        if self.config is None:
            raise InputError("no experiment; add `--config FILE`, or set QHYVIT_CONFIG")
        return self.config
