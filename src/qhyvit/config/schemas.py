"""JSON schemas of the YAML files, for editors; `python -m qhyvit.config.schemas` writes them to workflow/schemas."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qhyvit.config.experiment import EXPERIMENT
from qhyvit.config.methods import METHODS
from qhyvit.config.models import MODELS

SCHEMAS: dict[str, TypeAdapter[Any]] = {"config": EXPERIMENT, "models": MODELS, "methods": METHODS}


def schema_text(schema: TypeAdapter[Any]) -> str:
    """JSON schema as a file of workflow/schemas holds it."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema.json_schema(), indent=2) + "\n"


def _write_schemas(folder: Path) -> None:
    for name, schema in SCHEMAS.items():
        (folder / f"{name}.schema.json").write_text(schema_text(schema))


if __name__ == "__main__":
    _write_schemas(Path("workflow/schemas"))
