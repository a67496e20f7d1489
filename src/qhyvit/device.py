"""Where networks run."""

import os

import torch

from qhyvit.config.base import Device
from qhyvit.errors import InputError


def choose_device(stated: Device) -> str:
    """The device that an experiment states: `cpu` or `cuda`; ``auto`` is a GPU where there is one.

    Raises InputError where a GPU is stated and there is none. A GPU computes in full FP32, and as repeatably as PyTorch can.
    """
    there = torch.cuda.is_available()
    if stated == "cuda" and not there:
        raise InputError("device: cuda: PyTorch finds no GPU here; state auto or cpu, or install a CUDA build of PyTorch")
    if stated == "cpu" or not there:
        return "cpu"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with a workspace of fixed size
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
