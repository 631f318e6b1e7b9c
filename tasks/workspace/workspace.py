"""A workspace: a Git and DVC repository of its own, in which a stream is learned."""

import fcntl
import os
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import takewhile
from pathlib import Path

from evernorm.errors import PipelineError
from evernorm.files import START, read_json, write_bytes, write_json
from evernorm.methods.learner import StateKind
from evernorm.methods.registry import learners
from evernorm.params.file import load_params, override, parse_params
from evernorm.params.groups import Params, stream_of
from evernorm.params.yaml12 import load
from tasks.workspace.git_locks import remove_left, writing
from tasks.workspace.params_edit import write_params
from tasks.workspace.paths import Paths
from tasks.workspace.repository import Repository, init_repo, lock_is_whole, mend_rwlock

MARKER = ".evernorm/workspace.json"
_LOCK = ".evernorm/lock"
_IGNORED = "/.evernorm/\n/.prefect/\n/mlflow.db*\n/mlartifacts/\n*.tmp\n"
ARRIVING = ".evernorm/arriving.json"  # there while a delivery is taken in
FORGETTING = ".evernorm/forgetting.json"  # there from before the first change until after the last
UNFINISHED = {ARRIVING: "evernorm watch --once", FORGETTING: "evernorm forget"}
INBOX = ".evernorm/inbox"  # deliveries are fetched into <name>/<name>, each beside no other
RECEIVED = "received.json"  # by class, the digest of the delivery it came with
_STATE = ("dvc.lock", "forgotten.json", RECEIVED)
_FILES = (
    "params.yaml",
    "dvc.yaml",
    "prefect.yaml",
    "versions.json",
    *_STATE,
    ".gitignore",
    ".gitattributes",
    ".dvcignore",
    ".dvc",
)
# Commits are made with nobody there to sign them, and of files that a person's own list may ignore.
_GIT = {"core.excludesFile": os.devnull, "commit.gpgsign": "false"}
_WRITING = {"add", "checkout", "clean", "commit", "reset"}  # commands of Git's that take its locks
# What is heavy in these is ignored by the .gitignore files that DVC keeps there.
FOLDERS = ("data", "masks", "bank", "features", "models", "metrics")


