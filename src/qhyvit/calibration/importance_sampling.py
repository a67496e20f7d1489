"""Importance sampling of the output positions of a site, with what its error there is computed from.

A site's product is brought to ``left @ right``. For a convolution or linear layer ``left`` holds rows of inputs [G, T, K] (patches, one
problem per group) and ``right`` the weight [G, K, O]. For a matrix product ``left`` is [H, B, N, D] and ``right`` [H, B, D, M]. The
gradient has the shape of the product.

The error at a site is estimated from P positions per image, drawn with a probability p that follows the energy of the gradient, and of the
inputs, and their tails. The importance of a row is the square root of 1 / (P p): the sum of squared errors times squared importance over
the drawn positions is an unbiased estimate of the sum over all positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from qhyvit.calibration.tensor_file import Read, TensorFile
from qhyvit.graph.sites import Site

# Shares of the probability: a uniform one, which bounds the importance, and one per kind of error, so that no estimate varies much. The
# rounding error of inputs is alike everywhere, that of weights follows the energy of the inputs, and that of clipping their tails.
SHARES = (0.05, 0.25, 0.25, 0.45)
GROUP_SHARE = 2  # a group of channels, which has positions of its own, needs so many times fewer than a whole layer


@dataclass(frozen=True)
class SampledRows:
    """Sampled rows of a site: ``left``, the ``gradient`` times the ``importance`` of each row, and ``right`` where it is an activation too.

    ``importance`` has the shape of the gradient with one column.
    """

    left: Tensor
    gradient: Tensor
    importance: Tensor
    right: Tensor | None = None


class StoredRows:
    """Sampled rows of a site in a file, batch by batch."""

    def __init__(self, file: TensorFile) -> None:
        self._file = file
        self._parts: list[dict[str, Read[Tensor]]] = []

    def add(self, rows: SampledRows) -> None:
        """Add the rows of a batch. Raises UnwritableError where there is no space."""
        self._parts.append({name: self._file.write(tensor) for name, tensor in vars(rows).items() if tensor is not None})

    def read(self) -> SampledRows:
        """Read the rows of all batches."""
        return concatenate([SampledRows(**{name: read() for name, read in part.items()}) for part in self._parts])


def sample_rows(
    site: Site,
    operands: tuple[Tensor, Tensor],
    gradient: Tensor,
    images: int,
    positions: int | None,
    generator: torch.Generator,
    *,
    whole_pixels: bool = False,
) -> SampledRows:
    """Sample ``positions`` output positions per image (None: all) from the operands and the output gradient of a site on a batch.

    A gradient of zeros makes all positions equally likely. Each group of a convolution has positions of its own, unless ``whole_pixels``.
    """
    if site.kind == "conv":
        x, weight = operands
        size = len(x) if site.groups == 1 else 1  # one image at a time where each group has its own draw: together they take much memory
        parts = zip(x.split(size), gradient.split(size), strict=True)
        return concatenate([_conv_rows(site, (part, weight), of_part, positions, generator, whole_pixels) for part, of_part in parts])
    if site.kind == "linear":
        return _linear_rows(operands[0], gradient, None if positions is None else positions * images, generator)
    return _matmul_rows(site, operands, gradient, images, positions, generator)


def broadcast(site: Site, operands: Sequence[Tensor], output: Tensor) -> tuple[Tensor, Tensor]:
    """Expand both operands of a matrix product to the leading dimensions of its output."""
    if site.kind == "matmul":
        operands = [operand.expand(*output.shape[:-2], *operand.shape[-2:]) for operand in operands]
    left, right = operands
    return left, right


def concatenate(parts: list[SampledRows]) -> SampledRows:
    """Join the rows of several batches, or images."""
    if len(parts) == 1:
        return parts[0]
    left, gradient, importance = (torch.cat([getattr(part, name) for part in parts], dim=1) for name in ("left", "gradient", "importance"))
    rights = [part.right for part in parts if part.right is not None]
    return SampledRows(left, gradient, importance, torch.cat(rights, dim=1) if rights else None)


def in_equal_batches(rows: SampledRows, counts: Sequence[int]) -> SampledRows:
    """Return rows of batches with ``counts`` values each, equally many per batch: smaller batches are padded with rows of zeros."""
    ends = [rows.left.shape[1] * end // sum(counts) for end in (0, *accumulate(counts))]
    sizes = [end - start for start, end in pairwise(ends)]
    if len({*sizes}) == 1:
        return rows

    def padded(tensor: Tensor) -> Tensor:
        none = (0, 0) * (tensor.ndim - 2)
        return torch.cat([F.pad(part, (*none, 0, max(sizes) - part.shape[1])) for part in tensor.split(sizes, 1)], dim=1)

    right = None if rows.right is None else padded(rows.right)
    return SampledRows(padded(rows.left), padded(rows.gradient), padded(rows.importance), right)


def sample_positions(
    gradient_energy: Tensor, input_moments: tuple[Tensor, Tensor], count: int | None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw ``count`` of L positions per row and return their indices and importance, both [R, P], where P is ``count`` or L (None: all).

    ``gradient_energy`` [R, L] has the squared gradients; ``input_moments`` are the `moments` of the inputs there, both [R, L].

    The draw is systematic (Madow, 1949): one random number places a comb of equal steps over the summed probabilities, which varies less
    than independent draws where probabilities differ. Where all are equal and the width of a map is a multiple of the step, it draws few
    columns: an estimate without bias, with more variance.
    """
    rows, length = gradient_energy.shape
    if count is None or count >= length:
        return torch.arange(length).expand(rows, length), torch.ones(rows, length)
    energies = gradient_energy, *(gradient_energy * moment for moment in input_moments)
    totals = torch.cat([energy.sum(1, keepdim=True) for energy in energies], 1)
    known = totals >= torch.finfo(totals.dtype).tiny  # smaller values have no reciprocal
    shares = torch.tensor(SHARES[1:])
    first, *others = zip(energies, torch.where(known, totals.reciprocal() * shares, 0).split(1, 1), strict=True)
    probability = torch.mul(*first)
    for energy, share in others:
        probability.addcmul_(energy, share)
    uniform = SHARES[0] + torch.where(known, 0, shares).sum(1, keepdim=True)
    probability += uniform / length
    ends = probability.double().cumsum_(1)
    points = (torch.arange(count) + torch.rand(rows, 1, generator=generator, dtype=torch.float64)) / count * ends[:, -1:]
    index = torch.searchsorted(ends, points).clamp_(max=length - 1)
    return index, (count * probability.gather(1, index)).rsqrt()


