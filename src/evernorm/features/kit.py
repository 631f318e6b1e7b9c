"""Graphs of a frozen network with what is known of them, made by torch once on a machine and kept, or stored with a bank."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evernorm.errors import MachineError, StateError
from evernorm.features.engine import Graph, load_graph
from evernorm.features.graph import REVISION, Traced, write_graphs
from evernorm.files import read_json, sha256_file, sha256_json, write_json
from evernorm.params.groups import PassEngine
from evernorm.types import Arrays

CACHE = "EVERNORM_CACHE"
"""Names the folder of what is made once on a machine; by default evernorm's in the user's cache."""


@dataclass(frozen=True)
class Kit:
    """Graphs and a record, in a folder.

    Attributes:
        name: ``<name>.json`` is the record.
        folder: Where they are.
        record: What is known of them.
    """

    name: str
    folder: Path
    record: Mapping[str, Any]
    _ready: dict[str, Graph] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, name: str) -> "Kit":
        """What is stored.

        Raises:
            StateError: It is missing or damaged.
        """
        stored = read_json(folder / f"{name}.json")
        for file, digest in stored["files"].items():
            if not (folder / file).is_file() or sha256_file(folder / file) != digest:
                raise StateError(f"{folder / file} is damaged; fetch the bank again")
        return cls(name, folder, stored["record"])

    @staticmethod
    def is_stored(folder: Path, name: str) -> bool:
        """Whether a folder has one of that name."""
        return (folder / f"{name}.json").is_file()

    def graph(self, name: str, engine: PassEngine) -> Graph:
        """One of its graphs, ready to run."""
        if name not in self._ready:
            self._ready[name] = load_graph(self.folder / f"{name}.onnx", engine)
        return self._ready[name]

    def store(self, folder: Path) -> None:
        """Copy all of it."""
        stored = f"{self.name}.json"
        folder.mkdir(parents=True, exist_ok=True)
        for file in (*read_json(self.folder / stored)["files"], stored):
            if (self.folder / file).resolve() != (folder / file).resolve():
                shutil.copyfile(self.folder / file, folder / file)


Made = tuple[Mapping[str, Any], Mapping[str, Traced], Arrays]
"""Record, graphs, weights."""


def kit_of(
    name: str,
    recipe: Mapping[str, Any],
    engine: PassEngine,
    make: Callable[[], Made],
    beside: Path | None = None,
) -> Kit:
    """The kit that a recipe makes; made once on a machine, or stored with a bank.

    Args:
        name: Of the kit.
        recipe: Everything that it depends on, but the code that makes it.
        engine: What checks it.
        make: Makes it; asks for torch.
        beside: Where another kit of the same network is: a bank's folder has them all.

    Raises:
        MachineError: The cache cannot be written, or what converts is not installed.
        ParamsError: The network cannot be converted.
    """
    if beside and Kit.is_stored(beside, name):
        return Kit.of(beside, name)
    made_by = {package: _version(package) for package in ("torch", "timm", "onnx", "evernorm")}
    key = sha256_json({"name": name, "revision": REVISION, "recipe": dict(recipe), "versions": made_by})
    home = _cache() / "kits"
    folder = home / f"{name}-{key[:32]}"
    with suppress(StateError, KeyError, TypeError):
        return Kit.of(folder, name)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / f".{folder.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process makes it, the others wait; gone with the process
            with suppress(StateError, KeyError, TypeError):
                return Kit.of(folder, name)
            _make(home, folder, name, engine, make)
    except OSError as error:
        raise MachineError(
            f"{home} cannot be written ({error.strerror}); let {CACHE} name a folder that can"
        ) from error
    return Kit.of(folder, name)


def _make(home: Path, folder: Path, name: str, engine: PassEngine, make: Callable[[], Made]) -> None:
    record, traced, weights = make()
    with tempfile.TemporaryDirectory(prefix=".", dir=home) as beside:
        made = Path(beside) / name
        made.mkdir()
        files = write_graphs(made, traced, weights, engine)
        digests = {file: sha256_file(made / file) for file in files}
        write_json(made / f"{name}.json", {"record": dict(record), "files": digests})
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        made.rename(folder)


def _cache() -> Path:
    if named := os.environ.get(CACHE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evernorm"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
