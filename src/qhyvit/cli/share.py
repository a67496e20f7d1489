"""Command `share`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.data import sharing
from qhyvit.data.dvc import dvc_file
from qhyvit.data.private_remote import CONFIG


def share(paths: Annotated[list[Path], typer.Argument(help="Files or folders below the folder imagenet.")]) -> None:
    """Track images or weights in the folder imagenet by hash, and push them to its remote, for other machines to pull."""
    remote = sharing.share(paths)
    committed = " ".join(str(path) for path in (CONFIG, *map(dvc_file, paths)))
    typer.echo(f"pushed to {remote}; commit {committed}\nImageNet may not be redistributed: keep this remote private.")
