"""Methods of a methods file in their order, with the names that tables and figures give them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qhyvit.config.loading import read_yaml
from qhyvit.config.methods import METHODS, Method

FP32 = "fp32"  # the method of an unquantized network's results


@dataclass(frozen=True)
class MethodCatalog:
    """Order, labels and relations of methods: the same in every table and figure of the experiments that share the methods file.

    ``labels`` maps each method to its label in figures, in the order of the methods file; ``published_as`` maps methods to the names of
    their published cells; ``steps`` maps the steps of the ablation, in order, to their labels.
    """

    labels: Mapping[str, str]
    published_as: Mapping[str, str]
    steps: Mapping[str, str]

    @classmethod
    def of(cls, methods: Mapping[str, Method]) -> "MethodCatalog":
        """Make the catalogue of a methods file's content."""
        return cls(
            labels={name: method.label or name for name, method in methods.items()},
            published_as={name: method.published_as for name, method in methods.items() if method.published_as},
            steps={name: method.ablation_label or method.label or name for name, method in methods.items() if method.ablation_of},
        )

    def order(self, names: Iterable[str]) -> list[str]:
        """Sort distinct names of methods: FP32 first, then as in the methods file, then unknown names alphabetically."""
        place = {name: index for index, name in enumerate((FP32, *self.labels))}
        return sorted(set(names), key=lambda name: (place.get(name, len(place)), name))

    def label(self, name: str) -> str:
        """Label of a method in figures: its name where the methods file does not have it."""
        return self.labels.get(name, name)


@cache
def read_catalog(path: Path) -> MethodCatalog:
    """Read the catalogue of a methods file. Raises InputError for a file that is missing or invalid."""
    methods = read_yaml(path, METHODS)
    return MethodCatalog.of(methods)
