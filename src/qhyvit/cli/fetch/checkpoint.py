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
    """Convert a PyTorch checkpoint to safetensors; only tensors are unpickled.

    Of averaged weights (EMA) and others, the averaged ones are taken.
    """
    typer.echo(f"{output}: {convert_checkpoint(checkpoint, output)}")
