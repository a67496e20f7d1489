"""Memory layout of the operands of a site, and of many fake-quantized copies of an operand."""

from dataclasses import dataclass

from torch import Tensor

from qhyvit.graph.sites import Site
from qhyvit.quantizers.uniform import fake_quantize


@dataclass(frozen=True)
class OperandLayout:
    """Layout of left [G, T, K] and right [G, K, O] of a layer, or of left [H, B, N, D] and right [H, B, D, M] of a product of activations.

    Candidates for the left operand have a new axis before its rows, candidates for the right operand one before its columns, so that all
    candidates share one product.
    """

    site: Site
    depthwise: bool

    def candidate_axis(self, operand: str) -> int:
        """Return the axis of the candidates in tensors of an operand's candidates and of their products."""
        return -3 if operand == self.site.operands[0] else -2

    def arrange_left(self, rows: Tensor) -> Tensor:
        """Return equal values in another order of memory: of a depthwise convolution the rows are innermost, many next to few weights."""
        return rows.transpose(1, 2).contiguous().transpose(1, 2) if self.depthwise else rows

    def arrange_right(self, rows: Tensor) -> Tensor:
        """Return equal values in another order of memory: of an activation each column is contiguous, as candidates are made by column."""
        return rows.mT.contiguous().mT if self.site.kind == "matmul" else rows

    def weight_rows(self, weight: Tensor, outputs: Tensor | slice) -> Tensor:
        """Return the weight [O, ...] of a layer as right operand [G, K, O / G], with the output channels ``outputs`` of each group."""
        return weight.reshape(self.site.groups, -1, weight[0].numel()).transpose(1, 2)[..., outputs].contiguous()

    def on_grids(self, operand: str, rows: Tensor, scale: Tensor, zero_point: Tensor, limits: tuple[int, int]) -> Tensor:
        """Return the rows of an operand on each of m grids, along the axis of the candidates.

        Scales and zero points are [B, m, C]: B is 1 or the number of batches, C is 1 or the number of channels.
        """
        if operand == "right":  # as the rows of a left operand: loops over few columns would be short
            return self.on_grids("left", rows.mT, scale, zero_point, limits).movedim(-1, -3)
        grids = self._spread(operand, rows, scale), self._spread(operand, rows, zero_point)
        if operand == "weight":
            return fake_quantize(rows.unsqueeze(2), *grids, *limits)
        by_batch = rows.unflatten(1, (len(scale), -1))
        if operand == "left":
            return fake_quantize(by_batch.unsqueeze(3), *grids, *limits).flatten(1, 2)
        if self.depthwise and by_batch.shape[2] < scale.shape[1]:  # many candidates and few rows: the former are innermost in memory
            scale, zero_point = (grid[..., :1].movedim(1, -1).contiguous() for grid in grids)
            return fake_quantize(by_batch.unsqueeze(-1), scale, zero_point, *limits).movedim(-1, 1).flatten(2, 3)
        return fake_quantize(by_batch.unsqueeze(1), *grids, *limits).flatten(2, 3)

    def _spread(self, operand: str, rows: Tensor, values: Tensor) -> Tensor:
        """Bring values [B, m, C] of m candidates to the axes where the operand's rows on m grids, in B batches, have their channels."""
        if operand == "left":
            return values.permute(2, 0, 1)[:, :, None, :, None, None]
        grouped = values[None] if values.shape[2] == 1 else values.unflatten(2, (self.site.groups, -1)).movedim(2, 0)
        if operand == "weight":
            return grouped
        repeats = rows.shape[2] // grouped.shape[3] if values.shape[2] > 1 else 1
        return grouped.repeat_interleave(repeats, dim=3).transpose(1, 2).unsqueeze(3)
