"""Command `fetch checkpoint`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.models.checkpoints import convert_checkpoint


def fetch_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="PyTorch checkpoint that holds a state dict.")],
    output: options.Output,
) -> None:
    """Convert a PyTorch checkpoint to safetensors; its pickle is read with weights_only=True.

    If the checkpoint has averaged weights (EMA), these are converted.
    """
    typer.echo(f"{output}: {convert_checkpoint(checkpoint, output)}")
