"""README and docs quote the committed reports, whose tables follow from their results, and link to what is there.

A run rewrites reports in the working tree: nothing here reads these.
"""

import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY

from qhyvit.config.loading import load_config
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import write_table
from workflow.scripts.quotes import committed, pages, refreshed, typed_numbers

COMMITTED = {"results": "results.csv", "correct": "correct.csv", "challenges": "challenges.csv", "timings": "timings/timings.csv"}
WRITE = "python workflow/scripts/quotes.py --write"


def git(*arguments: str) -> str:
    """Run git in the repository; where there is no repository, as in an archive of the files, say what is needed."""
    result = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.fail(f"the text is held to the committed reports: run this test in a clone made by git ({result.stderr.strip()})")
    return result.stdout


REPORTS = [path.removesuffix("/results.csv") for path in git("ls-files", "reports/results.csv", "reports/*/results.csv").split()]


@pytest.fixture(params=pages(), ids=lambda path: path.name)
def page(request):
    return request.param


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The committed reports and published numbers, without the edits of the working tree."""
    root = tmp_path_factory.mktemp("exported")
    files = git("ls-files", "reports/*.csv", "reports/*.md", "reports/*.tex", "resources").split()
    git("checkout-index", f"--prefix={root}/", "--", *files)
    return root


def test_quotations_equal_the_committed_reports(page):
    text = page.read_text()
    assert text == refreshed(text), f"{page.name} quotes other numbers than the committed reports: {WRITE}"


def test_every_decimal_in_prose_quotes_a_report(page):
    assert typed_numbers(page.read_text()) == []


@pytest.mark.parametrize("reports", REPORTS)
def test_committed_tables_follow_from_the_committed_results(exported, reports, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config = load_config(Path((REPOSITORY / reports / "experiment.txt").read_text().strip()), allow_unset_env=True)
    folder, published = exported / reports, (exported / "resources/published").glob("*.csv")
    paths = {f"published/{path.stem}": [path] for path in published}
    paths |= {kind: [folder / name] for kind, name in COMMITTED.items() if (folder / name).exists()}
    tables = [entry for entry in TABLES.values() if (folder / f"{entry.path}.md").exists() and paths.keys() >= {*entry.inputs}]
    assert tables
    methods = read_catalog(config.experiment.methods_file)
    for entry in tables:
        texts = [suffix for suffix in entry.formats if suffix != "csv"]
        write_table(entry.make(Sources(methods, paths, config=config)), tmp_path / entry.name, entry.formats, entry.caption)
        if "csv" in entry.formats:  # its numbers have more digits than processors agree on
            pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{entry.name}.csv"), pd.read_csv(folder / f"{entry.path}.csv"), rtol=1e-3)
        for suffix in texts:
            assert (tmp_path / f"{entry.name}.{suffix}").read_text() == (folder / f"{entry.path}.{suffix}").read_text(), (
                f"{reports}/{entry.path}.{suffix} does not follow from the committed {reports}/{COMMITTED.get(entry.inputs[0])}: "
                f"commit the tables of the same run, then bring README.md and docs up to date: {WRITE}"
            )


def test_file_that_git_does_not_have_is_refused():
    with pytest.raises(LookupError):
        committed("reports/absent.csv")


@pytest.mark.parametrize("page", [*pages(), *(REPOSITORY / name for name in ("CONTRIBUTING.md", "config/README.md", "reports/README.md"))])
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if not path.startswith("https:"):
            linked = page.parent / path if path else page
            assert linked.exists(), target
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), flags=re.MULTILINE) if anchor else []
            assert not anchor or anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target
