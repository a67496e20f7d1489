"""Print the path of an experiment's HTML report, which is in its folder of reports: `python -m workflow.scripts.report_path CONFIG`."""

import sys
from pathlib import Path

from qhyvit.config.loading import load_config
from qhyvit.errors import InputError


def main() -> None:
    """Print the path, or exit with what is wrong in the configuration file."""
    try:
        print(load_config(Path(sys.argv[1]), allow_unset_env=True).experiment.reports / "report.html")
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
