"""Run a function in a process of its own, with limits of CPU time and memory."""

import multiprocessing
import resource
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch


def run_limited(function: Callable[..., Any], *arguments: Any, seconds: float, gib: float) -> Any:
    """Return the result of a function, or the error that it raised.

    The process is forked, which saves the imports. Returns a TimeoutError after so many CPU-seconds, and a MemoryError where the process
    ends without a result otherwise, as it does if the system has no more memory for it.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, int(seconds), int(gib * 2**30), function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        return (
            TimeoutError(f"took more than {seconds:g} s") if process.exitcode == -signal.SIGXCPU else MemoryError("ended without a result")
        )
    finally:
        process.kill()
        process.join()
        receiver.close()


def _send(sender: Connection, seconds: int, size: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    torch.set_num_threads(1)
    try:
        result = function(*arguments)
    except Exception as error:  # of any kind: it is the result
        result = _plain(error)
    sender.send(result)


def _plain(error: Exception) -> Exception:
    """Return an error that can be sent: of the same kind if that is certain, without its origin."""
    kind = type(error) if type(error).__module__ in ("builtins", "qhyvit.errors") else RuntimeError
    text = str(error) if kind is type(error) else f"{type(error).__name__}: {error}"
    return kind(text)
