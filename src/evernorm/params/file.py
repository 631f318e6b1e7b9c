"""params.yaml read and checked: every fault is told at once, with its line and the nearest valid key."""

import copy
import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from evernorm.errors import ParamsError
from evernorm.files import PLAIN_NAME, START, is_plain_name
from evernorm.params.groups import Params
from evernorm.params.model import params_model
from evernorm.params.yaml12 import YAMLError, compose, construct, keys, load
from evernorm.words import counted


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: The file is missing, is not YAML, or has faults; all of them are listed with their line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path.name} is not UTF-8 ({error.reason}); save it as UTF-8") from error
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path} is missing; `evernorm learn --data DIR` makes a workspace with one"
        ) from error
    try:
        tree = compose(text)
        values = construct(tree)
    except YAMLError as error:
        raise ParamsError(f"{path.name} is not YAML: {error}") from error
    lines: dict[tuple[str, ...], int] = {}
    repeated = []
    for key, line in keys(tree):
        if key in lines:
            repeated.append(f"line {line}: {'.'.join(key)} stands here again (first in line {lines[key]})")
        lines.setdefault(key, line)
    return parse_params(values or {}, lines=lines, place=path.name, faults=repeated)


def parse_params(
    values: Any,
    *,
    lines: Mapping[tuple[str, ...], int] | None = None,
    place: str = "params",
    faults: Iterable[str] = (),
) -> Params:
    """Check a tree of plain values.

    Args:
        values: As read from YAML.
        lines: The line of each key, for the messages.
        place: What to call the source in the messages.
        faults: Faults already found in the source.

    Raises:
        ParamsError: Unknown keys (with the nearest valid one), values out of range, a stream that is no chain.
    """
    found = [f"{place} {fault}" for fault in faults]
    params: Params | None = None
    try:
        params = params_model().model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            path = tuple(str(part) for part in detail["loc"])
            line = next(
                (lines[path[:n]] for n in range(len(path), 0, -1) if lines and path[:n] in lines), None
            )
            where = f"{place}{f' line {line}' if line else ''}: "
            found.append(where + _explain(path, detail))
    stream = values.get("stream") if isinstance(values, Mapping) else None
    if isinstance(stream, Mapping):
        found += [f"{place}: {fault}" for fault in _stream_faults(stream)]
    if found or params is None:
        raise ParamsError(f"{counted(len(found), 'fault')} in the parameters; nothing was changed", found)
    return params


def load_value(text: str) -> Any:
    """A YAML value; as it stands what YAML cannot read, like a cron schedule, which begins with an asterisk."""
    try:
        return load(text)
    except YAMLError:
        return text


def override(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Apply ``key.sub=value`` settings (values are YAML) to a copy of the tree.

    Raises:
        ParamsError: A setting without ``=``, or a path through a plain value; all faults at once.
    """
    tree = copy.deepcopy(values)
    faults: list[str] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        *groups, leaf = key.strip().split(".")
        try:
            if not equals or not leaf or not all(groups):
                raise ValueError("expected key.sub=value")
            node = tree
            for group in groups:
                node = node.setdefault(group, {})
                if not isinstance(node, dict):
                    raise ValueError(f"{group} is a value, not a group")
            node[leaf] = load_value(text)
        except ValueError as error:
            faults.append(f"--set {setting}: {error}")
    if faults:
        raise ParamsError(f"{len(faults)} settings cannot be read; nothing was changed", faults)
    return tree


def _explain(path: tuple[str, ...], detail: Any) -> str:
    key = ".".join(path) or "the whole file"
    group: Any = params_model()
    for part in path[:-1]:
        field = (
            group.model_fields.get(part) if isinstance(group, type) and issubclass(group, BaseModel) else None
        )
        group = field.annotation if field else None
    fields = group.model_fields if isinstance(group, type) and issubclass(group, BaseModel) else {}
    if detail["type"] == "extra_forbidden":
        valid = list(fields) if fields else ["after", "needs", "aside"]
        near = difflib.get_close_matches(path[-1], valid, n=1, cutoff=0.5)
        hint = (
            f"did you mean {'.'.join((*path[:-1], near[0]))}?" if near else f"valid here: {', '.join(valid)}"
        )
        return f"unknown key {key}; {hint}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    field = fields.get(path[-1]) if path else None
    default = f" (default {_plain(field.default)})" if field is not None and not field.is_required() else ""
    return f"{key} is {detail['input']!r:.60}: {detail['msg'].removeprefix('Value error, ')}{default}"


def _plain(default: Any) -> Any:
    return default.value if isinstance(default, StrEnum) else default


def _stream_faults(stream: Mapping[Any, Any]) -> list[str]:
    faults = [
        f"stream.{name}: no plain class name; use {PLAIN_NAME}"
        for name in stream
        if not isinstance(name, str) or not is_plain_name(name)
    ]
    after = {
        n: item.get("after") for n, item in stream.items() if isinstance(item, Mapping) and item.get("after")
    }
    aside = {n for n, item in stream.items() if isinstance(item, Mapping) and item.get("aside")}
    for name, previous in after.items():
        if previous != START and previous not in stream:
            near = difflib.get_close_matches(str(previous), [START, *map(str, stream)], n=1)
            faults.append(
                f"stream.{name}.after is {previous!r}, no class of the stream; did you mean {(near or [START])[0]}?"
            )
    if left := sorted(str(n) for n, previous in after.items() if previous in aside):
        faults.append(f"stream: {', '.join(left)} comes after a class that is set aside")
    chain = {n: previous for n, previous in after.items() if n not in aside}
    for previous in sorted({p for p in chain.values() if list(chain.values()).count(p) > 1}, key=str):
        both = ", ".join(str(n) for n, p in chain.items() if p == previous)
        faults.append(f"stream: {both} all come after {previous}; each class has one successor")
    if not faults and len(after) == len(stream) and stream:
        reached, last = 0, START
        successor = {previous: name for name, previous in chain.items()}
        while last in successor:
            last, reached = successor[last], reached + 1
        if reached < len(chain):
            faults.append(
                f"stream: only {reached} of {len(chain)} classes are reached from {START}; the rest is a ring"
            )
    return faults
