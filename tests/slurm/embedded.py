"""An experiment on this machine and over a Slurm of its own, each in a fresh clone: are the conclusions the same bytes?

`python tests/slurm/embedded.py [CONFIG]`, by default the whole embedded run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.extend(str(folder) for folder in Path(__file__).parents[1:3])  # tests, and the repository

from cluster import Cluster
from conftest import REPOSITORY, Project
from kill_and_resume import ON_SLURM

from qhyvit.config.loading import load_config


def main() -> None:
    """Run both and stop with the names of the files that differ, if any do."""
    config = Path(sys.argv[1] if len(sys.argv) > 1 else "config/config.yaml").resolve()
    with tempfile.TemporaryDirectory() as folder:
        local = conclusions(Path(folder) / "local", config)
        with Cluster():
            slurm = conclusions(Path(folder) / "slurm", config, *ON_SLURM)
    differing = [name for name in local if local[name] != slurm[name]]
    if differing:
        sys.exit(f"not the same bytes: {', '.join(differing)}")
    print(f"the same bytes: {', '.join(local)}")


def conclusions(root: Path, config: Path, *arguments: str) -> dict[str, bytes]:
    """Run the experiment in a clone, and read what it concludes."""
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(root)], check=True)
    Project(root).snakemake("--configfile", str(config), *arguments)
    reports = root / load_config(config, allow_unset_env=True).experiment.reports
    return {name: (reports / name).read_bytes() for name in ("results.csv", "correct.csv", "metrics.json", "challenges.csv")}


if __name__ == "__main__":
    main()
