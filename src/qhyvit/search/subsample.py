"""Problems on some rows of a site, for a first comparison of many candidates, and problems of single batches."""

from collections.abc import Callable

import torch
from torch import Tensor

from qhyvit.calibration.importance_sampling import moments, sample_positions
from qhyvit.search.site_problem import SiteProblem

# A group of channels, which has few weights, and a product, which has rows on both sides, need so many times fewer rows.
GROUP_ROW_DIVISOR = 2
SAMPLED_OUTPUTS = 64  # output channels at which candidates for an input are compared first


def sampled(problem: SiteProblem, operand: str, rows: int) -> SiteProblem:
    """Return the problem on about ``rows`` rows, to compare candidates for the operand; the problem itself unless it has many more.

    Rows are drawn as the calibration draws them, equally many from each batch. Candidates for an input, on which all outputs depend, are
    compared at some of these. Of products of activations there are some, each with some vectors of the operand: its rows or columns.
    """
    if (operand, rows) not in problem.samples:
        sample = _of_products if problem.weight is None else _of_layer
        problem.samples[operand, rows] = sample(problem, operand, rows)
    return problem.samples[operand, rows]


def by_batch(problem: SiteProblem) -> list[SiteProblem]:
    """Return the problem of each batch of images, which needs less of the cache than all batches together."""
    for number in range(problem.batches):
        if ("batch", number) not in problem.samples:
            problem.samples["batch", number] = _of_batch(problem, number)
    return [problem.samples["batch", number] for number in range(problem.batches)]


def one_in(problem: SiteProblem, step: int) -> SiteProblem:
    """Return the problem on one row, or product of activations, in ``step`` of each batch; its losses are a part of the whole losses."""
    if ("step", step) not in problem.samples:
        problem.samples["step", step] = _cut(problem, lambda rows: rows.unflatten(1, (problem.batches, -1))[:, :, ::step].flatten(1, 2))
    return problem.samples["step", step]


def _of_batch(problem: SiteProblem, number: int) -> SiteProblem:
    part = _cut(problem, lambda rows: rows.chunk(problem.batches, dim=1)[number])
    part.batches, part.batch = 1, slice(number, number + 1)
    return part


def _cut(problem: SiteProblem, cut: Callable[[Tensor], Tensor]) -> SiteProblem:
    """Return the problem on the rows, or products of activations, that ``cut`` takes along axis 1."""

    tensors = {name: tensor if name == "weight" else cut(tensor).contiguous() for name, tensor in problem.tensors.items()}
    of_columns = problem.column_importance
    if "right" in tensors:
        tensors["right"] = problem.layout.arrange_right(tensors["right"])
        of_columns = cut(of_columns.expand(-1, problem.gradient.shape[1], -1, -1)).contiguous()
    of_rows = {name: cut(getattr(problem, name)).contiguous() for name in ("gradient", "reference", "importance")}
    return problem.with_rows(tensors=tensors, column_importance=of_columns, **of_rows)


def _of_layer(problem: SiteProblem, operand: str, rows: int) -> SiteProblem:
    groups = problem.site.groups
    if operand == "input":
        sample = sampled(problem, "weight", rows)
        return sample if sample is problem or groups > 1 else _thinned(sample, "weight", SAMPLED_OUTPUTS)
    if groups > 1:
        rows //= GROUP_ROW_DIVISOR
    if problem.tensors["input"].shape[1] < 2 * rows:
        return problem
    return _thinned(problem, "input", -(-rows // problem.batches), problem.batches)


def _of_products(problem: SiteProblem, operand: str, rows: int) -> SiteProblem:
    """Keep some of the operand's vectors in each product, of many products in one in k of each batch, so that about ``rows`` remain."""
    products, of_left, of_right = problem.gradient.shape[1:]
    vectors, rows = of_left if operand == "left" else of_right, rows // GROUP_ROW_DIVISOR
    if products * vectors < 2 * rows:
        return problem
    some = problem if products < 2 * rows else _one_product_in(problem, products // rows)
    return _thinned(some, operand, -(-rows // some.gradient.shape[1]))


def _one_product_in(problem: SiteProblem, step: int) -> SiteProblem:
    """Return the problem on one product in ``step`` of each batch, with losses of the size of those of all."""
    some = one_in(problem, step)
    times = (problem.gradient.shape[1] / some.gradient.shape[1]) ** 0.5
    return some.with_rows(
        gradient=some.gradient * times, importance=some.importance * times, column_importance=some.column_importance * times
    )


def _thinned(problem: SiteProblem, operand: str, count: int, parts: int = 1) -> SiteProblem:
    """Keep ``count`` of the operand's vectors in each of ``parts`` equal parts: rows of the left operand, or columns of the right one."""
    left = operand == problem.site.operands[0]

    def turned(tensor: Tensor) -> Tensor:
        return tensor if left else tensor.mT

    def by_part(tensor: Tensor) -> Tensor:
        return turned(tensor).unflatten(-2, (parts, -1))

    def pick(tensor: Tensor, times: Tensor | float = 1.0) -> Tensor:
        kept = tensor.gather(-2, index.expand(*index.shape[:-1], tensor.shape[-1])) * times
        return turned(kept.flatten(-3, -2))

    vectors, gradient = by_part(problem.tensors[operand]), by_part(problem.gradient)
    index, importance = _draw(vectors, gradient, count)
    thin = problem.with_rows(
        tensors=problem.tensors | {operand: problem.layout.arrange_left(pick(vectors))},
        gradient=pick(gradient, importance),
        reference=pick(by_part(problem.reference)),
    )
    if left:
        thin.importance = pick(by_part(problem.importance), importance)
    else:
        thin.column_importance = problem.column_importance * importance.flatten(-3, -2).mT
    if operand == "weight":
        thin.outputs = index.flatten()
    return thin


def _draw(vectors: Tensor, gradient: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw ``count`` of L vectors [..., L, K] by their moments and gradients [..., L, O]: indices and importance, both [..., count, 1]."""
    energy, *of_vectors = (moment.flatten(0, -2) for moment in (gradient.square().sum(-1), *moments(vectors, -1)))
    generator = torch.Generator().manual_seed(count)
    drawn = sample_positions(energy, (of_vectors[0], of_vectors[1]), min(count, vectors.shape[-2]), generator)
    index, importance = (values.reshape(*vectors.shape[:-2], -1, 1) for values in drawn)
    return index, importance
