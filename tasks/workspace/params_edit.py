"""YAML files changed in place: comments and layout stay, which ruamel.yaml alone can do."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import ParamsError
from evernorm.files import write_bytes
from evernorm.params.file import parse_params
from evernorm.params.groups import Params
from evernorm.params.yaml12 import YAMLError, load

if TYPE_CHECKING:
    from ruamel.yaml import YAML


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The content of a YAML file, to be changed in place; it is written back where the block ends without an error."""
    tree = _yaml().load(path.read_text(encoding="utf-8")) or {}
    yield tree
    write_bytes(path, _dumped(tree))


def write_params(path: Path, old: Mapping[str, Any], params: Params) -> None:
    """Bring changed parameters into params.yaml.

    Args:
        path: The file.
        old: What it says now.
        params: What it is to say.

    Raises:
        ParamsError: It could not be read again as it was meant; nothing is written then.
    """
    with edited(path) as tree:
        # DVC reads the group of the method from the file, also where all of it is at its default.
        there = {key: value for key, value in old.items() if key in tree or key != params.method}
        _merge(tree, params.model_dump(mode="json"), there)
        try:
            meant = parse_params(load(_dumped(tree))) == params
        except (YAMLError, ParamsError):
            meant = False
        if not meant:
            raise ParamsError(
                f"{path} cannot be changed in its present layout; bring it into that of a new one"
            )


def _yaml() -> "YAML":
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # what is on one line stays there
    return yaml


def _dumped(tree: Any) -> bytes:
    text = io.BytesIO()
    _yaml().dump(tree, text)
    return text.getvalue()


def _merge(tree: Any, new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Put changed values into a commented tree."""
    for key in old.keys() - new.keys():  # a class that left the stream
        tree.pop(key, None)
    for key, value in new.items():
        if value == old.get(key):
            continue
        # One that is or becomes empty is replaced: ruamel.yaml keeps the layout, and `{}` has another.
        if value and isinstance(value, Mapping) and tree.get(key):
            _merge(tree[key], value, old.get(key, {}))
        else:
            tree[key] = _written(value)


def _written(value: Any) -> Any:
    """A value in the form in which it is written; lists on one line."""
    from ruamel.yaml.comments import CommentedSeq

    if isinstance(value, Mapping):
        return {key: _written(each) for key, each in value.items()}
    if isinstance(value, list):
        # `[a, b]`: ruamel.yaml loses the line break behind a block that becomes empty.
        line = CommentedSeq(map(_written, value))
        line.fa.set_flow_style()
        return line
    return value
