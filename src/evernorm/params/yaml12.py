"""YAML as DVC reads it: version 1.2, in which ``5e-4`` is a number and ``on`` a word; by PyYAML's C parser where it is built.

PyYAML reads version 1.1. What differs are plain scalars alone, so a loader with the resolvers of 1.2 makes it one reader.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from yaml import YAMLError

__all__ = ["YAMLError", "compose", "construct", "keys", "load"]

_RESOLVERS: Final = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+", "-+0123456789"),
    "float": (
        r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
_BASES: Final = {"0b": 2, "0o": 8, "0x": 16}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader with the plain scalars of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, form) for tag, form in known if tag.rpartition(":")[2] not in _RESOLVERS]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer; a zero in front of it does not make it octal."""
        text = str(self.construct_scalar(node)).replace("_", "")
        sign = -1 if text.startswith("-") else 1
        text = text.lstrip("+-")
        base = _BASES.get(text[:2])
        return sign * (int(text[2:], base) if base else int(text))


for _kind, (_form, _first) in _RESOLVERS.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_form})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def load(text: str | bytes) -> Any:
    """Read YAML.

    Raises:
        YAMLError: It is none, or a key stands twice in a mapping.
    """
    node = compose(text)
    seen: set[tuple[str, ...]] = set()
    for path, line in keys(node):
        if path in seen:
            raise YAMLError(f"line {line}: {'.'.join(path)} stands here again")
        seen.add(path)
    return construct(node)


def compose(text: str | bytes) -> yaml.Node | None:
    """The tree of nodes, which know their lines.

    Raises:
        YAMLError: It is no YAML.
    """
    tree: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return tree


def construct(node: yaml.Node | None) -> Any:
    """The values of a tree of nodes.

    Raises:
        YAMLError: A value is none of its kind.
    """
    if node is None:
        return None
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except ValueError as error:  # a thirteenth month
        raise YAMLError(str(error)) from error
    finally:
        loader.dispose()


def keys(node: yaml.Node | None, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every key of the mappings within mappings, with its line; one that stands twice comes twice."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*above, str(key.value))
        yield here, key.start_mark.line + 1
        yield from keys(value, here)
