"""DVC's YAML, read by a parser in C and written a stage at a time.

DVC reads params.yaml some eight times a stage and walks all of it for each parameter, and to note what one stage made it
reads and writes the whole of dvc.lock, comments and all, in Python: half a second a stage, and seconds with a hundred
classes (docs/decisions/dvc-yaml.md). What stands in for it gives the same values and the same bytes, and leaves to DVC
whatever it does not know.
"""

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Final

from evernorm.files import write_bytes
from evernorm.params.yaml12 import YAMLError, load

_STAGES: Final = "stages:\n"
_HEAD: Final = f"schema: '2.0'\n{_STAGES}"


class _UnknownError(Exception):
    """Something that is DVC's to read, or to complain of."""


def stand_ins() -> list[tuple[Any, str, Callable[..., Any]]]:
    """Whose function of which name is exchanged, and for what; DVC's own is the `__wrapped__` of what is there then."""
    from dvc.dependency.param import ParamsDependency
    from dvc.dvcfile import Lockfile
    from dvc.utils import strictyaml

    return [
        (strictyaml, "parse_yaml", _parse),
        (ParamsDependency, "read_params", _read_params),
        (Lockfile, "dump_stages", _dump_stages),
    ]


def quicken() -> None:
    """Let DVC read and write so, in this process; again does nothing."""
    for owner, name, quick in stand_ins():
        # A later DVC may call it something else: then it is as slow as it is.
        known = getattr(owner, name, None)
        if known is not None and not hasattr(known, "__wrapped__"):
            setattr(owner, name, _or_as_known(quick, known))


def _or_as_known(quick: Callable[..., Any], known: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(known)
    def either(*arguments: Any, **options: Any) -> Any:
        try:
            return quick(*arguments, **options)
        except (_UnknownError, YAMLError, UnicodeDecodeError):
            return known(*arguments, **options)

    return either


@lru_cache(maxsize=4)
def _loaded(text: str) -> Any:
    return load(text)


def _parse(text: str, _: object, typ: str = "safe") -> Any:
    """`dvc.utils.serialize.parse_yaml`."""
    if typ != "safe":
        raise _UnknownError
    return deepcopy(_loaded(text)) or {}


def _read_params(dependency: Any, flatten: bool = True) -> dict[str, Any]:
    """`ParamsDependency.read_params`: the values of its parameters; one that is missing is left out."""
    path = dependency.fs_path
    if (
        not flatten
        or not dependency.params
        or not path.endswith(".yaml")
        or not dependency.repo.fs.isfile(path)
    ):
        raise _UnknownError
    with dependency.repo.fs.open(path, encoding="utf-8") as stream:
        values = _loaded(stream.read())
    found = {key: list(_below(values, key)) for key in dependency.params}
    return {key: deepcopy(value) for key, each in found.items() for value in each}


def _below(values: Any, key: str) -> Iterator[Any]:
    for part in key.split("."):
        if not isinstance(values, dict) or not part.isidentifier():  # a pattern, or a place in a list
            raise _UnknownError
        if part not in values:
            return
        values = values[part]
    yield values


def _dump_stages(lockfile: Any, stages: list[Any], **options: Any) -> None:
    """`Lockfile.dump_stages`: each stage's lines in the place of those it had, or at the end."""
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    path = Path(lockfile.path)
    before = text = path.read_text("utf-8") if path.is_file() else _HEAD
    if not text.startswith(_HEAD) or re.search(r"^[^\s#]", text.removeprefix(_HEAD), re.MULTILINE):
        raise _UnknownError
    for stage in stages:
        lines = dumps_yaml({"stages": to_lockfile(stage, **options)}).removeprefix(_STAGES)
        known = re.search(rf"^  {re.escape(stage.name)}:\n(?:   .*\n)*", text, re.MULTILINE)
        text = text[: known.start()] + lines + text[known.end() :] if known else text + lines
    if text != before:
        write_bytes(path, text.encode())
        lockfile.repo.scm_context.track_file(lockfile.relpath)
