"""Fingerprints of code, on a package of four modules: `first` and `second` import `shared`, and `first` imports `settings`."""

import pytest

from workflow.scripts.fingerprint import CodeFingerprints, syntax

MODULES = {
    "__init__": "",
    "shared": "SIZE = 2\n\n\ndef double(value):\n    return SIZE * value\n",
    "settings": "import tiny.limits\n\nDEFAULT = 1\n",
    "limits": "LIMIT = 1\n",
    "first": "from tiny.settings import DEFAULT\nfrom tiny.shared import double\n\nRESULT = double(DEFAULT)\n",
    "second": "import typer\n\nfrom tiny import shared\n\nOPTION = typer.Option(2, help='Two.')\n",
    "alone": "class Alone:\n    async def wait(self):\n        return None\n",
}
PROSE = {
    "comment": ("SIZE = 2", "SIZE = 2  # two\n# done"),
    "docstring of the module": ("SIZE = 2", '"""Sizes."""\n\nSIZE = 2'),
    "docstring of a function": ("    return SIZE", '    """Return twice the value."""\n    return SIZE'),
    "docstring of a class": ("class Alone:", 'class Alone:\n    """One of a kind."""'),
    "docstring of a coroutine": ("        return None", '        """Wait."""\n        return None'),
    "formatting": ("SIZE * value", "(\n        SIZE  *\n        value\n    )"),
    "help of an option": ("help='Two.'", "help='The number two.'"),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of the package ``tiny``, which can be imported."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def fingerprints(by_value=()):
    codes = CodeFingerprints("tiny", by_value)
    return {name: codes.of(f"tiny.{name}") for name in ("first", "second", "alone")}


def edit(package, old, new):
    (path,) = (path for path in package.glob("*.py") if old in path.read_text())
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(("old", "new"), PROSE.values(), ids=PROSE.keys())
def test_prose_changes_no_fingerprint(package, old, new):
    before = fingerprints()
    edit(package, old, new)
    assert fingerprints() == before


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("SIZE = 2", "SIZE = 3", {"first", "second"}),
        ("LIMIT = 1", "LIMIT = 2", {"first"}),
        ("Option(2", "Option(3", {"second"}),
        ("return None", "return 'None'", {"alone"}),
    ],
)
def test_constant_changes_the_fingerprints_of_its_users(package, old, new, changed):
    before = fingerprints()
    edit(package, old, new)
    after = fingerprints()
    assert {name for name in before if before[name] != after[name]} == changed


@pytest.mark.parametrize(("old", "new"), [("DEFAULT = 1", "DEFAULT = 2"), ("LIMIT = 1", "LIMIT = 2")])
def test_modules_by_value_change_no_fingerprint(package, old, new):
    before = fingerprints(by_value=["tiny.settings"])
    edit(package, old, new)
    assert fingerprints(by_value=["tiny.settings"]) == before


def test_data_file_of_the_package_is_no_code(package):
    before = fingerprints()
    (package / "settings.yaml").write_text("default: 1\n")
    assert fingerprints() == before


def test_fingerprint_of_two_modules_covers_both(package):
    before = CodeFingerprints("tiny").of("tiny.first", "tiny.alone")
    edit(package, "return None", "return 1")
    assert CodeFingerprints("tiny").of("tiny.first", "tiny.alone") != before


def test_module_of_a_user_counts_without_its_prose(package, tmp_path):
    module = tmp_path / "own_network.py"
    found = []
    for text in ("WIDTH = 8\n", '"""A network."""\n\nWIDTH = 8  # channels\n', "WIDTH = 9\n"):
        module.write_text(text)
        found.append(CodeFingerprints("tiny").of("tiny.first", "own_network"))
    assert found[0] == found[1] != found[2]
    with pytest.raises(ModuleNotFoundError, match="own_networks"):
        CodeFingerprints("tiny").of("own_networks")


def test_syntax_is_the_same_text_in_every_version_of_python():
    assert syntax("def f(): return [a]") == (
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]),"
        " body=[Return(value=List(elts=[Name(id='a', ctx=Load())], ctx=Load()))], decorator_list=[])], type_ignores=[])"
    )
