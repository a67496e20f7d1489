"""Loader of YAML without a key twice, and without the octal numbers (010) and numbers in base 60 (1:30) of YAML 1.1."""

import re
from typing import Any

import yaml

from qhyvit.errors import InputError

_DIGITS, _EXPONENT = "[0-9][0-9_]*", "[eE][-+]?[0-9]{1,3}"
NUMBERS = {
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$"),
    "tag:yaml.org,2002:float": re.compile(
        rf"([-+]?({_DIGITS}\.[0-9_]*|\.{_DIGITS})({_EXPONENT})?|[-+]?{_DIGITS}{_EXPONENT}|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
}


class _Loader(yaml.SafeLoader):
    """Loader of plain data. Keys are compared before aliases are merged (``<<``), as a key next to one may replace a merged key."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise InputError(f"key {key.value} is there twice, lines {lines[name]} and {line}; remove one")
            lines[name] = line
        return node


_Loader.yaml_implicit_resolvers = {
    start: [(tag, pattern) for tag, pattern in resolvers if tag not in NUMBERS]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))


def parse_yaml(text: str) -> Any:
    """Read YAML as plain data. Raises InputError for a key that is there twice, and exceptions of any kind for text that is no YAML."""
    return yaml.load(text, _Loader)  # a subclass of SafeLoader
