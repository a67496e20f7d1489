"""Checkpoint of a tuning: an interrupted run resumes from it and gives the same bytes as an uninterrupted one."""

import json
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qhyvit.files import atomic_write
from qhyvit.own_files import read_header, require, written_by

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of Adam
PROGRESS = ("step", "start", "latest", "least", "restarts")  # numbers of the header
CHANGING = {*PROGRESS, "lr", "initial_lr", "base_lrs", "last_epoch", "_step_count", "_last_lr"}  # keys of the header
Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Steps that are done, and divergences of the held-out images: of the ``start``, the ``latest`` and the ``least``.

    ``best`` are the learnt values that had the least; none if the start had it. ``restarts`` counts how often the steps began again.
    """

    step: int
    start: float
    latest: float
    least: float
    restarts: int = 0
    best: Tensors = field(default_factory=dict)

    @classmethod
    def of_start(cls, divergence: float) -> "Progress":
        """Return the progress before the first step."""
        return cls(0, divergence, divergence, divergence)

    def note(self, divergence: float, learnt: Tensors) -> None:
        """Take the divergence after a step, and the learnt values if it is the least so far."""
        self.latest = divergence
        if divergence < self.least:
            self.least, self.best = divergence, {name: value.detach().clone() for name, value in learnt.items()}

    def begin_again(self) -> None:
        """Count a restart."""
        self.step, self.restarts = 0, self.restarts + 1


class Checkpoint:
    """File of a tuning that is under way. One with another ``key``, of other settings or inputs, counts as none and is written over."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def save(self, progress: Progress, learnt: Tensors, optimizer: Optimizer, schedule: LRScheduler) -> None:
        """Write the progress, the learnt values of the step, and the states of optimizer and schedule."""
        states = optimizer.state_dict()["state"]
        parts = {"learnt": learnt, "best": progress.best} | {f"moments/{index}": moments for index, moments in states.items()}
        tensors = {f"{part}/{name}": value.detach().contiguous() for part, values in parts.items() for name, value in values.items()}
        with atomic_write(self.path) as temporary:
            save_file(tensors, temporary, metadata={"header": self._header(progress, optimizer, schedule)})

    def restore(self, learnt: Tensors, optimizer: Optimizer, schedule: LRScheduler) -> Progress | None:
        """Set learnt values, optimizer and schedule to what `save` wrote; return the progress, or None if there is none.

        Raises InputError for a file that `save` has not written.
        """
        if not self.path.exists():
            return None
        with written_by(self.path, "`qhyvit quantize`"), safe_open(self.path, framework="pt") as file:
            header = read_header(file)
            if header["key"] != self.key:
                return None
            parts: dict[str, Tensors] = {}
            for name in file.keys():  # noqa: SIM118
                part, _, of_part = name.rpartition("/")
                parts.setdefault(part, {})[of_part] = file.get_tensor(name)
            moments = {int(part.removeprefix("moments/")): values for part, values in parts.items() if part.startswith("moments/")}
            _check_tensors(parts, moments, learnt, optimizer)
            expected = json.loads(self._header(Progress.of_start(0.0), optimizer, schedule))
            agree = header["step"] == header["schedule"]["last_epoch"]
            require(_fits(header, expected) and agree, "its header is not that of this tuning")
        for name, value in parts["learnt"].items():
            learnt[name].data.copy_(value)
        optimizer.load_state_dict({"state": moments, "param_groups": header["groups"]})
        schedule.load_state_dict(header["schedule"])
        return Progress(**{name: header[name] for name in PROGRESS}, best=parts.get("best", {}))

    def _header(self, progress: Progress, optimizer: Optimizer, schedule: LRScheduler) -> str:
        groups = optimizer.state_dict()["param_groups"]
        numbers = {name: getattr(progress, name) for name in PROGRESS}
        return json.dumps({"key": self.key, **numbers, "groups": groups, "schedule": schedule.state_dict()})

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)


def _check_tensors(parts: dict[str, Tensors], moments: dict[int, Tensors], learnt: Tensors, optimizer: Optimizer) -> None:
    """Raise ValueError, or LookupError, for tensors of other names, shapes or types than those of what is learnt."""
    best = parts.get("best", {})
    for values in (parts["learnt"], *([best] if best else [])):
        require(values.keys() == learnt.keys() and all(_alike(values[name], learnt[name]) for name in learnt), "it is of other values")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, values in moments.items():
        fit = values.keys() == MOMENTS and all(_alike(values[name], parameters[index]) for name in MOMENTS - {"step"})
        require(fit and values["step"].shape == (), "its moments are of other values")


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _fits(saved: Any, fresh: Any, key: str = "") -> bool:
    """Tell if a value of a saved header is that of a fresh start, or at a key of CHANGING a number of the same type.

    The latest divergence may be infinite or no number, where learning rates are too large.
    """
    if isinstance(saved, dict) and isinstance(fresh, dict):
        return saved.keys() == fresh.keys() and all(_fits(saved[name], fresh[name], name) for name in saved)
    if isinstance(saved, list) and isinstance(fresh, list):
        return len(saved) == len(fresh) and all(_fits(one, other, key) for one, other in zip(saved, fresh, strict=True))
    if type(saved) is not type(fresh):
        return False
    return 0 <= saved < inf or key == "latest" if key in CHANGING else bool(saved == fresh)
