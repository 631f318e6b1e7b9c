"""The inbox: one folder a class, complete when its manifest.json is there and everything in it matches.

Nothing in an inbox is ever changed from here, and no image is read before it is fetched.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from evernorm.data.description import Description
from evernorm.data.manifest import PlainName, Sha256
from evernorm.data.naming import DisplayName, key_of
from evernorm.errors import DataError
from evernorm.files import PLAIN_NAME, canonical_json, is_plain_name, sha256_file
from tasks.inbox.storage import PART, WORKERS, Storage, Stored, key_fault, open_storage

MANIFEST: Final = "manifest.json"


def place_of(inbox: str) -> str:
    """An inbox as it is named everywhere: a directory in full, ``s3://bucket/prefix`` without a slash at its end."""
    return inbox.rstrip("/") if "://" in inbox else str(Path(inbox).resolve())


def _deliverable(path: str) -> str:
    if fault := key_fault(path):
        raise ValueError(f"{path!r} {fault}")
    if PurePosixPath(path).name.casefold() == MANIFEST or path.endswith(PART):
        raise ValueError(f"{path!r} is a name that deliveries need themselves; rename it")
    return path


class DeliveredFile(BaseModel):
    """One file of a delivered class: its path in the class folder, its hash and its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, AfterValidator(_deliverable)]
    sha256: Sha256
    size: Annotated[int, Field(ge=0)]


def _apart(files: tuple[DeliveredFile, ...]) -> tuple[DeliveredFile, ...]:
    """Files in the order of their paths, if all of them fit into one folder, whether or not it tells cases apart."""
    if not files:
        raise ValueError("names no files; a class has some")
    files = tuple(sorted(files, key=lambda file: file.path))
    folded = sorted(file.path.casefold() for file in files)
    if twice := sorted({first for first, second in pairwise(folded) if first == second}):
        raise ValueError(f"listed more than once, but for case: {', '.join(map(repr, twice))}")
    folders = {str(folder) for path in folded for folder in PurePosixPath(path).parents}
    if both := sorted(folders.intersection(folded)):
        raise ValueError(f"both a file and a folder: {', '.join(map(repr, both))}")
    return files


class DeliveryManifest(BaseModel):
    """Every file of a delivered class, sorted by path.

    Attributes:
        schema_version: Version of this schema.
        name: Key of the class, a plain name.
        display: What people call it, where that is not the key.
        description: What it is, in words, where somebody has said.
        files: All files but the manifest itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    name: PlainName
    display: DisplayName | None = None
    description: Description | None = None
    files: Annotated[tuple[DeliveredFile, ...], AfterValidator(_apart)]

    @model_validator(mode="after")
    def _is_called(self) -> Self:
        if self.display is not None and (key := key_of(self.display)) != self.name:
            raise ValueError(f"display {self.display!r} gives the key {key}, not {self.name}")
        return self

    def to_bytes(self) -> bytes:
        """Canonical JSON: the same files give the same bytes."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Read a manifest and check it whole.

        Raises:
            DataError: Its ``faults`` list all that is wrong.
        """
        try:
            return cls.model_validate_json(content, strict=True)
        except ValidationError as error:
            raise DataError(
                f"{MANIFEST} is no manifest of a delivery; pack the class again", told(error)
            ) from error


def told(error: ValidationError) -> list[str]:
    """What is wrong with a manifest, a line each."""
    return [
        f"{'.'.join(map(str, fault['loc'])) or 'content'}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors(include_input=False, include_url=False)
    ]


@dataclass(frozen=True)
class Delivery:
    """A class that is complete.

    Attributes:
        name: The class.
        digest: Hex SHA-256 of the manifest's bytes.
        arrived: When the manifest was written.
        manifest: The manifest.
    """

    name: str
    digest: str
    arrived: datetime
    manifest: DeliveryManifest


@dataclass(frozen=True)
class Refusal:
    """What cannot be taken as it is: a class, or something else that lies in the inbox, and all that is wrong."""

    name: str
    faults: tuple[str, ...]

    def __str__(self) -> str:
        """As it is told to a person, a line each fault."""
        return "\n".join([f"{self.name} is left in the inbox:", *(f"  - {fault}" for fault in self.faults)])


def check_reach(place: str) -> None:
    """See that an inbox can be listed.

    Raises:
        ParamsError: See `open_storage`.
        PassingError: It is out of reach.
        PipelineError: It does not exist or refuses.
    """
    open_storage(place).objects()


