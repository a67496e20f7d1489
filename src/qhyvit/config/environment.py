"""Environment variables in the paths of a configuration, as in ``${IMAGENET}/train``."""

import os
from pathlib import Path
from string import Template


def env_variables(path: Path) -> list[str]:
    """Names of the environment variables in a path."""
    return Template(str(path)).get_identifiers()


def is_expandable(path: Path) -> bool:
    """Tell if each ``$`` in a path begins the name of an environment variable, or is written twice, which stands for one."""
    return Template(str(path)).is_valid()


def expand_env(path: Path) -> Path:
    """Replace the environment variables in a path by their values; one that is not set stays as it is."""
    return Path(Template(str(path)).safe_substitute(os.environ))
