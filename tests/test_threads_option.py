"""Numbers of threads below one, in every command that takes one."""

import re
import sys

import pytest

from qhyvit.cli import main, make_app
from qhyvit.cli.lazy import LazyCommand


def takes_threads(command):
    return isinstance(command, LazyCommand) and any("--threads" in option.opts for option in command.load().params)


COMMANDS = [name for name, command in make_app().commands.items() if takes_threads(command)]


def test_commands_that_run_networks_take_a_number_of_threads():
    assert {"calibrate", "recalibrate", "quantize", "evaluate", "predict", "sensitivity", "convert", "export"} <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("threads", ["0", "-2"])
def test_fewer_threads_than_one_are_refused_by_name(command, threads, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["qhyvit", command, "--threads", threads])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert re.search(rf"--threads': .*{threads} is not in the range x>=1|--threads.*greater than or equal to 1", said)
