"""Claims of the paper: their numbers and verdicts follow from the committed reports, by the conditions of resources/claims.yaml."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import Field, TypeAdapter

from qhyvit.config.base import MethodName, Name, Strict
from qhyvit.config.loading import read_yaml
from qhyvit.errors import InputError
from qhyvit.own_files import of_another_kind, require
from qhyvit.reporting.conditions import is_true
from qhyvit.reporting.queries import answer_shown, evaluate
from qhyvit.reporting.write import Table

CLAIMS = Path("resources/claims.yaml")
CAPTION = (
    "Claims of the paper, and what this project measured. A number is a drop of top-1 in points, or a gain over a baseline; brackets hold"
    " 95 % intervals, not adjusted for several tests. A verdict is the first whose condition in `{file}` is true. `make verify` measures"
    " claims with a tolerance again, in points. Core-minutes are those of all jobs of the command, on one core."
)
COLUMNS = ["claim", "the paper says", "here", "verdict", "tolerance", "core-minutes", "file", "command"]
Verdict = Literal["holds", "holds in part", "not reproduced", "cannot be tested here"]
Read = Callable[[str], pd.DataFrame]


class Claim(Strict):
    """Statement of the paper, the values that tell if it holds here, and the condition of each verdict.

    ``published``, each of ``values`` and ``minutes``, the time of the ``command`` on one core, are queries that start with a path.
    """

    name: MethodName
    says: str
    published: str | None = None
    values: dict[Name, str]
    verdicts: dict[Verdict, str | None] = Field(min_length=1)
    command: str
    minutes: str | None = None
    tolerance: float | None = Field(default=None, gt=0, description="largest difference of a value that is measured again, in points")


SCHEMA = TypeAdapter(list[Claim])


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """Return all claims of a file. Raises InputError for an invalid one."""
    return read_yaml(path, SCHEMA)


def claims_table(claims: list[Claim], read: Read, file: Path = CLAIMS) -> Table:
    """Return what was measured on each claim of ``file``, its verdict and the command that measures it.

    ``read`` gives the table of a path. Raises InputError for a claim whose values cannot be measured, or that has no verdict for them.
    """
    rows = []
    for claim in claims:
        with _of_claim(claim, file):
            rows.append(_row(claim, read))
    table = pd.DataFrame(rows, columns=COLUMNS)
    code = {name: table[name].map(lambda text: text and f"`{text}`") for name in ("file", "command")}
    return Table(table, table.assign(**code).drop(columns="claim"))


def _row(claim: Claim, read: Read) -> list[str]:
    answers = {name: measured(query, read) for name, query in claim.values.items()}
    published = {"published": measured(claim.published, read)} if claim.published else {}
    here = ", ".join(f"{name.replace('_', ' ')} {answer_shown(answer, [])}" for name, answer in answers.items())
    tolerance = "" if claim.tolerance is None else f"{claim.tolerance:g}"
    minutes = answer_shown(measured(claim.minutes, read), [".0"]) if claim.minutes else ""
    files = sorted({query.partition(" ")[0] for query in claim.values.values()})
    return [
        claim.name,
        said(claim, published),
        here,
        verdict(claim, answers | published),
        tolerance,
        minutes,
        " ".join(files),
        claim.command,
    ]


@contextmanager
def _of_claim(claim: Claim, file: Path) -> Iterator[None]:
    """Name the file and the claim in an InputError of the block."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file}: claim {claim.name}: {error}") from error


def measured(query: str, read: Read) -> list[float]:
    """Return the value of a query that starts with a path, and the ends of its interval if it asks for them.

    Raises InputError if the file does not answer it with a number.
    """
    path, _, question = query.partition(" ")
    with of_another_kind(
        lambda said: f"{path}: {question!r} has no answer there ({said}); run the experiment, or correct the query of this claim"
    ):
        answer = [float(number) for number in evaluate(read(path), question)]
        require(not any(map(isnan, answer)), "no number")
        return answer


def said(claim: Claim, published: dict[str, list[float]]) -> str:
    """Return what the paper says, with the published number. Raises InputError for other names in braces."""
    text = claim.says
    for name, answer in published.items():
        text = text.replace(f"{{{name}}}", answer_shown(answer, [".2"]))
    if "{" in text or "}" in text:
        raise InputError(f"says: {claim.says!r} has braces of another kind than {{published}}, the value of the key published; correct it")
    return text


def verdict(claim: Claim, answers: dict[str, list[float]]) -> Verdict:
    """Return the first verdict whose condition is true. Raises InputError if none is, or if a condition is at fault."""
    ends = [(name, zip(("", "_low", "_high"), answer, strict=False)) for name, answer in answers.items()]
    values = {f"{name}{end}": value for name, parts in ends for end, value in parts}
    holding = [verdict for verdict, condition in claim.verdicts.items() if condition is None or _is_true(condition, values)]
    if not holding:
        raise InputError("no verdict for what was measured; add one without a condition")
    return holding[0]


def _is_true(condition: str, values: dict[str, float]) -> bool:
    try:
        return is_true(condition, values)
    except ValueError as error:
        raise InputError(f"condition {condition!r}: {error}; compare numbers and values of this claim") from error


def compare(claims: list[Claim], read: Read, folder: Path, file: Path = CLAIMS) -> pd.DataFrame:
    """Return the values of all claims of ``file`` with a tolerance, as committed and as measured again in the reports of ``folder``.

    Columns: claim, value, committed, again, tolerance, passed. Raises InputError for a value that cannot be measured.
    """
    rows = []
    for claim in claims:
        if (tolerance := claim.tolerance) is None:
            continue
        for name, query in claim.values.items():
            with _of_claim(claim, file):
                committed, again = measured(query, read)[0], measured(_in_folder(query, folder), read)[0]
            rows.append([claim.name, name, committed, again, tolerance, abs(again - committed) <= tolerance])
    return pd.DataFrame(rows, columns=["claim", "value", "committed", "again", "tolerance", "passed"])


def _in_folder(query: str, folder: Path) -> str:
    """Return a query with ``folder`` in place of the reports folder of its experiment: reports/NAME."""
    path, _, question = query.partition(" ")
    return f"{folder.joinpath(*Path(path).parts[2:])} {question}"
