"""Quantization methods: one module per algorithm, each with ``find_quantizers(task) -> Quantizers``."""

from importlib import import_module

from qhyvit.config.base import Mode
from qhyvit.methods.outputs import find_output_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers


def find_quantizers(task: Task, mode: Mode, operands: Quantizers | None = None) -> Quantizers:
    """Run the algorithm that the task's settings name; in mode full, add the quantizers of the output sites.

    Both modes have equal quantizers of ``operands``: given those of mode partial, they are not searched again. Algorithms are imported by
    name, so that a change of one does not affect the fingerprint of others.
    """
    if operands is None:
        operands = import_module(f"qhyvit.methods.{task.method.algorithm}").find_quantizers(task)
    return {**operands, **find_output_quantizers(task)} if mode == "full" else operands
