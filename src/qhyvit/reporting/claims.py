"""Claims of the paper: their numbers and verdicts follow from the committed reports, by the conditions of resources/claims.yaml."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from qhyvit.config.base import MethodName, Name, Strict
from qhyvit.errors import InputError
from qhyvit.reporting.queries import answer_shown, evaluate
from qhyvit.reporting.write import Table

CLAIMS = Path("resources/claims.yaml")
CAPTION = (
    "Claims of the paper, and what this project measured. A number is a drop of top-1 in points, or a gain on a baseline; brackets hold"
    " 95 % intervals. A verdict is the first whose condition in `resources/claims.yaml` is true."
)
Verdict = Literal["holds", "holds in part", "not reproduced", "cannot be tested here"]
Read = Callable[[str], pd.DataFrame]


class Claim(Strict):
    """Statement of the paper, the values that tell if it holds here, and the condition of each verdict."""

    name: MethodName
    says: str
    published: str | None = None
    values: dict[Name, str]
    verdicts: dict[Verdict, str | None] = Field(min_length=1)
    command: str
    tolerance: float | None = Field(default=None, gt=0, description="largest difference of a value that is measured again, in points")


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """Return all claims of a file. Raises InputError for an invalid one."""
    try:
        return TypeAdapter(list[Claim]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError) as error:
        raise InputError(f"{path}: no list of claims; {error}") from error


def claims_table(claims: list[Claim], read: Read) -> Table:
    """Return what was measured on each claim, its verdict and the command that measures it; ``read`` gives the table of a path."""
    rows = []
    for claim in claims:
        answers = {name: measured(query, read) for name, query in claim.values.items()}
        published = {"published": measured(claim.published, read)} if claim.published else {}
        said = claim.says.format(**{name: answer_shown(answer, [".2"]) for name, answer in published.items()})
        here = ", ".join(f"{name.replace('_', ' ')} {answer_shown(answer, [])}" for name, answer in answers.items())
        rows.append([claim.name, said, here, verdict(claim, answers | published), claim.command])
    table = pd.DataFrame(rows, columns=["claim", "the paper says", "here", "verdict", "command"])
    return Table(table, table.assign(command="`" + table.command + "`").drop(columns="claim"))


def measured(query: str, read: Read) -> list[float]:
    """Return the value of a query that starts with a path, and the ends of its interval if it asks for them.

    Raises InputError if the file does not answer it with a number.
    """
    path, _, question = query.partition(" ")
    try:
        answer = [float(number) for number in evaluate(read(path), question)]
        if any(map(isnan, answer)):
            raise ValueError("no number")
        return answer
    except (LookupError, ValueError) as error:
        raise InputError(f"{path}: {question!r} has no answer there ({error}); run the experiment, or correct {CLAIMS}") from error


def verdict(claim: Claim, answers: dict[str, list[float]]) -> Verdict:
    """Return the first verdict whose condition is true. Raises InputError if none is, or if a condition has another name in it."""
    ends = [(name, dict(zip(("", "_low", "_high"), answer, strict=False))) for name, answer in answers.items()]
    values = pd.DataFrame([{f"{name}{end}": value for name, parts in ends for end, value in parts.items()}])
    for verdict, condition in claim.verdicts.items():
        try:
            if condition is None or bool(np.asarray(values.eval(condition, engine="python")).item()):
                return verdict
        except (NameError, ValueError, SyntaxError) as error:
            raise InputError(f"{CLAIMS}: claim {claim.name}: condition {condition!r}: {error}; correct it") from error
    raise InputError(f"{CLAIMS}: claim {claim.name}: no verdict for what was measured; add one without a condition")


def compare(claims: list[Claim], read: Read, folder: Path) -> pd.DataFrame:
    """Return the values of all claims with a tolerance, as committed and as measured again in the reports of ``folder``.

    Columns: claim, value, committed, again, tolerance, passed.
    """
    rows = []
    for claim in claims:
        if (tolerance := claim.tolerance) is None:
            continue
        for name, query in claim.values.items():
            committed, again = measured(query, read)[0], measured(_in_folder(query, folder), read)[0]
            rows.append([claim.name, name, committed, again, tolerance, abs(again - committed) <= tolerance])
    return pd.DataFrame(rows, columns=["claim", "value", "committed", "again", "tolerance", "passed"])


def _in_folder(query: str, folder: Path) -> str:
    """Return a query with ``folder`` in place of the reports folder of its experiment: reports/NAME."""
    path, _, question = query.partition(" ")
    return f"{folder.joinpath(*Path(path).parts[2:])} {question}"
