"""Mutations of valid files, and the rule for what reads them: a valid result, or one line that names the file."""

import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from qhyvit.errors import InputError

FEW = 10  # examples of each test in `make test`
SECONDS, MEMORY = 20, 2**30  # of one call
LONGEST = 4000  # characters of a message
ODD_NUMBERS = [-1, 0, 1, 3, 2**31, 2**63, 2**64, 10**30, 10**400, 0.5, -0.0, 1e300, float("inf"), float("-inf"), float("nan")]
ODD_TEXTS = [
    "",
    " ",
    "x",
    "1e999",
    "nan",
    "-1",
    "../x",
    "/",
    "a\nb",
    "a\0b",
    "\u2028",
    "é" * 300,
    "\udc80",
    "x" * 10_000,
    "{model}",
    "$",
    "${X",
]
ODD_VALUES = [None, True, False, *ODD_NUMBERS, *ODD_TEXTS, [], [None], {}, {"": None}, [[[]]], {"a\nb": 1}]
ODD_TENSORS = [
    *(torch.zeros(shape) for shape in ((), (0,), (1,), (3,), (2, 3), (0, 4), (1, 2, 3), (1, 1, 1, 1))),
    *(torch.ones(2, dtype=dtype) for dtype in (torch.int64, torch.bool, torch.uint8, torch.float64, torch.bfloat16, torch.complex64)),
    *(torch.full((2, 3), value) for value in (float("nan"), float("inf"), -1.0)),
]


class Hang(BaseException):
    """Alarm of a call that takes too long, which no handler of errors takes for a fault of a file."""


def fuzz(share: float = 1.0) -> settings:
    """Return the settings of a test: few examples, the same in each run, or a ``share`` of those of the profile `fuzz`."""
    unchecked = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
    long = settings.default.max_examples > 1000
    count = round(share * settings.default.max_examples) if long else FEW
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    return settings(max_examples=count, derandomize=not long, database=None, phases=phases, suppress_health_check=unchecked)


@contextmanager
def bounded() -> Iterator[None]:
    """Fail if the block takes more than SECONDS, or raise MemoryError if it takes more than MEMORY."""

    def stop(*_: Any) -> None:
        raise Hang

    before, limits = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    except Hang:
        raise AssertionError(f"takes more than {SECONDS} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def result_or_refusal(read: Callable[[], Any], *names: str) -> Any:
    """Return what ``read`` returns, or None if it raises InputError: of one line, which has one of ``names``."""
    try:
        with bounded():
            return read()
    except InputError as error:
        require_line(str(error), *names)
        return None


def require_line(said: str, *names: str) -> None:
    """Fail unless a message is one printable line, not too long, that has one of ``names``."""
    assert said.splitlines() == [said], repr(said)
    assert said.isprintable(), repr(said)
    assert len(said) <= LONGEST, f"{len(said)} characters: {said[:200]}"
    assert any(name in said for name in names), said


def listed(folder: Path) -> list[str]:
    """Return the names of all that is in a folder, at any depth."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@st.composite
def mutated_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """Flip, replace, repeat, insert or remove bytes at some places."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(changed)))
        end = min(len(changed), start + draw(st.sampled_from([1, 1, 2, 4, 8, 64, 512, 10**9])))
        part = changed[start:end]
        odd = st.sampled_from(
            [b"", b"\0", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0\0\0\0\0", b"-1", b"\n", b'"', b",", b"\r", b"{[" * 9]
        )
        flipped = st.just(part).map(lambda part: bytes(value ^ 1 << draw(st.integers(0, 7)) for value in part[:1]) + part[1:])
        changed[start:end] = draw(st.one_of(flipped, flipped, odd, st.binary(max_size=8), st.just(part * 2)))
    return bytes(changed)


@st.composite
def mutated_text(draw: st.DrawFn, content: str, separators: str = ",\n") -> str:
    """Replace, repeat or remove some cells of a table, or words of a text."""
    cells = [""]
    for character in content:
        cells += [character, ""] if character in separators else []
        cells[-1] += character if character not in separators else ""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(cells) - 1))
        odd = st.sampled_from([*map(str, ODD_NUMBERS), *ODD_TEXTS, "True", "-", '"', '"a\n"', "a,b", "\r", "\n", "nan", "0x1", "1_0", "٣"])
        cells[place] = draw(st.one_of(odd, odd, st.text(max_size=5), st.sampled_from(cells)))
    return "".join(cells)


@st.composite
def mutated_tree(draw: st.DrawFn, content: Any) -> Any:
    """Replace, remove or add some values of nested lists and mappings."""
    changed = deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        node = draw(st.sampled_from(list(_containers(changed)) or [[changed]]))
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        values = st.sampled_from(ODD_VALUES) | st.sampled_from([*ODD_VALUES, *(node[key] for key in keys)])
        action = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])) if keys else "add"
        key = draw(st.sampled_from(keys)) if keys else None
        if action == "replace":
            node[key] = deepcopy(draw(values))
        elif action == "remove":
            del node[key]
        elif isinstance(node, dict):
            node[draw(st.sampled_from([*ODD_TEXTS, 0, None, 1.5]))] = deepcopy(draw(values))
        else:
            node.append(deepcopy(draw(values)))
    return changed


def _containers(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        yield tree
        for value in tree.values() if isinstance(tree, dict) else tree:
            yield from _containers(value)


@st.composite
def mutated_tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """Mutate a file of safetensors: its bytes, its outer header, the project's header within it, or some of its tensors."""
    size = 8 + int.from_bytes(content[:8], "little")
    outer = json.loads(content[8:size])
    header = json.loads(outer.get("__metadata__", {}).get("header", "null"))
    kind = draw(st.sampled_from(["bytes", "outer", "tensors", *(["header", "header", "text"] if header else [])]))
    if kind == "bytes":
        return draw(mutated_bytes(content))
    if kind == "tensors":
        tensors = load(content)
        names = draw(st.lists(st.sampled_from(list(tensors)), min_size=1, max_size=2))
        changed = {name: draw(st.sampled_from([*ODD_TENSORS, tensors[name].flatten(), tensors[name][None].clone()])) for name in names}
        return save(tensors | {name: value.clone() for name, value in changed.items()}, outer.get("__metadata__"))
    if kind == "outer":
        text = json.dumps(draw(mutated_tree(outer)))
    else:
        mutated = draw(mutated_bytes(json.dumps(header).encode()) if kind == "text" else mutated_tree(header).map(json.dumps))
        outer["__metadata__"]["header"] = mutated if isinstance(mutated, str) else mutated.decode("latin-1")
        text = json.dumps(outer)
    return len(text.encode()).to_bytes(8, "little") + text.encode() + content[size:]
