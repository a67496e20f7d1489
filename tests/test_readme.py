"""README and docs quote the reports that git has, whatever a run has written since."""

import pytest

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
