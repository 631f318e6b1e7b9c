"""The files of the workspace: what is tracked against HEAD, outputs against the commit that is audited."""

import fcntl
from contextlib import suppress
from pathlib import Path

from evernorm.errors import PipelineError, StateError
from tasks.audit.commit import Commit, git
from tasks.audit.lock import Described
from tasks.audit.objects import Content, Held, in_threads, storage_told
from tasks.audit.records import DvcFile, Lock, parse
from tasks.audit.report import Notes
from tasks.workspace.workspace import UNFINISHED

_PLACE = "workspace"
# Not params.yaml, which is the user's to edit.
_TRACKED = (
    "dvc.lock",
    "forgotten.json",
    "received.json",
    ":(glob)data/*.dvc",
    ":(glob)metrics/*.json",
    "bank/start",
)
_LOCK = ".evernorm/lock"


def check_working_tree(root: Path, described: Described, held: Held, notes: Notes) -> None:
    """Hash the files of the outputs that have not moved on since the commit; look for others among them.

    While something is learned there, files are on their way from one commit to the next, and are not judged.

    Raises:
        PipelineError: Git or a file cannot be read, or it is being learned in.
    """
    head, seen = Commit.find(root, "HEAD"), Notes()
    _refuse_learning(root)
    _check_tracked(head, described, seen)
    _check_outputs(head, described, held, seen)
    _refuse_learning(root)
    if Commit.find(root, "HEAD") != head:
        raise PipelineError("it was learned in meanwhile; run again")
    notes.add(seen)


def check_history(described: Described, notes: Notes) -> None:
    """Look whether the commit is in the history of the workspace."""
    head = Commit.find(described.commit.root, "HEAD")
    if not described.commit.precedes(head):
        notes.find("git", f"commit {described.commit}", "not in the history", f"before {head}", "commit")


def _check_tracked(head: Commit, described: Described, notes: Notes) -> None:
    done = git(
        head.root, "status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--", *_TRACKED
    )
    if done.returncode:
        raise PipelineError(f"git status failed: {done.stderr.decode(errors='replace').strip()}")
    notes.count(
        _PLACE,
        "tracked files",
        len(git(head.root, "ls-files", "-z", "--", *_TRACKED).stdout.split(b"\0")) - 1,
    )
    for line in done.stdout.decode(errors="replace").split("\0")[:-1]:
        state, path = line[:2], line[3:]
        node = (
            f"evaluate@{Path(path).stem}"
            if path.startswith("metrics/")
            else described.node_of(path.removesuffix(".dvc"))
        )
        if state == "??":
            notes.find(_PLACE, path, f"not in commit {head}", "no such file", node)
        else:
            found = "deleted" if "D" in state else f"differs from commit {head}"
            notes.find(_PLACE, path, found, f"as in commit {head}", node)


def _check_outputs(head: Commit, described: Described, held: Held, notes: Notes) -> None:
    present = _present(head, described)
    wanted: dict[str, str] = {}
    for path, out in described.outputs.items():
        if present.get(path) != out.md5:
            notes.count(_PLACE, "moved outputs")
            continue
        listed = held.lists.get(path, {})
        wanted |= listed
        if path in held.lists:
            there = {
                str(file.relative_to(head.root))
                for file in (head.root / path).rglob("*")
                if file.is_symlink() or not file.is_dir()
            }
            for file in sorted(there - listed.keys()):
                notes.find(
                    _PLACE, file, f"not part of {path} {out.md5}", "no such file", described.node_of(path)
                )

    def content(path: str) -> Content | None:
        file = head.root / path
        with storage_told():
            if not file.is_file():
                return None
            with file.open("rb") as stream:
                return Content.of(stream)

    for path, found in in_threads("workspace: files", wanted, content):
        notes.count(_PLACE, "files")
        notes.compare(
            _PLACE,
            path,
            f"md5 {found.md5}" if found else None,
            f"md5 {wanted[path]}",
            described.node_of(path),
        )


def _present(head: Commit, described: Described) -> dict[str, str]:
    """The outputs that are in the workspace now, by path; where that is damaged, those of HEAD."""
    found: dict[str, str] = {}
    for name in described.classes:
        for content in _versions(head, f"data/{name}.dvc"):
            with suppress(StateError):
                found[f"data/{name}"] = parse(DvcFile, content).outs[0].md5
                break
    for content in _versions(head, "dvc.lock"):
        with suppress(StateError):
            stages = parse(Lock, content).stages.values()
            found |= {out.path: out.md5 for stage in stages for out in stage.outs}
            break
    return found


def _versions(head: Commit, path: str) -> list[bytes]:
    """A file of the workspace, then HEAD's."""
    found = []
    with suppress(OSError):
        found.append((head.root / path).read_bytes())
    with suppress(StateError):
        found.append(head.read(path))
    return found


def _refuse_learning(root: Path) -> None:
    for begun, command in UNFINISHED.items():
        if (root / begun).is_file():
            raise PipelineError(f"a run was cut short in it; run `{command}` again first")
    with suppress(FileNotFoundError), (root / _LOCK).open() as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PipelineError(
                f"process {handle.read().strip() or '?'} is learning in it; run again after it"
            ) from error
