"""Checkpoint of a tuning: a run that was stopped continues from there, to the bytes of one that was not."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from qhyvit.files import atomic_write
from qhyvit.own_files import written_by

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """Steps that are done, the least divergence of the held-out images, and the learnt values that had it; none if the start had it."""

    step: int
    least: float
    best: Tensors = field(default_factory=dict)

    def note(self, step: int, divergence: float, learnt: Tensors) -> None:
        """Take the divergence after a step, and the learnt values if it is the least so far."""
        self.step = step
        if divergence < self.least:
            self.least, self.best = divergence, {name: value.detach().clone() for name, value in learnt.items()}


class Checkpoint:
    """File of a tuning that is under way. One with another ``key``, of other settings or inputs, counts as none and is written over."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def save(self, progress: Progress, learnt: Tensors, optimizer: Optimizer, schedule: LRScheduler) -> None:
        """Write the progress, the learnt values of the step, and the states of optimizer and schedule."""
        state = optimizer.state_dict()
        parts = {"learnt": learnt, "best": progress.best} | {f"moments/{index}": moments for index, moments in state["state"].items()}
        tensors = {f"{part}/{name}": value.detach().contiguous() for part, values in parts.items() for name, value in values.items()}
        header = {
            "key": self.key,
            "step": progress.step,
            "least": progress.least,
            "groups": state["param_groups"],
            "schedule": schedule.state_dict(),
        }
        with atomic_write(self.path) as temporary:
            save_file(tensors, temporary, metadata={"header": json.dumps(header)})

    def restore(self, learnt: Tensors, optimizer: Optimizer, schedule: LRScheduler) -> Progress | None:
        """Set learnt values, optimizer and schedule to what `save` wrote; return the progress, or None if there is none.

        Raises InputError for a file that `save` has not written.
        """
        if not self.path.exists():
            return None
        with written_by(self.path, "`qhyvit quantize`"), safe_open(self.path, framework="pt") as file:
            header = json.loads(file.metadata()["header"])
            if header["key"] != self.key:
                return None
            parts: dict[str, Tensors] = {}
            for name in file.keys():  # noqa: SIM118
                part, _, of_part = name.rpartition("/")
                parts.setdefault(part, {})[of_part] = file.get_tensor(name)
        for name, value in parts["learnt"].items():
            learnt[name].data.copy_(value)
        moments = {int(part.removeprefix("moments/")): values for part, values in parts.items() if part.startswith("moments/")}
        optimizer.load_state_dict({"state": moments, "param_groups": header["groups"]})
        schedule.load_state_dict(header["schedule"])
        return Progress(header["step"], header["least"], parts.get("best", {}))

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)
