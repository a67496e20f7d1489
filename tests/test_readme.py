import re

import pytest
from conftest import REPOSITORY


@pytest.mark.parametrize("page", ["README.md", "docs/findings.md", "docs/scaling.md"])
def test_tables_in_the_text_are_those_of_the_run(page):
    text = (REPOSITORY / page).read_text()
    blocks = re.findall(r"<!-- (\S+) -->\n(.*?)<!-- end -->", text, flags=re.DOTALL)
    assert blocks
    for name, content in blocks:
        assert content == (REPOSITORY / name).read_text()
