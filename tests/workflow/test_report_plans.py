"""Which figures of results an experiment plans: those that it has the runs for."""

import re

import pytest

PAPER = {"accuracy-partial", "drops-partial"}


@pytest.mark.parametrize(
    ("config", "figures"),
    [
        ("config", PAPER),
        ("experiments/all-methods", PAPER | {"ablation-partial"}),
        ("experiments/full-mode", {"accuracy-full", "drops-full"}),  # the steps of the ablation have no full mode
        ("experiments/ablation", PAPER | {"ablation-partial", "seeds-partial"}),
    ],
)
def test_figures_of_results(clone, config, figures):
    planned = clone.run("-m", "snakemake", "--dry-run", "--configfile", f"config/{config}.yaml").stdout
    assert set(re.findall(r"output: \S*/figures/((?:accuracy|drops|seeds|ablation)-\w+)\.svg", planned)) == figures
