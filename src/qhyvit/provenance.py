"""Where a result comes from: package version, git commit, and hashes of everything that went in."""

import hashlib
import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

Provenance = dict[str, Any]


def provenance(inputs: dict[str, Path], settings: dict[str, Any]) -> Provenance:
    """The record that every artifact carries: sha256 of the input files, the settings and their hash, package version, commit."""
    return {
        "package": version("qhyvit"),
        "commit": git_commit(),
        "inputs": {name: file_sha256(path) for name, path in inputs.items()},
        "settings": settings,
        "settings_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
    }


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_commit() -> str:
    """The commit of the working tree, or "unknown" outside a git checkout."""
    result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
