"""Tuning: what a method finds is the start, and distillation from the FP32 network changes it."""

from qhyvit.config.base import Mode
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizers
from qhyvit.tuning.distillation import distill


def find_quantization(task: Task, mode: Mode, operands: Quantizers | None = None) -> tuple[Quantizers, Parameters]:
    """Return the quantizers that the method of the task finds, tuned if its settings say so, and the parameters that tuning changed.

    ``operands`` are as in `qhyvit.methods.find_quantizers`.
    """
    quantizers = find_quantizers(task, mode, operands)
    return distill(task, quantizers, task.method.tuning) if task.method.tuning else (quantizers, NO_PARAMETERS)
