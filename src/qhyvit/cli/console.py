"""Console of the commands that print tables."""

from rich.console import Console

WIDTH = 140  # characters per line outside a terminal


def wide_console() -> Console:
    """Return a console that does not wrap tables in a log file."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console
