"""Tuning: what a method finds is the start, and distillation from the FP32 network changes it."""

from importlib import import_module

from qhyvit.config.base import Mode
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizers

TUNING = "qhyvit.tuning.distillation"


def find_quantization(task: Task, mode: Mode, operands: Quantizers | None = None) -> tuple[Quantizers, Parameters]:
    """Return the quantizers that the method of the task finds, tuned if its settings say so, and the parameters that tuning changed.

    ``operands`` are as in `qhyvit.methods.find_quantizers`. The tuning is imported by name, so that a change of it does not affect the
    fingerprint of methods without it.
    """
    quantizers = find_quantizers(task, mode, operands)
    if not task.method.tuning:
        return quantizers, NO_PARAMETERS
    tuned: tuple[Quantizers, Parameters] = import_module(TUNING).distill(task, quantizers, task.method.tuning)
    return tuned
