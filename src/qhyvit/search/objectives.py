"""Objectives of the search: losses of m candidates for one operand of a site, [m, units of the granularity]."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from qhyvit.search.site_problem import SiteProblem

CHUNK = 2**20  # elements of candidates and of their products that are made at once, so that they stay in the cache


class Objective(ABC):
    """A loss to minimize, a sum over the rows of all images."""

    @abstractmethod
    def losses(self, problem: SiteProblem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the losses of ``candidates``, the operand's rows on m grids, whose memory is reused, with the ``other`` operand's rows."""

    def has_closed_form(self, problem: SiteProblem, operand: str) -> bool:
        """Tell if the losses need no product per candidate, so that comparing all candidates on all rows is cheap."""
        return False

    def compares_all(self, problem: SiteProblem, operand: str) -> bool:
        """Tell if all candidates are compared on all rows, instead of ever fewer on ever more rows."""
        return self.has_closed_form(problem, operand)

    def is_split_by_batch(self, problem: SiteProblem, operand: str) -> bool:
        """Tell if the losses are to be summed over batches: the many small products of all batches at once would not stay in the cache."""
        return problem.weight is None and problem.batches > 1 and chunk_size(problem, operand) == 1


class FisherError(Objective):
    """E[dO^T diag(g^2) dO]: squared error of the product, weighted by squared gradients (Q-HyViT, arXiv 2303.12557, Eq. 9)."""

    def losses(self, problem: SiteProblem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the weighted squared errors."""
        if self.has_closed_form(problem, operand):
            return _gram_losses(problem, granularity, candidates, other)
        return problem.sum_by_unit(operand, granularity, problem.errors(operand, candidates, other))

    def has_closed_form(self, problem: SiteProblem, operand: str) -> bool:
        """Tell if the operand is the weight of a depthwise convolution, whose few values per channel have a small Gram matrix."""
        return problem.layout.depthwise and operand == "weight"


class CosineDistance(Objective):
    """1 - cos(o, o_hat), summed over tokens (EasyQuant, arXiv 2006.16669, Section 3, as `configs/BasePTQ` of PTQ4ViT's code runs it).

    The vector o holds all output features of a token or pixel, with the bias; of a product of activations it is a row of one head. A
    vector of zeros has distance 1 from any other. The vectors are compared in float64: for near vectors, cos is 1 up to float32's rounding.
    """

    def losses(self, problem: SiteProblem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the distances, each times its token's squared importance; operands of layers are per-tensor, or weights per part."""
        columns = problem.along_candidates(operand, problem.column_importance)
        product, reference = problem.products(operand, candidates, other).double(), problem.reference.double()
        if problem.output_bias is not None:
            product += problem.along_candidates(operand, problem.output_bias)
            reference = reference + problem.output_bias
        product *= columns
        reference = problem.along_candidates(operand, reference) * columns
        dot, energy, full = (
            _over_features(problem, granularity, elements) for elements in (product * reference, product.square(), reference.square())
        )
        similarity = dot / (energy * full).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        distance = (1 - similarity).clamp(min=0)  # rounding may give less
        importance = problem.along_candidates(operand, problem.importance[: len(distance)])
        unit = "per_channel" if granularity == "per_part" else granularity  # a part's distance is in one column
        return problem.sum_by_unit(operand, unit, distance * importance.double().square())

    def compares_all(self, problem: SiteProblem, operand: str) -> bool:
        """Tell if a convolution has groups: a sample draws other positions in each, so that no pixel would be whole."""
        return problem.site.groups > 1


class OperandError(Objective):
    """Squared error of the operand itself, whatever it is multiplied with (OMSE; Choukroun et al., arXiv 1902.06822, Section 3)."""

    def losses(self, problem: SiteProblem, operand: str, granularity: str, candidates: Tensor, other: Tensor) -> Tensor:
        """Return the squared errors."""
        errors = (candidates - problem.along_candidates(operand, problem.tensors[operand])).square_()
        importance = problem.importance if operand == problem.site.operands[0] else problem.column_importance
        errors *= problem.along_candidates(operand, importance.square())
        return problem.sum_by_unit(operand, granularity, errors)


OBJECTIVES: dict[str, Objective] = {"fisher": FisherError(), "cosine": CosineDistance(), "mse": OperandError()}


def chunk_size(problem: SiteProblem, operand: str) -> int:
    """Return how many candidates for the operand are made at once."""
    return max(1, CHUNK // max(problem.tensors[operand].numel(), problem.reference.numel()))


def _over_features(problem: SiteProblem, granularity: str, elements: Tensor) -> Tensor:
    """Sum elements of a product over the features of a token: the columns, and the groups of a convolution; both axes are kept."""
    if granularity == "per_part":
        return problem.sum_by_part(elements)
    features = elements.sum(-1, keepdim=True)
    return features if problem.weight is None else features.sum(0, keepdim=True)


def _gram_losses(problem: SiteProblem, granularity: str, candidates: Tensor, rows: Tensor) -> Tensor:
    """Return the Fisher errors of weights [G, K, m, 1] of a depthwise convolution, with the quantized ``rows`` [G, T, K].

    The error of x_hat w_hat is x_hat d + r with d = w_hat - w and r = (x_hat - x) w, so that its square is a quadratic form in d with the
    Gram matrix of the rows.
    """
    weight = problem.tensors["weight"]
    change = (candidates.squeeze(3) - weight).double()
    input_error = ((rows - problem.tensors["input"]) @ weight).mul_(problem.gradient).double()
    weighted = (rows * problem.gradient).double()
    gram, cross = (weighted.transpose(1, 2) @ right for right in (weighted, input_error))
    losses = ((gram @ change + 2 * cross) * change).sum(1) + input_error.square().sum(1)
    return (losses.sum(0) if granularity == "per_tensor" else losses.t()).float()
