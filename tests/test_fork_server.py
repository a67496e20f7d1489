"""Commands that run in forks of a server: as they would alone, and nothing is lost when one of the processes is killed."""

import os
import signal
import socket
import sys
import time
from pathlib import Path
from select import select

import pytest

from qhyvit import cli
from qhyvit.cli import fork_server, forwarding
from qhyvit.cli.forwarding import ADDRESS, run_in_server

SECONDS = 20  # that anything may take
MESSAGE = "said by the command"


def act() -> None:
    """Stand in for a command: do what the first argument says."""
    action, *arguments = sys.argv[2:]
    if action == "say":
        print(Path.cwd().name, os.environ["WORD"])
        print(MESSAGE, file=sys.stderr)
    elif action == "exit":
        raise SystemExit(int(arguments[0]))
    elif action == "exit-unheard":
        sys.stdout = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
        print(MESSAGE)
        raise SystemExit(int(arguments[0]))
    elif action == "refuse":
        raise SystemExit(MESSAGE)
    elif action == "fail":
        raise RuntimeError(MESSAGE)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "kill-network":
        os.kill(os.getppid(), signal.SIGKILL)
    elif action == "wait":
        Path("waiting").write_text(str(os.getpid()))
        try:
            time.sleep(SECONDS)
        except KeyboardInterrupt:
            Path("cleaned").touch()


def fork(function, *arguments) -> int:
    """Call a function in a fork of this process, and return its number."""
    number = os.fork()
    if number == 0:
        try:
            function(*arguments)
        finally:
            os._exit(0)
    return number


def end(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def until(condition) -> None:
    """Wait until a condition holds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + SECONDS
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that starts a server for the parent process of a number, whose commands are those of `act`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fork_server, "import_what_commands_need", lambda: None)
    monkeypatch.setattr(fork_server, "_load", lambda *_: None)
    monkeypatch.setattr(cli, "run", act)
    started = []

    def start_server() -> int:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("server")
            listener.listen()
            started.append(fork(lambda: fork_server.main(listener, os.getppid())))
        return started[-1]

    monkeypatch.setenv(ADDRESS, "server")
    yield start_server
    for process in started:
        end(process)


def test_command_has_the_folder_the_environment_and_the_streams_of_its_client(start, tmp_path, monkeypatch, capfd):
    start()
    monkeypatch.setenv("WORD", "first")
    assert run_in_server(["quantize", "say"]) == 0
    assert capfd.readouterr() == (f"{tmp_path.name} first\n", f"{MESSAGE}\n")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    monkeypatch.setenv("WORD", "second")
    monkeypatch.setenv(ADDRESS, "../server")
    assert run_in_server(["quantize", "say"]) == 0
    assert capfd.readouterr().out == "elsewhere second\n"


@pytest.mark.parametrize(("action", "code"), [(["exit", "0"], 0), (["exit", "2"], 2), (["refuse"], 1), (["fail"], 1)])
def test_exit_code_is_that_of_the_command(start, action, code, capfd):
    start()
    assert run_in_server(["evaluate", *action]) == code
    assert ("RuntimeError: said by the command" in capfd.readouterr().err) == (action == ["fail"])


@pytest.mark.parametrize(("code", "seen"), [("2", 2), ("0", 1)])
def test_command_whose_output_is_lost_fails_with_its_own_code_if_it_has_one(start, code, seen):
    start()
    assert run_in_server(["evaluate", "exit-unheard", code]) == seen


def test_output_of_the_first_client_of_a_network_ends_with_its_command(start, monkeypatch):
    start()
    reader, writer = os.pipe()
    monkeypatch.setattr(forwarding, "STREAMS", (writer, 2))
    assert run_in_server(["quantize", "exit", "0"]) == 0
    os.close(writer)
    assert select([reader], [], [], SECONDS)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_each_network_is_loaded_once_and_none_for_other_commands(start, monkeypatch):
    def load(config, model):
        with Path("loaded").open("a") as file:
            file.write(f"{config} {model}\n")

    monkeypatch.setattr(fork_server, "_load", load)
    monkeypatch.setenv("QHYVIT_CONFIG", "some.yaml")
    start()
    for _ in range(2):
        for command in (
            ["figure", "exit", "4", "--model", "of-a-figure"],
            ["quantize", "exit", "4", "--model", "first"],
            ["fetch", "exit", "4"],
        ):
            assert run_in_server(command) == 4
    assert run_in_server(["evaluate", "exit", "4", "--model", "second"]) == 4
    assert Path("loaded").read_text() == "some.yaml first\nsome.yaml second\n"


def test_process_that_has_waited_longest_for_a_command_makes_room(start, monkeypatch):
    def load(config, model):
        with Path("loaded").open("a") as file:
            file.write(f"{model} ")

    monkeypatch.setattr(fork_server, "_load", load)
    monkeypatch.setattr(fork_server, "MOST_PROCESSES", 2)
    start()
    for model in ("first", "second", "first", "third", "first", "second"):
        assert run_in_server(["evaluate", "exit", "4", "--model", model]) == 4
    assert Path("loaded").read_text().split() == ["first", "second", "third", "second"]


def test_command_whose_process_is_killed_is_left_to_the_client(start):
    start()
    assert run_in_server(["quantize", "kill"]) is None
    assert run_in_server(["quantize", "exit", "3"]) == 3


def test_killed_process_of_a_network_is_replaced(start):
    start()
    assert run_in_server(["quantize", "kill-network"]) == 0
    until(lambda: run_in_server(["quantize", "exit", "3"]) == 3)


def test_command_of_a_killed_client_is_interrupted(start):
    start()
    client = fork(run_in_server, ["quantize", "wait"])
    until(lambda: Path("waiting").exists() and Path("waiting").read_text())
    end(client)
    until(Path("cleaned").exists)
    until(lambda: not is_alive(int(Path("waiting").read_text())))


def test_killed_server_leaves_commands_to_their_clients(start):
    server = start()
    os.kill(server, signal.SIGKILL)
    until(lambda: not is_alive(server))
    assert run_in_server(["quantize", "exit", "0"]) is None


def test_streams_of_a_client_that_is_killed_while_it_sends_are_closed():
    client, server = socket.socketpair()
    reader, writer = os.pipe()
    socket.send_fds(client, [(100).to_bytes(4, "big")], [writer])
    os.close(writer)
    client.close()
    with server, pytest.raises(EOFError):
        forwarding.receive(server)
    assert select([reader], [], [], SECONDS)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_server_ends_with_the_process_that_started_it(start, tmp_path):
    def start_and_wait():
        (tmp_path / "server-number").write_text(str(start()))
        time.sleep(SECONDS)

    parent = fork(start_and_wait)
    until(lambda: (tmp_path / "server-number").exists() and run_in_server(["quantize", "exit", "0"]) == 0)
    server = int((tmp_path / "server-number").read_text())
    assert is_alive(server)
    end(parent)
    until(lambda: not is_alive(server))


@pytest.mark.parametrize(
    ("address", "arguments"), [(None, ["quantize"]), ("nowhere", ["quantize"]), ("server", ["inspect"]), ("server", [])]
)
def test_without_a_server_or_for_other_commands_the_client_runs_it(start, monkeypatch, address, arguments):
    start()
    if address is None:
        monkeypatch.delenv(ADDRESS)
    else:
        monkeypatch.setenv(ADDRESS, address)
    assert run_in_server(arguments) is None
