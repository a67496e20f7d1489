"""Figure of the cost of single sites, from planted divergences."""

import pandas as pd

from qhyvit.reporting.figures.sensitivity import SITES, sensitivity_figure


def test_sites_that_cost_most_alone_are_shown_with_both_divergences():
    count = SITES + 5
    sites = pd.DataFrame(
        {
            "site": [f"site{number}" for number in range(count)],
            "alone_kl": [float(number) for number in range(count)],
            "without_kl": [float(10 * (count - number)) for number in range(count)],
            "all_kl": 1000.0,
        }
    )
    left, right = sensitivity_figure(sites, "title").axes
    (alone,), (without, everything) = left.lines, right.lines
    assert list(alone.get_ydata(orig=True)) == [f"site{number}" for number in range(5, count)]
    assert alone.get_xdata().tolist() == list(range(5, count))
    assert without.get_xdata().tolist() == [10 * (count - number) for number in range(5, count)]
    assert everything.get_xdata() == [1000, 1000]
    assert right.get_xlim()[1] > 1000
