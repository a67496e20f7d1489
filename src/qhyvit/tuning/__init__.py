"""Tuning: what a method finds is the start, and correction or distillation brings its outputs closer to those of the FP32 network."""

from importlib import import_module

from qhyvit.config.base import Mode
from qhyvit.methods import find_quantizers
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizers
from qhyvit.tuning.checkpoint import Checkpoint

CORRECTION = "qhyvit.tuning.correction"
DISTILLATION = "qhyvit.tuning.distillation"


def find_quantization(
    task: Task, mode: Mode, operands: Quantizers | None = None, checkpoint: Checkpoint | None = None
) -> tuple[Quantizers, Parameters]:
    """Return the quantizers that the method of the task finds, corrected and tuned if its settings say so, and the changed parameters.

    ``operands`` are as in `qhyvit.methods.find_quantizers`. A ``checkpoint`` is that of the tuning, which continues from it. Both modules
    are imported by name, so that a change of them does not affect the fingerprint of methods without them.
    """
    quantizers, changed = find_quantizers(task, mode, operands), NO_PARAMETERS
    if task.method.correction:
        quantizers, changed = import_module(CORRECTION).correct(task, quantizers, task.method.correction)
    if task.method.tuning:
        quantizers, changed = import_module(DISTILLATION).distill(task, quantizers, changed, task.method.tuning, checkpoint)
    return quantizers, changed
