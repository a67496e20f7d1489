"""Command `recalibrate`."""

import torch

from qhyvit.calibration.serialization import save_recalibration
from qhyvit.cli import options
from qhyvit.cli.experiment import load_experiment
from qhyvit.cli.task import load_task
from qhyvit.errors import InputError
from qhyvit.methods.recalibration import recalibrate as run_recalibration
from qhyvit.provenance import provenance


def recalibrate(
    config: options.Config,
    model: options.Model,
    method: options.Method,
    bits: options.Bits,
    images: options.Images,
    calibration: options.Calibration,
    output: options.Output,
    threads: options.Threads = 1,
) -> None:
    """Repeat the calibration with the gradients that a method asks for; methods with equal defaults share the file.

    The file holds the sampled rows of every site and the inputs of bridge blocks. Depending on the method, gradients are those of the FP32
    network, or of the network quantized with the default settings.
    """
    torch.set_num_threads(threads)
    settings = load_experiment(config, model, method)
    key = settings.methods[method].recalibration_key
    if key is None:
        raise InputError(f"method {method} needs no recalibration; run `qhyvit quantize` without one")
    task, calibrated = load_task(settings, model, method, bits, images, calibration)
    record = provenance({"calibration": calibration}, {"key": key, "bits": bits}) | {"calibrated": calibrated}
    save_recalibration(output, run_recalibration(task), record)
