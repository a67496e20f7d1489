import torch

from qhyvit.search.candidates import FINALISTS, SAMPLED_ROWS, SHORTLIST, exhaustive, successive_halving

CANDIDATES = torch.arange(100)[:, None].expand(100, 5)
LOSSES = torch.rand(100, 5, generator=torch.Generator().manual_seed(0))


def losses_of(index, rows):
    """The truth on all rows, a disturbed version on few."""
    noise = 0 if rows is None else 0.1 * torch.sin(torch.arange(100.0)[:, None] * 7)
    return (LOSSES + noise).gather(0, index)


def test_exhaustive_compares_all_candidates_on_all_rows():
    remaining, losses = exhaustive(losses_of, CANDIDATES)
    assert torch.equal(remaining, CANDIDATES)
    assert torch.equal(losses, LOSSES)


def test_each_unit_keeps_its_own_best_candidates():
    remaining, losses = successive_halving(losses_of, CANDIDATES)
    assert remaining.shape == losses.shape == (FINALISTS, 5)
    assert torch.equal(losses[0], LOSSES.min(0).values)
    assert torch.equal(remaining[0], LOSSES.argmin(0))


def test_few_candidates_are_compared_on_all_rows():
    calls = []

    def counted(index, rows):
        calls.append((len(index), rows))
        return losses_of(index, rows)

    remaining, _ = successive_halving(counted, CANDIDATES)
    successive_halving(counted, remaining)
    assert calls == [(100, SAMPLED_ROWS), (SHORTLIST, None), (FINALISTS, None)]
