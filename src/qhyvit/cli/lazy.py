"""A command that imports its code when it runs, so that `qhyvit --help` imports no PyTorch and a command nothing of the others."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand


class LazyCommand(TyperCommand):
    """Stand-in for the command that a function of a module makes: its name, first line of help and panel are known without an import."""

    def __init__(self, name: str, module: str, function: str, summary: str, panel: str | None = None) -> None:
        super().__init__(name=name, help=summary, rich_help_panel=panel)
        self.module = module
        self.function = function

    def load(self) -> Any:
        """Import the module and return the command made from its function, which checks its paths first."""
        app = typer.Typer(add_completion=False)
        checked = import_module("qhyvit.cli.paths").with_checked_paths
        app.command(self.name)(checked(getattr(import_module(self.module), self.function)))
        return typer.main.get_command(app)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Let the command itself parse its arguments; typer calls the command of the context that is returned."""
        return self.load().make_context(*args, **kwargs)
