r"""Keep the tables and numbers that README and docs quote equal to the committed reports.

Two kinds of markers, both invisible on the rendered page, say where a quotation comes from::

    <!-- reports/all-methods/tables/paired.md -->
    (the whole file)
    <!-- end -->

    ... loses <!-- reports/results.csv drop interval method=qhyvit bits=W6A6 model=mobilevitv2_050 -->7.10 [5.65, 8.60]<!-- end --> points.

A number is a CSV file and a query of `qhyvit.reporting.queries`. That of a text is a regular expression with one group:
``<!-- reports/benchmarks/scaling.md "took (\d+) s" /60 .0 -->11<!-- end -->``.

Files are read from git's index, so that what a run has written since the last `git add` changes nothing.
``python workflow/scripts/quotes.py`` names the pages that differ; ``--write`` brings them up to date.
Both refuse decimals that quote nothing.
"""

import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pandas as pd

from qhyvit.reporting.queries import formatted, shown

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"<!-- (?P<source>\S+\.(?:csv|md|tex)) -->\n(?P<text>.*?)<!-- end -->", flags=re.DOTALL)
NUMBER = re.compile(r"<!-- (?P<source>\S+\.(?:csv|md)) (?P<query>[^>]+?) -->(?P<text>.*?)<!-- end -->")
HELD_ELSEWHERE = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|arXiv \d+\.\d+|(?:Python >=|Section) [\d.]+|<!--.*?-->", flags=re.DOTALL)


def pages(root: Path = ROOT) -> list[Path]:
    """README and all pages of docs."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


@cache
def committed(path: str, root: Path = ROOT) -> str:
    """The text of a file in git's index; raise LookupError where it has none."""
    result = subprocess.run(["git", "show", f":./{path}"], cwd=root, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LookupError(f"{path} is not in git")
    return result.stdout


def refreshed(page: str, root: Path = ROOT) -> str:
    """The text of a page with all that it quotes read anew."""
    page = TABLE.sub(lambda match: f"<!-- {match['source']} -->\n{committed(match['source'], root)}<!-- end -->", page)
    return NUMBER.sub(lambda match: _with_number(match, root), page)


def _with_number(match: re.Match[str], root: Path) -> str:
    source, query = match["source"], match["query"]
    text = committed(source, root)
    try:
        number = shown(_rows(text), query) if source.endswith(".csv") else find(text, query)
    except (LookupError, ValueError) as error:
        raise LookupError(f"{source} {query}: {error}") from error
    return f"<!-- {source} {query} -->{number}<!-- end -->"


@cache
def _rows(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def typed_numbers(page: str) -> list[str]:
    """The decimals of a page's prose that quote no report; code, links and names of versions aside."""
    prose = HELD_ELSEWHERE.sub("", NUMBER.sub("", TABLE.sub("", page)))
    return re.findall(r"-?\d+\.\d+", prose)


def find(text: str, query: str) -> str:
    """The number that the group of a quoted regular expression matches in a text, as text."""
    _, pattern, words = query.split('"')
    match = re.search(pattern, text)
    if match is None:
        raise LookupError("matches nothing")
    return formatted(float(match[1].replace(",", "")), words.split())


def main() -> None:
    """Name the pages whose quotations differ from the reports; with --write, bring them up to date."""
    if sys.argv[1:] not in ([], ["--write"]):
        sys.exit("usage: python workflow/scripts/quotes.py [--write]")
    stale = []
    for page in pages():
        text = page.read_text()
        try:
            new = refreshed(text)
        except LookupError as error:
            sys.exit(f"{page.relative_to(ROOT)}: {error}")
        if typed := typed_numbers(new):
            sys.exit(f"{page.relative_to(ROOT)}: {', '.join(typed)}: quote no report; quote one, or leave the numbers out")
        if new != text and sys.argv[1:] == ["--write"]:
            page.write_text(new)
        elif new != text:
            stale.append(str(page.relative_to(ROOT)))
    if stale:
        sys.exit("Quotations differ from the committed reports (python workflow/scripts/quotes.py --write): " + ", ".join(stale))


if __name__ == "__main__":
    main()
