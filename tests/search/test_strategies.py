import pytest
import torch

from qhyvit.search.strategies import SAMPLED_ROWS, SHORTLIST, exhaustive, shortlisted

CANDIDATES = torch.arange(100)[:, None].expand(100, 5)
LOSSES = torch.rand(100, 5, generator=torch.Generator().manual_seed(0))


def losses_of(index, rows):
    """The truth on all rows, a disturbed version on few."""
    noise = 0 if rows is None else 0.05 * torch.sin(torch.arange(100.0)[:, None] * 7)
    return (LOSSES + noise).gather(0, index)


@pytest.mark.parametrize("strategy", [exhaustive, shortlisted])
def test_each_unit_finds_its_own_best_candidate(strategy):
    index, losses = strategy(losses_of, CANDIDATES)
    assert torch.equal(index, LOSSES.argmin(0))
    assert torch.equal(losses, LOSSES.min(0).values)


def test_few_candidates_are_compared_on_all_rows():
    calls = []

    def counted(index, rows):
        calls.append((len(index), rows))
        return losses_of(index, rows)

    shortlisted(counted, CANDIDATES)
    assert calls == [(100, SAMPLED_ROWS), (SHORTLIST, None)]
