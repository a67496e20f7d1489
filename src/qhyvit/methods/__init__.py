"""The quantization methods: one module an algorithm, each with ``quantize(task) -> Quantizers``."""

from importlib import import_module

from qhyvit.config import Mode
from qhyvit.methods.task import Task
from qhyvit.methods.tensors import quantize_tensors
from qhyvit.quantizers.store import Quantizers


def quantize(task: Task, mode: Mode, operands: Quantizers | None = None) -> Quantizers:
    """Run the algorithm that the task's settings name, unless what it finds for the ``operands`` is known; both modes have the same.

    It is imported by name, so that an edit to one concerns no other.
    """
    if operands is None:
        operands = import_module(f"qhyvit.methods.{task.method.algorithm}").quantize(task)
    return {**operands, **quantize_tensors(task)} if mode == "full" else operands
