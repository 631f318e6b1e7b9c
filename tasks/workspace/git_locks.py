"""Git's lock files: those that a killed run of ours left are removed, those of anyone else are not.

A run that writes with Git leaves a note while the command runs, so that a lock which no note explains is known to
be another's: a person's, whose process may be on another machine or in another container.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evernorm.errors import PipelineError

_NOTE = ".evernorm/git"
_LOCKS = ("index.lock", "HEAD.lock", "refs/heads/*.lock")


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Leave a note as long as the block runs; a run that is killed in it leaves the note too."""
    note = root / _NOTE
    note.touch()
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def remove_left(root: Path) -> None:
    """Remove the locks that a killed run of ours left.

    Args:
        root: The workspace, held by the caller: no other run of ours is alive.

    Raises:
        PipelineError: A lock is another's, or Git is at work here; nothing is removed then.
    """
    locks = [path for pattern in _LOCKS for path in (root / ".git").glob(pattern)]
    note = root / _NOTE
    if locks and (process := _git_at_work(root)) is not None:
        raise PipelineError(
            f"git (process {process}) is at work in {root}; wait until it has ended and run again"
        )
    begun = note.stat().st_mtime_ns if note.is_file() else None
    for lock in locks:
        if begun is None or lock.stat().st_mtime_ns < begun:
            raise PipelineError(
                f"{lock} was left by a git command that was no run of evernorm's, or that is still at work elsewhere; "
                f"make sure that none is, remove it and run again"
            )
    for lock in locks:
        lock.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _git_at_work(root: Path) -> int | None:
    """A living git command in the workspace; an editor that it waits for does not hide it."""
    import psutil

    for process in psutil.process_iter(["name", "cwd"]):
        name, folder = process.info["name"] or "", process.info["cwd"]
        if (name == "git" or name.startswith("git-")) and folder and Path(folder).is_relative_to(root):
            return int(process.pid)
    return None
