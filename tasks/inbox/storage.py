"""Where classes are delivered: a directory or an S3 prefix, behind one protocol.

A file is there whole or not at all; a transfer that was interrupted goes on with the next file. A connection that
fails is a `PassingError`; whatever else keeps a place from being used is a `PipelineError` that says what to do
(`tasks.faults.storage_faults`).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from evernorm.data.manifest import leaves_folder
from evernorm.errors import DataError, ParamsError, PipelineError, StateError
from evernorm.files import inside, sha256_file
from tasks.faults import storage_faults

SMALL = 64 * 2**20
"""What `Storage.read` reads at most, in bytes."""

WORKERS = 8
"""Files that are worth transferring at once."""

PART = ".part"
"""How the names of unfinished files end; see `Incoming`."""

_BLOCK = 2**20
_LONGEST = 240  # of the 255 bytes that a file name may have, so that `PART` has room


@dataclass(frozen=True)
class Stored:
    """One stored file.

    Attributes:
        key: POSIX path relative to the place.
        size: Bytes.
        modified: When it was written, in UTC.
        fault: Why it is never read, where it is not: its key leaves the place, or it is no regular file.
    """

    key: str
    size: int
    modified: datetime
    fault: str | None = None


class Storage(Protocol):
    """A place that holds files by key."""

    @property
    def place(self) -> str:
        """What a user calls it."""

    def objects(self, folder: str = "") -> list[Stored]:
        """Everything there, or below one of its folders, by key; what is never read too, with its fault."""

    def read(self, key: str) -> bytes:
        """Read a small file.

        Raises:
            DataError: It is not there, may not be read, or is larger than `SMALL`.
        """

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Bring a file to `target`.

        Raises:
            DataError: It is not there, may not be read, or is not of that size.
            StateError: `target` cannot be written.
        """

    def holds(self, key: str, sha256: str) -> bool:
        """Tell whether the file is there with that content."""

    def send(self, source: Path, key: str, sha256: str) -> None:
        """Store a file that has this hash, whole or not at all."""

    def write(self, key: str, content: bytes) -> None:
        """Store a small file, whole or not at all."""

    def remove(self, key: str) -> None:
        """Remove a file, if it is there."""


def open_storage(place: str) -> Storage:
    """The storage that a user names: a directory or ``s3://bucket/prefix``.

    Raises:
        ParamsError: Nothing is named, or no bucket, another scheme, a prefix that leaves the bucket.
    """
    if not place:
        raise ParamsError("no inbox is named; name a directory or s3://bucket/prefix")
    scheme, separator, rest = place.partition("://")
    if not separator:
        return FolderStorage(Path(place))
    if scheme != "s3":
        raise ParamsError(f"{place!r}: {scheme}:// is not known; name a directory or s3://bucket/prefix")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not bucket:
        raise ParamsError(f"{place!r} names no bucket; expected s3://bucket/prefix")
    if prefix and (fault := key_fault(prefix)):
        raise ParamsError(f"{place!r}: the prefix {fault}")
    from tasks.inbox.s3 import S3Storage

    return S3Storage(bucket, prefix)


def key_fault(key: str) -> str | None:
    """Why a key cannot be the path of a file below any folder, if it cannot."""
    parts = key.split("/")
    if leaves_folder(key) or "" in parts or "." in parts:
        return "leaves its folder; use plain relative paths"
    if re.search(r"[\\\x00-\x1f\x7f]", key):
        return "holds a backslash or a control character; rename it"
    try:
        longest = max(len(part.encode()) for part in parts)
    except UnicodeEncodeError:
        return "is not UTF-8; rename it"
    return f"has a name of more than {_LONGEST} bytes; rename it" if longest > _LONGEST else None


def checked(key: str) -> str:
    """The key, if it can be the path of a file.

    Raises:
        DataError: See `key_fault`.
    """
    if fault := key_fault(key):
        raise DataError(f"{key!r} {fault}")
    return key