def moments(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return the sums over an axis of x^2, the energy, and of x^4, the tails: clipping changes the few largest values only."""
    squares = x.square()
    if squares.shape[axis] == 1:
        squares = squares.squeeze(axis)
        return squares, squares.square()
    return squares.sum(axis), squares.square_().sum(axis)


def sum_of_squares(x: Tensor, axis: int) -> Tensor:
    """Return the sum of squares over an axis; avoids a copy when the axis has length 1."""
    squares = x.square()
    return squares.squeeze(axis) if squares.shape[axis] == 1 else squares.sum(axis)


def _linear_rows(x: Tensor, gradient: Tensor, count: int | None, generator: torch.Generator) -> SampledRows:
    tokens, gradients = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    energy, tails = moments(tokens, 1)
    index, importance = sample_positions(sum_of_squares(gradients, 1)[None], (energy[None], tails[None]), count, generator)
    return SampledRows(tokens[index], gradients[index] * importance[..., None], importance[..., None])


def _conv_rows(
    site: Site, operands: tuple[Tensor, Tensor], gradient: Tensor, positions: int | None, generator: torch.Generator, whole_pixels: bool
) -> SampledRows:
    x, weight = operands
    stride, padding, dilation = conv_geometry(site)
    batch, kernel = x.shape[0], list(weight.shape[2:])
    groups = site.groups
    count = positions if positions is None or groups == 1 else -(-positions // GROUP_SHARE)
    grouped = gradient.reshape(batch, groups, -1, gradient.shape[2] * gradient.shape[3])
    window = torch.ones(groups, 1, *kernel)
    of_pixels = moments(x.reshape(batch, groups, -1, *x.shape[2:]), 2)
    energy, tails = (F.conv2d(moment, window, None, stride, padding, dilation, groups).flatten(2).flatten(0, 1) for moment in of_pixels)
    of_gradient = sum_of_squares(grouped, 2).flatten(0, 1)
    if whole_pixels:
        of_gradient, energy, tails = (of_groups.unflatten(0, (batch, groups)).sum(1) for of_groups in (of_gradient, energy, tails))
    index, importance = sample_positions(of_gradient, (energy, tails), count, generator)
    index, importance = (drawn.view(batch, -1, drawn.shape[1]).expand(-1, groups, -1) for drawn in (index, importance))
    picked = grouped.gather(3, index[:, :, None].expand(-1, -1, grouped.shape[2], -1)) * importance[:, :, None]
    return SampledRows(
        left=_patches(x, index, kernel, stride, padding, dilation, gradient.shape[3]),
        gradient=picked.permute(1, 0, 3, 2).flatten(1, 2),
        importance=importance.transpose(0, 1).flatten(1)[..., None],
    )


def _patches(x: Tensor, index: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], width: int) -> Tensor:
    """Return the input patches [G, B * P, C / G * kh * kw] of the output positions ``index`` [B, G, P] of a map ``width`` wide."""
    batch, groups, count = index.shape
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    row_length = padded.shape[3]
    rows, columns = torch.arange(kernel[0]) * dilation[0], torch.arange(kernel[1]) * dilation[1]
    offsets = (rows[:, None] * row_length + columns).flatten()
    corners = (index // width) * stride[0] * row_length + (index % width) * stride[1]
    pixels = (corners[..., None] + offsets).flatten(2)
    channels = padded.reshape(batch, groups, -1, padded.shape[2] * row_length)
    picked = channels.gather(3, pixels[:, :, None].expand(-1, -1, channels.shape[2], -1))
    picked = picked.view(batch, groups, channels.shape[2], count, len(offsets))
    return picked.permute(1, 0, 3, 2, 4).reshape(groups, batch * count, -1)


def conv_geometry(site: Site) -> tuple[list[int], list[int], list[int]]:
    """Return stride, padding and dilation of a convolution node, each as two numbers."""
    arguments = list(site.node.args) + [None] * 7
    stride, padding, dilation = (arguments[position] or [default] for position, default in ((3, 1), (4, 0), (5, 1)))
    return tuple(list(value) * (2 // len(value)) for value in (stride, padding, dilation))  # type: ignore[arg-type]


def _matmul_rows(
    site: Site, operands: tuple[Tensor, Tensor], gradient: Tensor, images: int, positions: int | None, generator: torch.Generator
) -> SampledRows:
    heads = 1 if site.axis("left") is None else gradient.shape[-3]

    def by_head(x: Tensor) -> Tensor:
        return x.reshape(-1, heads, *x.shape[-2:]).transpose(0, 1)

    left, right, gradients = (by_head(x) for x in (*operands, gradient))
    count = None if positions is None else max(1, positions * images // left.shape[1])
    energy, tails = (moment.flatten(0, 1) for moment in moments(left, 3))
    index, importance = sample_positions(sum_of_squares(gradients, 3).flatten(0, 1), (energy, tails), count, generator)
    index, importance = index.view(*left.shape[:2], -1, 1), importance.view(*left.shape[:2], -1, 1)

    def pick(x: Tensor) -> Tensor:
        return x.gather(2, index.expand(-1, -1, -1, x.shape[3]))

    return SampledRows(pick(left), pick(gradients) * importance, importance, right.contiguous())