def look(storage: Storage) -> tuple[list[Delivery], list[Refusal]]:
    """See what is in an inbox; only manifests are read.

    Returns:
        The complete classes in order of arrival, and what cannot be taken. The faults of one class stop no other.

    Raises:
        PassingError: The inbox is out of reach.
        PipelineError: It does not exist or refuses.
    """
    folders: dict[str, list[Stored]] = {}
    loose = []
    for stored in storage.objects():
        top, separator, _ = stored.key.partition("/")
        if separator:
            folders.setdefault(top, []).append(stored)
        else:
            fault = stored.fault or "lies beside the classes; move it into the folder of one, or remove it"
            loose.append(Refusal(_printable(top), (f"{top!r} {fault}",)))

    def examine(top: str) -> Delivery | Refusal:
        twins = [other for other in folders if other != top and other.casefold() == top.casefold()]
        return _examine(storage, top, twins, folders[top])

    with ThreadPoolExecutor(WORKERS) as pool:
        examined = list(pool.map(examine, folders))
    deliveries = [each for each in examined if isinstance(each, Delivery)]
    refusals = [each for each in examined if isinstance(each, Refusal)]
    return sorted(deliveries, key=lambda each: (each.arrived, each.name)), refusals + loose


def _examine(storage: Storage, top: str, twins: list[str], stored: list[Stored]) -> Delivery | Refusal:
    """Judge one folder of an inbox by its listing and its manifest."""
    faults = [f"{each.key!r} {each.fault}" for each in stored if each.fault]
    if not is_plain_name(top):
        name = f"{top!r} is no plain class name; use {PLAIN_NAME}"
        return Refusal(_printable(top), (name, *faults))
    faults += [f"{top}: differs from {twin!r} only by case; rename one of them" for twin in twins]
    files = {each.key.removeprefix(f"{top}/"): each for each in stored if not each.fault}
    written = files.pop(MANIFEST, None)
    if written is None:
        return Refusal(top, (f"{top}: no {MANIFEST} yet: still uploading?", *faults))
    try:
        content = storage.read(written.key)
        manifest = DeliveryManifest.parse(content)
    except DataError as error:
        faults += [f"{written.key}: {fault}" for fault in error.faults] or [error.message]
        return Refusal(top, tuple(faults))
    faults += _mismatches(top, manifest, {path: each.size for path, each in files.items()})
    if faults:
        return Refusal(top, tuple(faults))
    return Delivery(top, sha256(content).hexdigest(), written.modified, manifest)


def _mismatches(top: str, manifest: DeliveryManifest, sizes: Mapping[str, int]) -> list[str]:
    """Where the files of a folder are not those of its manifest, as far as a listing can tell."""
    faults = []
    if manifest.name != top:
        faults.append(f"{top}/{MANIFEST}: it is of class {manifest.name!r}; pack the class again")
    for file in manifest.files:
        found = sizes.get(file.path)
        if found is None:
            faults.append(f"{top}/{file.path}: missing; upload it")
        elif found != file.size:
            faults.append(f"{top}/{file.path}: {found} bytes, the manifest says {file.size}; upload it again")
    named = {file.path for file in manifest.files}
    faults += [
        f"{top}/{path}: not in the manifest; remove it, or pack the class again"
        for path in sizes
        if path not in named
    ]
    return faults


def fetch(
    storage: Storage, delivery: Delivery, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Bring the files of a complete class into a folder of our own; what is there and right is not fetched again.

    Args:
        storage: The inbox.
        delivery: The class.
        folder: Where to; whatever else is in it is removed.
        progress: Called with (files done, files in all) after each file.

    Returns:
        All faults, none if every file is there with its hash.

    Raises:
        PassingError: The inbox is out of reach; another call goes on from here.
        PipelineError: It refuses.
        StateError: `folder` cannot be written.
    """
    files = delivery.manifest.files

    def complete(file: DeliveredFile) -> bool:
        path = folder / file.path
        return path.is_file() and path.stat().st_size == file.size and sha256_file(path) == file.sha256

    def bring(file: DeliveredFile) -> str | None:
        key, path = f"{delivery.name}/{file.path}", folder / file.path
        try:
            storage.fetch(key, path, file.size)
        except DataError as error:
            return error.message
        if (found := sha256_file(path)) == file.sha256:
            return None
        path.unlink()
        return f"{key}: sha256 is {found}, the manifest says {file.sha256}; upload it again"

    wanted = {folder / file.path for file in files}
    _clear(folder, wanted)
    faults = []
    with ThreadPoolExecutor(WORKERS) as pool:
        lacking = [file for file, there in zip(files, pool.map(complete, files), strict=True) if not there]
        for done, fault in enumerate(pool.map(bring, lacking), len(files) - len(lacking) + 1):
            faults += [fault] if fault else []
            if progress is not None:
                progress(done, len(files))
    return faults


def _clear(folder: Path, wanted: set[Path]) -> None:
    """Remove all but the files wanted; links too, so that nothing is written through them."""
    for below, folders, names in os.walk(folder, topdown=False):
        for path in (Path(below, name) for name in (*folders, *names)):
            if path.is_symlink() or (path.is_file() and path not in wanted):
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
