import subprocess

import pytest

from workflow.scripts.quotes import find, refreshed, typed_numbers


def test_number_of_a_text_is_what_the_group_matches():
    assert find("The run took 1,656 s (-9%).", '"took ([\\d,]+) s" /60 .0') == "28"


def test_expression_that_matches_nothing_is_refused():
    with pytest.raises(LookupError):
        find("It took long.", r'"took (\d+) s"')


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/results.csv").write_text("model,drop\na,1.5\n")
    (tmp_path / "reports/table.md").write_text("| a |\n")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


PAGE = """<!-- reports/table.md -->
| {table} |
<!-- end -->
It loses <!-- reports/results.csv drop model=a -->{number}<!-- end --> points.
"""


def test_stale_quotations_are_brought_up_to_date(repository):
    assert refreshed(PAGE.format(table="old", number="9.99"), repository) == PAGE.format(table="a", number="1.50")


def test_edit_that_git_does_not_have_changes_nothing(repository):
    (repository / "reports/results.csv").write_text("model,drop\na,2.5\n")
    page = PAGE.format(table="a", number="1.50")
    assert refreshed(page, repository) == page


def test_quotation_of_an_absent_file_names_it(repository):
    with pytest.raises(LookupError, match="absent"):
        refreshed("<!-- reports/absent.md -->\n<!-- end -->\n", repository)


@pytest.mark.parametrize(
    ("page", "numbers"),
    [
        ("It loses 7.10 points, not -0.5.", ["7.10", "-0.5"]),
        (PAGE.format(table="7.1", number="1.50"), []),
        ("<!-- a.csv x -->1.5<!-- end -->\nand 3.14, not <!-- a.csv y -->2.5<!-- end -->.", ["3.14"]),
        ("`0.5` of [1.5](page-2.5.md), arXiv 2303.12557, Section 3.2, Python >= 3.11", ["1.5"]),
    ],
)
def test_typed_numbers_are_those_that_quote_nothing(page, numbers):
    assert typed_numbers(page) == numbers
