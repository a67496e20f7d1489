"""The quantization methods: one module an algorithm, each with ``quantize(task) -> Quantizers``."""

from importlib import import_module

from qhyvit.config.base import Mode
from qhyvit.methods.outputs import find_output_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers


def find_quantizers(task: Task, mode: Mode, operands: Quantizers | None = None) -> Quantizers:
    """Run the algorithm that the task's settings name, unless what it finds for the ``operands`` is known; both modes have the same.

    It is imported by name, so that an edit to one concerns no other.
    """
    if operands is None:
        operands = import_module(f"qhyvit.methods.{task.method.algorithm}").find_quantizers(task)
    return {**operands, **find_output_quantizers(task)} if mode == "full" else operands
