"""Name grouped convolutions that OpenVINO may compute wrongly on processors with AMX: a file that was exported elsewhere may run there."""

from collections.abc import Iterable
from math import prod

from qhyvit.config.deployment import SUFFIXES
from qhyvit.deploy.exporting import Exported
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.sites import Site

TILE = 64  # 8-bit values in a row of an AMX tile


def amx_remarks(exported: Exported, sites: Iterable[Site]) -> list[str]:
    """Return a sentence that names the ``sites`` of the file whose integers AMX may multiply wrongly, or no sentence.

    In OpenVINO 2026.4.1 some 1 x 1 convolutions with several groups are wrong, if a group has more than TILE input channels and their
    number is no multiple of TILE. Not all of these are: strides, maps of few pixels, and numbers that are no multiples of 4 were right.
    Sites in floating point are right.
    """
    if exported.path.suffix != SUFFIXES["openvino"]:
        return []
    integer = {check.site for check in exported.checks if check.form != "float"}
    suspect = [site.name for site in sites if site.name in integer and _may_be_wrong(site)]
    if not suspect:
        return []
    return [
        f"On processors with AMX, OpenVINO may compute {', '.join(suspect)} wrongly; there, set ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI, or"
        " export on such a processor, which keeps them in floating point."
    ]


def _may_be_wrong(site: Site) -> bool:
    if site.site_class != "grouped_conv":
        return False
    _, channels, *kernel = shape_of(site.operand_nodes[1])
    return prod(kernel) == 1 and channels > TILE and channels % TILE > 0
