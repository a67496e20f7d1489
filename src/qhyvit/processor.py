"""The processor of this machine, as the system describes it."""

import platform
from pathlib import Path

VNNI = "vnni"  # instructions that add products of 8-bit integers in 32 bits, in the names of flags such as avx512_vnni


def processor() -> str:
    """Return the name of the processor's model, and if it has VNNI; "unknown" if the system does not tell."""
    description = _description()
    names = [line.partition(":")[2].strip() for line in description.splitlines() if line.startswith("model name")]
    name = next(iter(names), platform.processor()) or "unknown"
    return f"{name} with VNNI" if VNNI in description else name


def adds_in_16_bits() -> bool:
    """Return True for an x86 processor without VNNI."""
    description = _description()
    return "avx2" in description and VNNI not in description


def _description() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text() if cpuinfo.exists() else ""
