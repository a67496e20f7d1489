"""Progress bars."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich import progress
from rich.console import Console

T = TypeVar("T")


def track(items: Sequence[T] | Iterable[T], description: str) -> Iterable[T]:
    """Yield ``items``, with a progress bar on stderr if that is a terminal, and silently otherwise."""
    console = Console(stderr=True)
    return progress.track(items, description, console=console, disable=not console.is_terminal)


@contextmanager
def steps_with_note(total: int, description: str) -> Iterator[Callable[[int, str], None]]:
    """Yield a function that shows the number of steps that are done, and a note, on a progress bar as that of `track`."""
    console = Console(stderr=True)
    columns = (*progress.Progress.get_default_columns(), progress.TextColumn("{task.fields[note]}"))
    with progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)
