"""What a search minimizes: the losses of m candidates for one operand of a site, [m, units of the granularity]."""

from collections.abc import Callable

import torch
from torch import Tensor

from qhyvit.search.site_problem import Problem

Objective = Callable[[Problem, str, str, Tensor, Tensor], Tensor]
CHUNK = 2**20  # elements of candidates and of their products that are made at once, so that they stay in the cache


def fisher(problem: Problem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
    """E[dO^T diag(g^2) dO], the error of the product weighted by squared gradients (Q-HyViT, arXiv 2303.12557, Eq. 9)."""
    if by_gram_matrix(fisher, problem, operand):
        return _fisher_of_weights(problem, granularity, candidates, other)
    return problem.sum_by_unit(operand, granularity, problem.errors(operand, candidates, other))


def by_gram_matrix(objective: Objective, problem: Problem, operand: str) -> bool:
    """Whether all candidates cost next to nothing: by the Fisher objective, the few weights of each channel of a depthwise convolution."""
    return objective is fisher and problem.depthwise and operand == "weight"


def summed_by_batch(objective: Objective, problem: Problem, operand: str) -> bool:
    """Whether the losses are to be summed over the batches: they are sums, and all the small products at once would leave the cache."""
    return objective is not cosine and problem.weight is None and problem.batches > 1 and chunk_size(problem, operand) == 1


def _fisher_of_weights(problem: Problem, granularity: str, candidates: Tensor, rows: Tensor) -> Tensor:
    """The same for weights [G, K, m, 1] of a depthwise convolution, beside the quantized ``rows`` [G, T, K], with no product a candidate.

    The error of x_hat w_hat is x_hat d + r with d = w_hat - w and r = (x_hat - x) w, so that its square is a quadratic form in d with the
    Gram matrix of the rows.
    """
    weight = problem.tensors["weight"]
    change = (candidates.squeeze(3) - weight).double()
    rounding = ((rows - problem.tensors["input"]) @ weight).mul_(problem.gradient).double()
    weighted = (rows * problem.gradient).double()
    gram, cross = (weighted.transpose(1, 2) @ right for right in (weighted, rounding))
    losses = ((gram @ change + 2 * cross) * change).sum(1) + rounding.square().sum(1)
    return (losses.sum(0) if granularity == "per_tensor" else losses.t()).float()


def cosine(problem: Problem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
    """1 - cos(O, O_hat) (EasyQuant, arXiv 2006.16669, Section 3). Bias left out; a product of zeros has loss 1."""
    factor = problem.factor * problem.column_factor
    reference = problem.along_candidates(operand, problem.reference * factor)
    product = problem.products(operand, candidates, other).mul_(problem.along_candidates(operand, factor))
    dot, energy, full = (
        problem.sum_by_unit(operand, granularity, elements) for elements in (product * reference, product.square(), reference.square())
    )
    similarity = dot / (energy * full).sqrt().clamp(min=torch.finfo(torch.float32).tiny)
    return (1 - similarity).clamp(min=0)  # rounding may have made it less


def mean_squared_error(problem: Problem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
    """The squared error of the operand itself, whatever it is multiplied with (OMSE; Choukroun et al., arXiv 1902.06822, Section 3)."""
    errors = (candidates - problem.along_candidates(operand, problem.tensors[operand])).square_()
    factor = problem.factor if operand == problem.site.operands[0] else problem.column_factor
    errors *= problem.along_candidates(operand, factor.square())
    return problem.sum_by_unit(operand, granularity, errors)


OBJECTIVES: dict[str, Objective] = {"fisher": fisher, "cosine": cosine, "mse": mean_squared_error}


def chunk_size(problem: Problem, operand: str) -> int:
    """How many candidates for the operand are made at once."""
    return max(1, CHUNK // max(problem.tensors[operand].numel(), problem.reference.numel()))
