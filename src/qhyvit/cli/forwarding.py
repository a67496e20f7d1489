"""Run a command in the fork server of the workflow's run, if there is one (see `qhyvit.cli.fork_server`)."""

import json
import os
import socket
from pathlib import Path
from typing import Any

ADDRESS = "QHYVIT_FORK_SERVER"  # environment variable: the path of the server's socket
OF_A_NETWORK = ("calibrate", "recalibrate", "quantize", "predict", "evaluate", "challenges", "sensitivity")  # they load one on a CPU
OTHERS = ("fetch", "aggregate", "figure", "table")  # they take less time than their imports
STREAMS = (1, 2)  # stdout and stderr, which the command inherits
MANY_FILES = 8

Request = dict[str, Any]


def run_in_server(arguments: list[str]) -> int | None:
    """Run the command line ``arguments`` in the server and return its exit code.

    None says that the command has to run here: without a server, for other commands, and if the server or its fork was killed on the way.
    """
    address = os.environ.get(ADDRESS)
    if not address or not arguments or arguments[0] not in OF_A_NETWORK + OTHERS:
        return None
    request: Request = {"arguments": arguments, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(address)
            send(connection, request, STREAMS)
            code = connection.recv(1)
        except OSError:
            return None
    return code[0] if code else None


def send(connection: socket.socket, request: Request, files: tuple[int, ...]) -> None:
    """Send a request and open files."""
    content = json.dumps(request).encode()
    socket.send_fds(connection, [len(content).to_bytes(4, "big")], files)
    connection.sendall(content)


def receive(connection: socket.socket) -> tuple[Request, list[int]]:
    """Receive what `send` has sent. Raises EOFError if the other side has closed the connection."""
    header, files, _, _ = socket.recv_fds(connection, 4, MANY_FILES)
    size, content = int.from_bytes(header, "big"), b""
    while len(header) == 4 and len(content) < size and (part := connection.recv(size - len(content))):
        content += part
    if len(header) < 4 or len(content) < size:
        for file in files:
            os.close(file)
        raise EOFError
    return json.loads(content), files
