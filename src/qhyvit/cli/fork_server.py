"""Fork server: commands of a run in forks of processes that have imported what they need and loaded the network.

Imports and tracing take most of the time of a short command. The server has a process per network, which loads it once, and one for the
commands that need none. Each command is a fork of such a process, so it computes what it would compute alone. `qhyvit.cli.forwarding`
sends the commands. The server ends with the process that started it.
"""

import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from select import select
from threading import Thread
from typing import NoReturn

from qhyvit.cli.forwarding import OF_A_NETWORK, OTHERS, Request, receive, send

MODEL = "--model"
MOST_PROCESSES = max(8, os.cpu_count() or 1)  # each has a network in memory; the one that has waited longest for a command ends
SECONDS_TO_CLEAN_UP = 10

Network = tuple[str, str]  # configuration file and model


def main(listener: socket.socket, parent: int) -> None:
    """Serve the connections of ``listener`` until ``parent`` is no longer the parent of this process."""
    import_what_commands_need()
    processes: dict[Network | None, socket.socket] = {}
    while os.getppid() == parent:
        if not select([listener], [], [], 1)[0]:
            continue
        connection, _ = listener.accept()
        with connection:
            try:
                request, streams = receive(connection)
            except (EOFError, OSError, ValueError):
                continue
            network = _network_of(request)
            process = processes.pop(network, None)
            if process is None:
                process = _start(network, request["folder"], [listener, connection, *processes.values()], streams)
            try:
                send(process, request, (connection.fileno(), *streams))
                processes[network] = process  # as the last
            except OSError:  # it was killed, and the command runs elsewhere
                process.close()
            for stream in streams:
                os.close(stream)
        if len(processes) > MOST_PROCESSES:
            processes.pop(next(iter(processes))).close()


def import_what_commands_need() -> None:
    """Import the modules of all commands, and keep PyTorch from starting threads, which forks would not have."""
    import torch

    from qhyvit.cli import FETCH
    from qhyvit.reporting.registry import FIGURES, TABLES

    commands = [*OF_A_NETWORK, *OTHERS, *(f"fetch.{name}" for name in FETCH)]
    of_commands = [f"qhyvit.cli.{command}" for command in commands]
    of_reports = [entry.module for entries in (FIGURES, TABLES) for entry in entries.values()]
    for module in of_commands + of_reports:
        import_module(module)
    torch.set_num_threads(1)


def _network_of(request: Request) -> Network | None:
    """Return the network that a command loads, if it loads one."""
    arguments = request["arguments"]
    if arguments[0] not in OF_A_NETWORK or MODEL not in arguments[:-1]:
        return None
    return request["environment"].get("QHYVIT_CONFIG", ""), arguments[arguments.index(MODEL) + 1]


def _start(network: Network | None, folder: str, of_server: list[socket.socket], streams: list[int]) -> socket.socket:
    """Fork the process of a network, or of the commands without one, and return the socket that takes its requests.

    The process has neither the sockets ``of_server`` nor the ``streams`` of the first client, whose pipes end with its command.
    """
    here, there = socket.socketpair()
    if os.fork() == 0:
        for inherited in (here, *of_server):
            inherited.close()
        for stream in streams:
            os.close(stream)
        _end(lambda requests: _serve(network, folder, requests), there)
    there.close()
    return here


def _serve(network: Network | None, folder: str, requests: socket.socket) -> None:
    """Load the network, if there is one, and run each command in a fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system removes forks that have ended
    os.chdir(folder)
    if network:
        _load(*network)
    while True:
        try:
            request, files = receive(requests)
        except EOFError:
            return
        if os.fork() == 0:
            requests.close()
            _run(request, *files)
        for file in files:
            os.close(file)


def _load(config: str, model: str) -> None:
    """Load the network for the forks. If it cannot be loaded, each command says why."""
    from qhyvit.cli.experiment import load_experiment
    from qhyvit.models.loading import preload

    with suppress(Exception):
        preload(load_experiment(Path(config), model), model)


def _run(request: Request, connection: int, *streams: int) -> NoReturn:
    """Run the command of a request in its folder and environment, and send its exit code."""
    from qhyvit.cli import run

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["qhyvit", *request["arguments"]]
    client = socket.socket(fileno=connection)
    Thread(target=_stop_without, args=(client,), daemon=True).start()

    os.chdir(request["folder"])
    _end(lambda _: run(), client)


def _stop_without(client: socket.socket) -> None:
    """Interrupt this process when its client is gone."""
    client.recv(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(SECONDS_TO_CLEAN_UP)
    os._exit(1)


def _end(function: Callable[[socket.socket], None], client: socket.socket) -> NoReturn:
    """Call ``function`` with ``client``, send the exit code there, and end this fork without what its parent does at its end."""
    code = 1
    try:
        function(client)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the client ends when it has the code
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # what the command said is lost
                code = code or 1
        with suppress(OSError):
            client.sendall(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    own = socket.socket(fileno=int(sys.argv[1]))
    main(own, int(sys.argv[2]))
    shutil.rmtree(Path(own.getsockname()).parent, ignore_errors=True)
