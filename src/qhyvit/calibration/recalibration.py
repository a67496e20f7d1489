"""Results of a second pass over the calibration images, with other gradients or positions than the calibration."""

from collections.abc import Mapping
from dataclasses import dataclass

from qhyvit.calibration.block_inputs import BlockStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.tensor_file import Read


@dataclass(frozen=True)
class Recalibration:
    """Functions that read the rows of each site, sampled anew with their gradients, and the statistics of bridge blocks, all by name.

    The ranges are those of the calibration: the values of both passes are the same.
    """

    rows: Mapping[str, Read[SampledRows]]
    blocks: Mapping[str, Read[BlockStatistics]]
