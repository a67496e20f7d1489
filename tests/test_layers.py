"""The layers of the library: no module imports from a layer above its own, and files stay short."""

import grimp
import pytest
from conftest import REPOSITORY

LAYERS = [  # from the lowest on; the packages or modules of a line stand next to each other
    ("commit", "errors", "processor", "torchvision_compat"),
    ("files", "own_files", "progress", "provenance"),
    ("config", "presets"),
    ("device",),  # the devices that an experiment may state
    ("data",),
    ("quantizers",),
    ("graph",),
    ("models",),
    ("deploy",),  # below the methods, which may search for what a target executes
    ("peers",),
    ("calibration",),
    ("search",),
    ("methods",),
    ("tuning",),
    ("analysis", "evaluation"),
    ("reporting",),
    ("api",),
    ("cli",),
    ("__main__",),
]
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
LONGEST = 300  # lines of a file
LONGER = {"models/mobile_former.py"}  # one network, kept in one file as its source is


@pytest.fixture(scope="module")
def imports():
    """The packages or modules right below qhyvit that each module imports from."""
    graph = grimp.build_graph("qhyvit", include_external_packages=False, exclude_type_checking_imports=True, cache_dir=None)
    modules = graph.modules - {"qhyvit"}
    return {module: graph.find_modules_directly_imported_by(module) - {"qhyvit"} for module in modules}


def unit(module: str) -> str:
    """The package or module right below qhyvit that a module belongs to."""
    return module.split(".")[1]


def test_every_module_belongs_to_a_layer(imports):
    assert {unit(module) for module in imports} == LEVELS.keys()


def test_no_module_imports_from_a_layer_above_its_own(imports):
    upwards = [f"{module} imports {other}" for module in imports for other in imports[module] if LEVELS[unit(other)] > LEVELS[unit(module)]]
    assert upwards == []


def test_packages_of_one_layer_do_not_import_each_other_in_a_circle(imports):
    pairs = {(unit(module), unit(other)) for module in imports for other in imports[module] if unit(module) != unit(other)}
    assert [pair for pair in pairs if pair[::-1] in pairs] == []


def test_no_file_is_longer_than_one_idea():
    source = REPOSITORY / "src/qhyvit"
    lengths = {str(path.relative_to(source)): len(path.read_text().splitlines()) for path in source.rglob("*.py")}
    assert {name for name, lines in lengths.items() if lines > LONGEST} == LONGER
