"""Progress bars."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich import progress
from rich.console import Console

T = TypeVar("T")


def track(items: Sequence[T] | Iterable[T], description: str) -> Iterable[T]:
    """Yield ``items``, with a progress bar on stderr if that is a terminal, and silently otherwise."""
    console = Console(stderr=True)
    return progress.track(items, description, console=console, disable=not console.is_terminal)
