"""Origin of a result: hashes of all inputs and settings, the code's version and commit, and what else may change it."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qhyvit.commit import git_commit
from qhyvit.files import file_sha256
from qhyvit.processor import processor

Provenance = dict[str, Any]


def provenance(inputs: dict[str, Path], settings: dict[str, Any], device: str = "cpu") -> Provenance:
    """Return the record that every artifact carries; the hashes of the ``inputs`` and of the ``settings`` are sha256.

    ``device`` is where the networks ran. The version of PyTorch, the device, the processor and the number of threads can change the last
    digits.
    """
    return {
        "package": version("qhyvit"),
        "commit": git_commit(),
        "torch": str(torch.__version__),
        "device": device,
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "inputs": {name: file_sha256(path) for name, path in inputs.items()},
        "settings": settings,
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
    }
