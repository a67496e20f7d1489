import re

from conftest import REPOSITORY


def test_the_table_in_the_readme_is_the_one_of_the_run():
    readme = (REPOSITORY / "README.md").read_text()
    blocks = re.findall(r"<!-- (\S+) -->\n(.*?)<!-- end -->", readme, flags=re.DOTALL)
    assert blocks
    for name, content in blocks:
        assert content == (REPOSITORY / name).read_text()
