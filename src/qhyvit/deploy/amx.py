"""Grouped convolutions that OpenVINO computes wrongly on processors with AMX, where a file from another processor may run."""

from collections.abc import Iterable
from math import prod

from qhyvit.config.deployment import SUFFIXES
from qhyvit.deploy.exporting import Exported
from qhyvit.graph.nodes import shape_of
from qhyvit.graph.sites import Site

TILE = 64  # channels of 8 bits in a row of a tile


def amx_remarks(exported: Exported, sites: Iterable[Site]) -> list[str]:
    """Return a sentence that names the ``sites`` of the file whose integers AMX would multiply wrongly, or no sentence.

    In OpenVINO 2026.4.1 these are convolutions of one pixel and of several groups, if a group has more than TILE input channels and not a
    multiple of it. Sites in floating point are right.
    """
    if exported.path.suffix != SUFFIXES["openvino"]:
        return []
    integer = {check.site for check in exported.checks if check.form != "float"}
    wrong = [site.name for site in sites if site.name in integer and _wrong(site)]
    if not wrong:
        return []
    return [
        f"On processors with AMX, OpenVINO computes {', '.join(wrong)} wrongly; there, set ONEDNN_MAX_CPU_ISA=AVX512_CORE_VNNI, or export"
        " on such a processor, which keeps them in floating point."
    ]


def _wrong(site: Site) -> bool:
    if site.site_class != "grouped_conv":
        return False
    _, channels, *kernel = shape_of(site.operand_nodes[1])
    return prod(kernel) == 1 and channels > TILE and channels % TILE > 0
