"""The committed reports are by the code that is committed with them; findings.md names those that are not."""

import re
from pathlib import Path

from qhyvit.config.reports import MARKER
from workflow.scripts.archive import git
from workflow.scripts.code_behind import REPORTS, fingerprints, made_by_other_code

FINDINGS = Path("docs/findings.md")


def test_findings_name_each_report_by_older_code():
    code = fingerprints()
    committed = git("ls-files", f"{REPORTS}/*{MARKER}").decode()
    folders = [Path(marker).parent for marker in committed.splitlines()]
    assert folders
    older = {folder.name for folder in folders if made_by_other_code(folder, code)}
    named = re.search(r"following reports are by code with them[^:]*:\n((?:`.*\n)+)", FINDINGS.read_text(encoding="utf-8"))
    assert older <= set(re.findall(r"`([\w-]+)`", named[1] if named else ""))
