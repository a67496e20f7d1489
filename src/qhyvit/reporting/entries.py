"""Entries of the registry: one kind for tables, one for figures."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from qhyvit.config.loading import Config
from qhyvit.own_files import of_another_kind
from qhyvit.reporting.sources import Sources

if TYPE_CHECKING:  # the workflow reads the registry at each start, and needs neither pandas nor matplotlib
    from matplotlib.figure import Figure

    from qhyvit.reporting.write import Table

Category = Literal["Tables", "Figures", "Deployment", "Challenges", "Timings", "Provenance"]
Instance = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One table or figure of a report. Wildcards in braces in ``title`` and ``caption`` stand for the values of an instance."""

    name: str
    title: str
    caption: str
    category: Category
    inputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TableEntry(Entry):
    """Table that `qhyvit table NAME` writes; the module of its name in `qhyvit.reporting.tables` makes it."""

    category: Category = "Tables"
    folder: str = "tables"
    formats: tuple[str, ...] = ("csv", "md")
    available: Callable[[Config], bool] = lambda _: True

    @property
    def module(self) -> str:
        """Full name of the module that makes the table."""
        return f"qhyvit.reporting.tables.{self.name}"

    @property
    def path(self) -> str:
        """Path under the folder of reports, without suffix."""
        return str(PurePosixPath(self.folder, self.name))

    def make(self, sources: Sources) -> "Table":
        """Make the table. Raises InputError for inputs that are missing or invalid."""
        with _files_of_its_kinds(self.name, sources):
            table: Table = import_module(self.module).make(sources)
        return table


@dataclass(frozen=True, kw_only=True)
class FigureEntry(Entry):
    """Figure that `qhyvit figure NAME` writes, one per value of each wildcard in ``per``.

    The module of its name in `qhyvit.reporting.figures` makes it. ``heading`` is the template of its ``--title``.
    """

    category: Category = "Figures"
    per: tuple[str, ...] = ()  # of mode, model, method, bits
    folder: str = "figures"
    heading: str = ""
    available: Callable[[Config, Instance], bool] = lambda *_: True

    @property
    def module(self) -> str:
        """Full name of the module that makes the figure."""
        return f"qhyvit.reporting.figures.{self.name}"

    @property
    def path(self) -> str:
        """Path under the folder of reports, without suffix and with its wildcards, as in ``figures/drops-{mode}``."""
        return str(PurePosixPath(self.folder, "-".join([self.name, *(f"{{{wildcard}}}" for wildcard in self.per)])))

    def instances(self, config: Config) -> list[dict[str, str]]:
        """Return the values of the wildcards for each figure that the experiment has."""
        values = {
            "mode": modes(config),
            "model": config.experiment.models,
            "method": config.experiment.sensitivity.methods,
            "bits": config.experiment.sensitivity.bits,
        }
        every = [dict(zip(self.per, chosen, strict=True)) for chosen in product(*(values[name] for name in self.per))]
        return [instance for instance in every if self.available(config, instance)]

    def make(self, sources: Sources) -> "Figure":
        """Make the figure. Raises InputError for inputs that are missing or invalid."""
        with _files_of_its_kinds(self.name, sources):
            figure: Figure = import_module(self.module).make(sources)
        return figure


def _files_of_its_kinds(name: str, sources: Sources) -> AbstractContextManager[None]:
    """Raise InputError for all errors in the block by which files of ``sources`` show that they are of another kind."""
    given = ", ".join(f"{kind}={path}" for kind, paths in sources.paths.items() for path in paths[:1])
    return of_another_kind(lambda said: f"{name}: cannot be made from {given} ({said}); give each kind of input its own files")


def modes(config: Config) -> list[str]:
    """Return the modes of the experiment that at least one of its methods defines."""
    return [mode for mode in config.experiment.modes if any(mode in method.modes for method in config.methods.values())]
