"""What DVC's cache and remote really hold: each object once, its content hashed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import TypeAdapter, ValidationError

from evernorm.errors import EvernormError, PipelineError
from tasks.audit.lock import Described
from tasks.audit.records import Listed, md5
from tasks.audit.report import Notes
from tasks.faults import out_of_reach
from tasks.stages.stage import progress_bar

THREADS = 8
_NAMED = 10  # files of one content that a finding names
_BLOCK = 1 << 20
_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

Key = TypeVar("Key")


@dataclass(frozen=True)
class Content:
    """Hashes and size of a file's content."""

    md5: str
    sha256: str
    size: int

    @classmethod
    def of(cls, stream: BinaryIO) -> "Content":
        """Read a stream to its end, in blocks."""
        first, second, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
        while block := stream.read(_BLOCK):
            first.update(block)
            second.update(block)
            size += len(block)
        return cls(first.hexdigest(), second.hexdigest(), size)


@dataclass(frozen=True)
class Place:
    """A store of DVC's.

    Attributes:
        name: ``cache`` or ``remote NAME``.
        fs: DVC's filesystem.
        path: Where the objects are on it.
    """

    name: str
    fs: Any
    path: str

    def content(self, oid: str) -> Content | None:
        """What an object holds; None where there is none.

        Raises:
            PipelineError: The store is out of reach.
        """
        with storage_told():
            try:
                with self.fs.open(self._object(oid), "rb") as stream:
                    return Content.of(stream)
            except _NO_FILE:
                return None

    def read(self, oid: str) -> bytes | None:
        """A small object that is what its name says, or None.

        Raises:
            PipelineError: The store is out of reach.
        """
        with storage_told():
            try:
                with self.fs.open(self._object(oid), "rb") as stream:
                    content: bytes = stream.read()
            except _NO_FILE:
                return None
        return content if md5(content) == oid.removesuffix(".dir") else None

    def _object(self, oid: str) -> str:
        path: str = self.fs.join(self.path, oid[:2], oid[2:])
        return path


@dataclass
class Held:
    """What is known of the outputs from the places.

    Attributes:
        lists: The files in each output, by its path: DVC's hash by path.
        sha256: Of each object that is somewhere what its name says, by that name.
        places: Where it is so.
    """

    lists: dict[str, dict[str, str]] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    @cached_property
    def files(self) -> dict[str, str]:
        """DVC's hash of every file, by path."""
        return {path: oid for files in self.lists.values() for path, oid in files.items()}

    def read(self, path: str) -> bytes | None:
        """The content of a small file as the commit describes it; None where no place holds it."""
        oid = self.files.get(path, "")
        return self.places[oid].read(oid) if oid in self.places else None


def check_objects(root: Path, described: Described, notes: Notes) -> Held:
    """Hash every object that the outputs consist of, in the cache and in the default remote, if there is one."""
    held = Held()
    reached = []
    for name, opened in _places(root, notes).items():
        with notes.reaching(name):
            place = opened()
            _list(place, described, held, notes)
            reached.append(place)
    for path in sorted(described.outputs.keys() - held.lists.keys()):
        notes.skip(
            "objects", f"files of {path}: no place holds the list of them, {described.outputs[path].md5}"
        )
    wanted: dict[str, list[str]] = {}
    for path, out in described.outputs.items():
        wanted.setdefault(out.md5, []).append(path)
        for file, oid in held.lists.get(path, {}).items():
            if oid != out.md5:
                wanted.setdefault(oid, []).append(file)
    for place in reached:
        with notes.reaching(place.name):
            _check(place, wanted, described, held, notes)
    return held


def in_threads(
    label: str, keys: Mapping[Key, Any], hashed: Callable[[Key], Content | None]
) -> Iterator[tuple[Key, Content | None]]:
    """Hash many things, several at once, with a progress bar."""
    with progress_bar(label) as progress, ThreadPoolExecutor(THREADS) as pool:
        for done, (key, content) in enumerate(zip(keys, pool.map(hashed, keys), strict=True), start=1):
            progress(done, len(keys))
            yield key, content


@contextmanager
def storage_told() -> Iterator[None]:
    """Tell any fault of a storage in a few words, which hold no address and so no secret.

    Raises:
        PipelineError: See above.
    """
    try:
        yield
    except EvernormError:
        raise
    except Exception as error:  # each of the storages that DVC knows has faults of its own
        if out_of_reach(error):
            raise PipelineError("it is out of reach; check the network and that it is mounted") from error
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise PipelineError(f"it cannot be read: {reason}") from error


def _check(
    place: Place, wanted: Mapping[str, list[str]], described: Described, held: Held, notes: Notes
) -> None:
    for oid, content in in_threads(f"{place.name}: objects", wanted, place.content):
        notes.count(place.name, "objects")
        notes.count(place.name, "bytes", content.size if content else 0)
        if content is not None and content.md5 == oid.removesuffix(".dir"):
            held.sha256[oid] = content.sha256
            held.places.setdefault(oid, place)
            continue
        uses = wanted[oid]
        named = ", ".join(uses[:_NAMED])
        others = f" and {len(uses) - _NAMED} more" if len(uses) > _NAMED else ""
        notes.find(
            place.name,
            f"{oid[:2]}/{oid[2:]} ({named}{others})",
            "missing" if content is None else f"md5 {content.md5}",
            f"md5 {oid.removesuffix('.dir')}",
            *dict.fromkeys(described.node_of(path) for path in uses),
        )


def _list(place: Place, described: Described, held: Held, notes: Notes) -> None:
    """Read the files of the outputs that are not known yet; a damaged list is found when it is hashed."""
    for path, out in described.outputs.items():
        if path in held.lists:
            continue
        if not out.md5.endswith(".dir"):
            held.lists[path] = {path: out.md5}
        elif (content := place.read(out.md5)) is not None:
            try:
                listed = TypeAdapter(list[Listed]).validate_json(content)
            except ValidationError:
                notes.find(
                    place.name, out.md5, "no list of files", f"that of {path}", described.node_of(path)
                )
                continue
            held.lists[path] = {f"{path}/{each.relpath}": each.md5 for each in listed}


def _places(root: Path, notes: Notes) -> "dict[str, Callable[[], Place]]":
    """The cache and the default remote, by name, to be opened."""
    from dvc.config import Config

    with notes.reaching("cache"), storage_told():
        config = Config(str(root / ".dvc"))  # alone: to open the repository would write there
        folder = config["cache"].get("dir") or str(root / ".dvc" / "cache")
        places: dict[str, Callable[[], Place]] = {"cache": partial(_place, "cache", config, url=folder)}
        if remote := config["core"].get("remote"):
            places[f"remote {remote}"] = partial(_remote, f"remote {remote}", config, name=remote)
        return places
    return {}


def _remote(label: str, config: Any, name: str) -> Place:
    place = _place(label, config, name=name)
    with storage_told():
        if not place.fs.exists(place.path):  # as opposed to: it has lost everything
            raise PipelineError("it holds no files/md5; check its url and that it is mounted")
    return place


def _place(label: str, config: Any, **named: str) -> Place:
    from dvc.fs import get_cloud_fs

    with storage_told():
        kind, options, path = get_cloud_fs(config, **named)
        fs = kind(**options)
        return Place(label, fs, fs.join(path, "files", "md5"))
