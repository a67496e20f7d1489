import pytest
import torch

from qhyvit.search.candidates import coarse_to_fine, exhaustive


@pytest.mark.parametrize("strategy", [exhaustive, coarse_to_fine])
def test_each_unit_finds_the_bottom_of_its_own_basin(strategy):
    bottoms = torch.tensor([0, 3, 50, 77, 99])
    index, loss = strategy(lambda index: (index - bottoms).double().square() + 1, 100, torch.zeros(5, dtype=torch.int64))
    assert index.tolist() == bottoms.tolist()
    assert loss.tolist() == [1] * 5


def test_coarse_to_fine_tries_a_fifth_of_the_candidates():
    tried = []

    def losses_of(index):
        tried.append(index)
        return (index - 42).double().abs()

    index, _ = coarse_to_fine(losses_of, 100, torch.zeros((), dtype=torch.int64))
    assert int(index) == 42
    assert len(tried) <= 20
