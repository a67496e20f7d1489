"""Tables of results as files: their names are text."""

from io import StringIO
from pathlib import Path

import pandas as pd

NAMES = ("dataset", "model", "family", "mode", "method", "baseline", "site", "operand", "images_hash", "correct")


def read_table(source: Path | StringIO) -> pd.DataFrame:
    """Read a CSV file. Cells of the columns NAMES are text as they are: a site may be called 4.0, a data set NA, and FP32 has no mode."""
    columns = pd.read_csv(source, nrows=0).columns
    if isinstance(source, StringIO):
        source.seek(0)
    blanks = {name: [""] for name in columns if name not in NAMES}
    return pd.read_csv(source, dtype=dict.fromkeys(NAMES, str), keep_default_na=False, na_values=blanks)
