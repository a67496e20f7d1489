"""The quantization methods: one module an algorithm, each with ``quantize(task) -> Quantizers``."""

from importlib import import_module

from qhyvit.methods.task import Task
from qhyvit.quantizers.store import Quantizers


def quantize(task: Task) -> Quantizers:
    """Run the algorithm that the task's settings name. It is imported by name, so that an edit to one concerns no other."""
    return import_module(f"qhyvit.methods.{task.method.algorithm}").quantize(task)