@dataclass(frozen=True)
class Workspace:
    """The files of a workspace, its parameters, its lock, its commits."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> "Workspace":
        """Open an existing workspace.

        Raises:
            PipelineError: `root` is none.
        """
        workspace = cls(root.resolve())
        if not (workspace.root / MARKER).is_file():
            raise PipelineError(
                f"{root} is no evernorm workspace; `evernorm learn --data DIR --workspace {root}` makes one"
            )
        return workspace

    @classmethod
    def open_or_create(cls, root: Path) -> "Workspace":
        """Open a workspace, or make one in a new or empty directory.

        Raises:
            PipelineError: The directory holds something else, or this user may not write there.
        """
        workspace = cls(root.resolve())
        if (workspace.root / MARKER).is_file():
            return workspace
        if odd := sorted(set("?{}") & set(str(workspace.root))):
            raise PipelineError(
                f"{workspace.root} holds {' and '.join(odd)}, which the addresses of MLflow and DVC cannot; name "
                f"another folder as --workspace"
            )
        if (
            workspace.root.is_dir()
            and any(path.name != ".prefect" for path in workspace.root.iterdir())
            and not workspace._half_made()
        ):
            raise PipelineError(f"{root} holds other files; name a new or empty directory as --workspace")
        with workspace._writable():
            workspace._create()
        return workspace

    @classmethod
    def params_in(cls, root: Path) -> Params:
        """The parameters of a workspace; the defaults where there is none yet.

        Raises:
            ParamsError: See `load_params`.
        """
        return cls.open(root).params if (root / MARKER).is_file() else Params()

    @property
    def paths(self) -> Paths:
        """Where things are."""
        return Paths(self.root)

    @property
    def identity(self) -> str:
        """A name for this workspace that survives moving it."""
        return str(read_json(self.root / MARKER)["id"])

    @property
    def params(self) -> Params:
        """params.yaml as it is now; read again where it was written since."""
        path = self.root / "params.yaml"
        stat = path.stat() if path.is_file() else None
        return _params(path, stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino))

    @cached_property
    def dvc(self) -> Repository:
        """The DVC repository here; open until the workspace is unlocked."""
        return Repository(self.root)

    def learned(self, *, but: str | None = None) -> list[str]:
        """The classes learned so far, in order; the stream may name more after them.

        Args:
            but: A class to pass over.
        """
        # DVC removes what a stage makes before it runs, and a run may be killed then: what is committed was learned.
        committed = set(self.git("ls-tree", "--name-only", "HEAD", "metrics/").splitlines())
        others = (name for name in self.params.order if name != but)
        return list(
            takewhile(
                lambda name: self.paths.metrics(name).is_file() or f"metrics/{name}.json" in committed, others
            )
        )

    def display(self, name: str) -> str:
        """What people call a class; its key where nothing is known of it."""
        path = self.paths.manifest(name)
        return str(read_json(path).get("display") or name) if path.is_file() else name

    def displays(self, names: Iterable[str]) -> dict[str, str]:
        """`display` of several, by key."""
        return {name: self.display(name) for name in names}

    def key(self, name: str) -> str:
        """The class of the stream that has this key or display name; the name itself where there is none."""
        return next((key for key in self.params.stream if name in {key, self.display(key)}), name)

    def configure(
        self,
        settings: Iterable[str] = (),
        order: Iterable[str] | None = None,
        aside: Mapping[str, str] | None = None,
        rates: Mapping[str, float] | None = None,
    ) -> Params:
        """Write settings (``key=value``) and, if given, the stream into params.yaml; comments stay.

        Args:
            settings: Parameters.
            order: The classes of the bank; default: as they are, without those that are set aside.
            aside: The classes that are set aside, and why; default: as they are, without those in `order`.
            rates: False-alarm rates of classes that have one of their own; default: as they are.

        Raises:
            ParamsError: Any of it is wrong; nothing is written then.
        """
        path = self.root / "params.yaml"
        known = load_params(path)
        old = known.model_dump(mode="json")
        new = override(old, settings)
        method = learners().get(new["method"])  # an unknown one is told of below
        linked = method is not None and method.traits.state is not StateKind.INDEPENDENT
        wanted = known.set_aside if aside is None else aside
        names = [name for name in known.order if name not in wanted] if order is None else list(order)
        left = {
            name: known.stream[name].model_copy(update={"aside": why})
            for name, why in wanted.items()
            if name not in names
        }
        new["stream"] = stream_of(
            names, linked=linked, aside=left, rates=known.own_rates if rates is None else rates
        )
        params = parse_params(new)
        if new != old:
            write_params(path, old, params)
        return params

    def take_back(self, params: Params) -> bool:
        """Write earlier parameters into params.yaml; classes that are new in the stream stay there.

        Returns:
            Whether anything changed.
        """
        old = self.params.model_dump(mode="json")
        new = parse_params(params.model_dump(mode="json")).model_dump(mode="json")
        if set(new["stream"]) != set(old["stream"]):
            new["stream"] = old["stream"]
        if new != old:
            write_params(self.root / "params.yaml", old, parse_params(new))
        return new != old

    def check_writable(self) -> None:
        """Refuse a workspace that this user may only read, before Prefect's server finds out and says more than that.

        Raises:
            PipelineError: It is one.
        """
        with self._writable(), (self.root / _LOCK).open("a"):
            pass

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the workspace: DVC allows one process a checkout.

        An operating-system lock rather than a Prefect concurrency slot, because a slot is not given back
        when its holder is killed.

        Raises:
            PipelineError: Another process holds it, Git is at work in it, or this user may not write there.
        """
        with self._writable():
            file = (self.root / _LOCK).open("a+")
        with file as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise PipelineError(
                    f"process {handle.read().strip() or '?'} is learning in {self.root}; wait for it or stop it"
                ) from error
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
            self._mend()
            try:
                yield
            finally:
                self.dvc.close()

    def commit(self, message: str) -> str:
        """Commit what describes the state (parameters, locks, metrics); return the commit's hash.

        Makes no empty commit.
        """
        self.git("add", "-A", "--", *self._described)
        if self.git("diff", "--cached", "--name-only"):
            self.git("commit", "-q", "-m", message)
        return self.head

    def snapshot(self, message: str, index: Path) -> str:
        """Make a commit of what describes the state now, which is on no branch; return its hash.

        Args:
            message: Of the commit.
            index: A file that is not there yet, for Git to work in instead of its own.
        """
        self.git("read-tree", "HEAD", index=index)
        self.git("add", "-A", "--", *self._described, index=index)
        tree = self.git("write-tree", index=index)
        return self.git("commit-tree", tree, "-p", "HEAD", "-m", message)

    def committed(self, path: Path) -> bool:
        """Whether a file is as the last commit has it."""
        return not self.git("status", "--porcelain", "--", str(path))

    def committed_params(self) -> Params:
        """params.yaml as it was when the bank was last changed.

        Raises:
            ParamsError: It is not valid in this version.
        """
        return parse_params(load(self.git("show", "HEAD:params.yaml")))

    def restore(self) -> None:
        """Go back to the stream and the state of the last commit; other parameters stay as they are."""
        committed = self.committed_params()
        self.configure(order=committed.order, aside=committed.set_aside, rates=committed.own_rates)
        known = set(self.git("ls-tree", "--name-only", "HEAD").splitlines())
        for name in _STATE:
            if name not in known:
                (self.root / name).unlink(missing_ok=True)
        self.git("checkout", "-q", "HEAD", "--", *(known & {*_STATE, *FOLDERS}))
        # What DVC ignored for a class that is gone is ignored no more.
        self.git("clean", "-fdq", "--", *FOLDERS)

    @property
    def head(self) -> str:
        """The current commit."""
        return self.git("rev-parse", "HEAD")

    @property
    def dirty(self) -> bool:
        """Whether tracked files differ from the commit."""
        return bool(self.git("status", "--porcelain", "--untracked-files=no"))

    @property
    def _described(self) -> list[str]:
        return [name for name in (*_FILES, *FOLDERS) if (self.root / name).exists()]

    def git(self, *arguments: str, index: Path | None = None) -> str:
        """Run git here; return what it prints.

        Args:
            arguments: Its own.
            index: Another index than the repository's.

        Raises:
            PipelineError: git failed; with what it said.
        """
        identity = self._identity() if arguments[0] in {"commit", "commit-tree"} else []
        env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # what only reads takes no lock
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        with writing(self.root) if arguments[0] in _WRITING and index is None else nullcontext():
            done = subprocess.run(
                ["git", *identity, *arguments],
                cwd=self.root,
                capture_output=True,
                text=True,
                check=False,
                env=env,
            )
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise PipelineError(f"git {arguments[0]} failed in {self.root}: {said}")
        return done.stdout.strip()

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise PipelineError(
                f"the workspace {self.root} cannot be written ({error.strerror}: {error.filename}); give this user the "
                f"right to it, or name another --workspace"
            ) from error

    def _identity(self) -> list[str]:
        """A machine without a Git identity can still learn; a configured one is used."""
        known = subprocess.run(
            ["git", "config", "user.email"], cwd=self.root, capture_output=True, check=False
        )
        return (
            []
            if known.returncode == 0
            else ["-c", "user.name=evernorm", "-c", "user.email=evernorm@localhost"]
        )

    def _mend(self) -> None:
        """Undo what a run left that was killed while Git or DVC were writing; the workspace is locked."""
        remove_left(self.root)
        mend_rwlock(self.root)
        lock = self.root / "dvc.lock"
        if not self.committed(lock) and not lock_is_whole(
            lock
        ):  # to read it takes seconds where the stream is long
            if "dvc.lock" in self.git("ls-tree", "--name-only", "HEAD").splitlines():
                self.git("checkout", "-q", "HEAD", "--", "dvc.lock")
            else:
                (self.root / "dvc.lock").unlink()

    def _half_made(self) -> bool:
        """Whether a killed `_create` left this directory."""
        return (self.root / ".evernorm" / "creating").is_file()

    def _create(self) -> None:
        write_bytes(self.root / ".evernorm" / "creating", b"")
        if not (self.root / ".git").is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            self.git("init", "-q", "-b", "main")
        for key, value in _GIT.items():
            self.git("config", key, value)
        init_repo(self.root)
        for name in ("dvc.yaml", "params.yaml", "prefect.yaml"):
            write_bytes(self.root / name, files("tasks.workspace").joinpath("templates", name).read_bytes())
        write_bytes(self.root / ".gitignore", _IGNORED.encode())
        write_bytes(self.root / ".gitattributes", b"* -text\n")  # DVC hashes what Git checks out
        for folder in ("data", "metrics"):
            (self.root / folder).mkdir(exist_ok=True)
        write_json(self.paths.bank(START, "carry") / "carry.json", {"classes": []})
        write_json(
            self.paths.bank(START, "evaluation") / "links.json", {"links": [], "learned": {}, "best": {}}
        )
        self.commit("An empty stream")
        write_json(self.root / MARKER, {"schema": 1, "id": uuid.uuid4().hex})
        (self.root / ".evernorm" / "creating").unlink()


@lru_cache(maxsize=1)
def _params(path: Path, _written: tuple[int, int, int] | None) -> Params:
    return load_params(path)
