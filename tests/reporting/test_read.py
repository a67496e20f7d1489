"""Names that look like numbers or like missing values, such as the sites of an `nn.Sequential`."""

import pandas as pd
import pytest
from conftest import REPOSITORY

from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.figures import site_errors
from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables import challenges

SITES = ["4", "1.1", "1.10"]


@pytest.fixture
def sources(monkeypatch):
    """Make the sources of a table or figure."""
    monkeypatch.chdir(REPOSITORY)
    catalog = read_catalog(METHODS_FILE)
    return lambda kind, path: Sources(catalog, {kind: [path]})


def labels(figure):
    return [label.get_text() for label in figure.axes[0].get_xticklabels()]


@pytest.mark.parametrize("name", ["NA", "null", "007", "1e3", "True", "1.10", ""])
def test_name_is_text_as_it_is(tmp_path, name):
    (tmp_path / "table.csv").write_text(f'dataset,model,site,top1\n"{name}",a,b,\n"{name}",a,b,1.5\n')
    table = read_table(tmp_path / "table.csv")
    assert list(table.dataset) == [name] * 2
    assert pd.isna(table.top1[0]) and table.top1[1] == 1.5  # noqa: PT018  # numbers stay numbers


def test_sites_with_numeric_names_are_drawn_apart(tmp_path, sources):
    path = tmp_path / "minmax-partial-w8a8.sites.csv"
    pd.DataFrame({"site": SITES, "relative_error": [0.1, 0.2, 0.3]}).to_csv(path, index=False)
    assert labels(site_errors.make(sources("site_errors", path))) == SITES


def test_errors_that_are_all_zero_are_drawn(tmp_path, sources):
    path = tmp_path / "minmax-partial-w8a8.sites.csv"
    pd.DataFrame({"site": SITES, "relative_error": 0.0}).to_csv(path, index=False)
    assert labels(site_errors.make(sources("site_errors", path))) == SITES


def test_table_of_challenges_keeps_numeric_names(tmp_path, sources):
    path = tmp_path / "activations.csv"
    pd.DataFrame({"model": "007", "site": SITES, "operand": "input"}).to_csv(path, index=False)
    assert list(challenges.make(sources("activations", path)).rows.site) == SITES