class Incoming:
    """A file on its way: what is written appears at `target` when it is complete, and nothing of it before.

    Args:
        key: What the file is called in messages.
        target: Where it appears.
        size: Its bytes.

    Raises:
        DataError: More or fewer bytes were written.
        StateError: `target` cannot be written.
    """

    def __init__(self, key: str, target: Path, size: int) -> None:
        self._key, self._target, self._size = key, target, size
        self._part = target.with_name(f"{target.name}{PART}")

    def __enter__(self) -> Self:
        with self._writing():
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._part.open("wb")
        return self

    def write(self, block: bytes) -> int:
        """Take the bytes that come next."""
        with self._writing():
            written = self._stream.write(block)
        self._compare("more", self._stream.tell() > self._size)
        return written

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            found = self._stream.tell()
            with self._writing(), self._stream:
                self._stream.flush()
                os.fsync(self._stream.fileno())
            if kind is None:
                self._compare(str(found), found != self._size)
                with self._writing():
                    self._part.replace(self._target)
        finally:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _compare(self, found: str, differs: bool) -> None:
        if differs:
            raise DataError(f"{self._key}: {found} bytes, expected {self._size}; upload it again")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StateError(f"{self._target} cannot be written: {error.strerror or error}") from error


@dataclass(frozen=True)
class FolderStorage:
    """A directory."""

    root: Path

    @property
    def place(self) -> str:
        """The directory."""
        return str(self.root)

    def objects(self, folder: str = "") -> list[Stored]:
        """Every finished file. A link, wherever it leads, and a device are never read.

        Raises:
            PipelineError: It is no directory.
        """
        with storage_faults(self.place):
            if not self.root.is_dir():
                raise PipelineError(f"inbox {self.place} is no directory; make it or name another")
            return sorted(self._below(self.root / folder), key=lambda stored: stored.key)

    def _below(self, folder: Path) -> Iterator[Stored]:
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return
        except PermissionError:
            if folder == self.root:
                raise
            yield Stored(f"{self._key(folder)}/", 0, datetime.now(UTC), "cannot be listed; permit to read it")
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(Path(entry.path))
            else:
                yield from self._file(entry)

    def _file(self, entry: os.DirEntry[str]) -> Iterator[Stored]:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # removed while we look
            return
        key = self._key(Path(entry.path))
        regular = entry.is_file(follow_symlinks=False)
        if regular and key.endswith(PART):
            return
        fault = key_fault(key) if regular else "is a link or a device; put the file itself there"
        yield Stored(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), fault)

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _path(self, key: str) -> Path:
        return inside(self.root, checked(key))

    def read(self, key: str) -> bytes:
        """Read a small file."""
        with storage_faults(self.place), _opened(self._path(key), key) as stream:
            content = stream.read(SMALL + 1)
        if len(content) > SMALL:
            raise DataError(f"{key}: larger than {SMALL} bytes")
        return content

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Copy a file to `target`."""
        _copy(key, self._path(key), target, size, self.place)

    def holds(self, key: str, sha256: str) -> bool:
        """Hash the file that is there."""
        path = self._path(key)
        with storage_faults(self.place):
            return path.is_file() and sha256_file(path) == sha256

    def send(self, source: Path, key: str, sha256: str) -> None:
        """Copy a file into the directory."""
        _copy(key, source, self._path(key), source.stat().st_size, self.place)

    def write(self, key: str, content: bytes) -> None:
        """Write a small file."""
        with Incoming(key, self._path(key), len(content)) as incoming:
            incoming.write(content)

    def remove(self, key: str) -> None:
        """Remove a file."""
        path = self._path(key)
        with storage_faults(self.place):
            path.unlink(missing_ok=True)


def _opened(path: Path, key: str) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{key}: is not there any more; upload it again") from error
    except PermissionError as error:  # of this file only, or its place could not have been listed
        raise DataError(f"{key}: may not be read ({error.strerror}); permit it") from error


def _copy(key: str, source: Path, target: Path, size: int, place: str) -> None:
    with storage_faults(place), _opened(source, key) as stream, Incoming(key, target, size) as incoming:
        for block in iter(partial(stream.read, _BLOCK), b""):
            incoming.write(block)
