"""Results of a second pass over the calibration images, with other gradients or positions than the calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

from qhyvit.calibration.block_inputs import BlockStatistics
from qhyvit.calibration.importance_sampling import SampledRows


@dataclass(frozen=True)
class Recalibration:
    """The rows of every site, sampled anew with their gradients, and the statistics of the bridge blocks if needed, both by name.

    The ranges are those of the calibration: the values of both passes are the same.
    """

    rows: Mapping[str, SampledRows]
    blocks: Mapping[str, BlockStatistics]
