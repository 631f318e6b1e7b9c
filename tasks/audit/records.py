"""The files that DVC writes, as far as an audit reads them, and the hashes in them."""

import hashlib
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evernorm.data.manifest import RelativePath
from evernorm.errors import StateError
from evernorm.params.yaml12 import YAMLError, load

Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}(\.dir)?$")]


class DvcRecord(BaseModel):
    """What DVC writes; fields that are not named here are DVC's alone."""

    model_config = ConfigDict(frozen=True)


class Hashed(DvcRecord):
    """An input or output with DVC's hash; that of a folder ends with ``.dir``."""

    path: RelativePath
    md5: Md5
    size: int | None = None
    nfiles: int | None = None


class LockedStage(DvcRecord):
    """A stage in dvc.lock."""

    deps: tuple[Hashed, ...] = ()
    outs: tuple[Hashed, ...] = ()
    params: dict[str, dict[str, Any]] = {}


class Lock(DvcRecord):
    """dvc.lock."""

    stages: dict[str, LockedStage]


class DvcFile(DvcRecord):
    """A .dvc file."""

    outs: Annotated[tuple[Hashed, ...], Field(min_length=1, max_length=1)]


class Listed(DvcRecord):
    """A file in a ``.dir`` object."""

    md5: Md5
    relpath: RelativePath


Kind = TypeVar("Kind", bound=DvcRecord)


def parse(kind: type[Kind], content: bytes) -> Kind:
    """Read a YAML file of DVC's.

    Raises:
        StateError: It is none.
    """
    try:
        return kind.model_validate(read_yaml(content))
    except ValidationError as error:
        fault = error.errors()[0]
        raise StateError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error


def read_yaml(content: bytes) -> Any:
    """Read YAML as DVC does.

    Raises:
        StateError: It is none.
    """
    try:
        return load(content)
    except YAMLError as error:
        raise StateError("no YAML") from error


def md5(content: bytes) -> str:
    """As DVC names content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    """As everything else names content."""
    return hashlib.sha256(content).hexdigest()
