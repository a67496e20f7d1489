"""Lint what the general tools do not: the rules of the workflow, and the words of the project."""

import re
import subprocess
import sys
from pathlib import Path

from workflow.scripts.words import faults

# Software comes from one locked environment, not from one per rule.
ACCEPTED = "Specify a conda environment or container for each rule."


def rule_faults() -> list[str]:
    """Return the advice of `snakemake --lint`, without the accepted one."""
    result = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True, check=False)
    lints = re.findall(r"^    \* (.*):$", result.stderr, flags=re.MULTILINE)
    if ACCEPTED not in lints:
        return [result.stderr]
    return [f"snakemake --lint: {lint}" for lint in lints if lint != ACCEPTED]


def main() -> None:
    """Print all faults, and exit with 1 if there are any."""
    found = [*rule_faults(), *faults(Path())]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
