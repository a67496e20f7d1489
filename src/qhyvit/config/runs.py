"""Runs of an experiment that one of its sections lists."""

from typing import Any

from pydantic import Field

from qhyvit.config.base import BitWidth, MethodName, Mode, Strict


class ListedRuns(Strict):
    """Some runs of an experiment, in mode partial: each method at each bit-width."""

    methods: list[MethodName] = Field(default=[], description="methods of the experiment; their runs in mode partial")
    bits: list[BitWidth] = Field(default=[], description="bit-widths of the experiment")

    def check(self, section: str, methods: list[str], bits: list[str], modes: list[Mode]) -> None:
        """Raise ValueError for a value listed twice, and for a run that an experiment of these ``methods``, ``bits``, ``modes`` lacks."""
        refuse_doubles({f"{section}.methods": self.methods, f"{section}.bits": self.bits})
        for key, values, known in (("methods", self.methods, methods), ("bits", self.bits, bits)):
            for value in values:
                if value not in known:
                    raise ValueError(f"{section}.{key}: the experiment has no {value!r}; add it to `{key}` or remove it")
        for key, other in (("methods", "bits"), ("bits", "methods")):
            if getattr(self, key) and not getattr(self, other):
                raise ValueError(f"{section}: it states {key} but no {other}, so that it has no runs; state {other} too, or leave it out")
        if self.methods and self.bits and "partial" not in modes:
            raise ValueError(f"{section}: its runs are in mode partial, which the experiment does not have; add it to `modes`")


def refuse_doubles(lists: dict[str, list[Any]]) -> None:
    """Raise ValueError for a list, by its key, that has a value twice."""
    for key, values in lists.items():
        if len(set(values)) < len(values):
            raise ValueError(f"{key} lists a value twice; remove one")
