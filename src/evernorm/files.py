"""State on disk: atomic writes, hashes, names that stay in their folder."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError, StateError

START = "start"
"""Stands for the class before the first one, on disk too."""

PLAIN_NAME = "letters, digits, '_' and '-', at most 64, but not 'start' or 'mean'"
"""What a class name may be, for messages."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")
_TAKEN = {START, "mean"}  # figures of all classes together are named mean/... where those of a class are


def is_plain_name(name: str) -> bool:
    """Tell whether `name` can be a class name: see `PLAIN_NAME`; no dots, no slashes."""
    return _PLAIN_NAME.fullmatch(name) is not None and name not in _TAKEN


def inside(root: Path, relative: str) -> Path:
    """Resolve `relative` below `root`, following links.

    Raises:
        DataError: The path leaves `root`.
    """
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise DataError(f"path {relative!r} leaves its folder; only files inside {root.name!r} are read")
    return path


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_files(folder: Path) -> dict[str, str]:
    """`sha256_file` of every file below a folder, by its path there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def canonical_json(value: Any) -> bytes:
    """A JSON value with sorted keys and no spaces: the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value in its canonical form."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside the target, fsync, then rename: a reader sees the old file or the new one, never half.

    Raises:
        StateError: It cannot be written; what was there before still is.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StateError(f"{path} cannot be written: {error.strerror or error}") from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with a trailing newline, atomically. NaN and infinity are refused."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StateError: The file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StateError(f"{path} is missing; run the stage that writes it, or `dvc pull`") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{path} is not JSON ({error}); restore it with `dvc checkout`") from error


def check_schema(record: Any, schema: int, place: Path, *, earlier: Collection[int] = ()) -> dict[str, Any]:
    """Return the record if its schema is the one this version writes, or an earlier one that it reads.

    Raises:
        StateError: Another schema.
    """
    if not isinstance(record, dict) or record.get("schema") not in {schema, *earlier}:
        found = record.get("schema") if isinstance(record, dict) else record
        raise StateError(
            f"{place} has schema {found!r}, this version reads {schema}; learn it again with this version"
        )
    return record


class StoredArrays(Mapping[str, npt.NDArray[Any]]):
    """The arrays of a safetensors file, read when they are asked for (see `head`).

    Args:
        path: The file.

    Raises:
        StateError: It is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as store:
            self._shapes = {name: tuple(store.get_slice(name).get_shape()) for name in sorted(store.keys())}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.head(name, None)

    def __contains__(self, name: object) -> bool:
        return name in self._shapes  # a mapping's own would read the array

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array, without reading it."""
        return self._shapes[name]

    def head(self, name: str, rows: int | None) -> npt.NDArray[Any]:
        """An array, or its leading rows."""
        if name not in self._shapes:
            raise KeyError(name)
        with _opened(self._path) as store:
            if rows is None:
                return np.asarray(store.get_tensor(name))
            return np.asarray(store.get_slice(name)[: min(rows, self._shapes[name][0])])


def head(arrays: Mapping[str, npt.NDArray[Any]], name: str, rows: int) -> npt.NDArray[Any]:
    """The leading rows of an array; of a stored one no more is read."""
    return arrays.head(name, rows) if isinstance(arrays, StoredArrays) else arrays[name][:rows]


def length(arrays: Mapping[str, npt.NDArray[Any]], name: str) -> int:
    """The rows of an array; a stored one is not read."""
    return arrays.shape(name)[0] if isinstance(arrays, StoredArrays) else len(arrays[name])


def below(arrays: Mapping[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names begin with a prefix, by the rest of their names; no other is read."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as one safetensors file, atomically; names are stored in sorted order."""
    from safetensors.numpy import save

    write_bytes(path, save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}))


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of a safetensors file.

    Raises:
        StateError: The file is missing or damaged.
    """
    with _opened(path) as store:
        return {name: np.asarray(store.get_tensor(name)) for name in store.keys()}  # noqa: SIM118 (no mapping)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as store:
            yield store
    except FileNotFoundError as error:
        raise StateError(f"{path} is missing; run the stage that writes it, or `dvc pull`") from error
    except (SafetensorError, OSError) as error:
        raise StateError(f"{path} is damaged ({error}); restore it with `dvc checkout`") from error
