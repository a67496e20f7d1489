"""Results of a second pass over the calibration images, with gradients other than those of the FP32 network."""

from collections.abc import Mapping
from dataclasses import dataclass

from qhyvit.calibration.block_inputs import BlockStatistics
from qhyvit.calibration.importance_sampling import SampledRows


@dataclass(frozen=True)
class Recalibration:
    """The rows of every site, sampled anew with their gradients, and the statistics of every bridge block, both by name.

    The ranges are those of the calibration: the values of both passes are the same.
    """

    rows: Mapping[str, SampledRows]
    blocks: Mapping[str, BlockStatistics]
