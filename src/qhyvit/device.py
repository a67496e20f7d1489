"""Choose the device that networks run on."""

import os

import torch

from qhyvit.errors import InputError


def choose_device(requested: str) -> str:
    """Return `cpu` or `cuda` for ``requested``: `cpu`, `cuda`, or `auto`, which is a GPU if there is one.

    Choosing the GPU changes settings of PyTorch for the whole process: TF32 is off, and deterministic algorithms are on where they exist.
    Raises InputError if a GPU is requested and there is none.
    """
    available = torch.cuda.is_available()
    if requested == "cuda" and not available:
        raise InputError("device: cuda: PyTorch finds no GPU here; request auto or cpu, or install a CUDA build of PyTorch")
    if requested == "cpu" or not available:
        return "cpu"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with a workspace of fixed size
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"
