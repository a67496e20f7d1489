"""README and docs quote the reports that git has, whatever a run has written since, and link to what is there."""

import re

import pytest
from conftest import REPOSITORY

from workflow.scripts.quotes import committed, pages, refreshed, typed_numbers


@pytest.fixture(params=pages(), ids=lambda path: path.name)
def page(request):
    return request.param


def test_quotations_equal_the_committed_reports(page):
    assert page.read_text() == refreshed(page.read_text()), f"{page.name}: python workflow/scripts/quotes.py --write"


def test_every_decimal_in_prose_quotes_a_report(page):
    assert typed_numbers(page.read_text()) == []


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
