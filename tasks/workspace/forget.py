"""Forgetting a class on purpose: whether it can be, what was asked for, the removal."""

import difflib
import fcntl
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from evernorm.errors import ParamsError, PipelineError
from evernorm.files import read_json, write_bytes, write_json
from tasks.workspace.params_edit import edited
from tasks.workspace.paths import LOCK_FILE
from tasks.workspace.workspace import FOLDERS, FORGETTING, INBOX, Workspace

_LIST = "forgotten.json"  # committed; the gate must not miss what was forgotten on purpose
_LONGEST_REASON = 500  # characters; a heading of a commit, a tag in MLflow


@dataclass(frozen=True)
class Forgotten:
    """A class that was forgotten.

    Attributes:
        name: The class.
        reason: Why, in one line.
        at: When it was asked for, ISO 8601, UTC.
    """

    name: str
    reason: str
    at: str

    def to_json(self) -> dict[str, str]:
        """As it is stored."""
        return {"class": self.name, "reason": self.reason, "at": self.at}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Forgotten":
        """As it was stored."""
        return cls(record["class"], record["reason"], record["at"])


def forgotten(workspace: Workspace) -> list[Forgotten]:
    """What was forgotten and not learned again, the latest last."""
    path = workspace.root / _LIST
    return [Forgotten.from_json(each) for each in read_json(path)] if path.is_file() else []


def learn_again(workspace: Workspace, names: Collection[str]) -> None:
    """Take classes off the list of what was forgotten."""
    before = forgotten(workspace)
    kept = [each for each in before if each.name not in names]
    if kept != before:
        _save(workspace, kept)


def refuse_unfinished(workspace: Workspace, *, but: str | None = None) -> None:
    """Refuse to work on a bank in which a class is half forgotten.

    Args:
        workspace: The workspace.
        but: The class whose forgetting may go on.

    Raises:
        PipelineError: Another one's was interrupted.
    """
    begun = _begun(workspace)
    # Once it is out of the stream, what is left is a stream like any other.
    if begun is not None and begun.name != but and begun.name in workspace.params.order:
        raise PipelineError(
            f"forgetting {begun.name} was interrupted; run `evernorm forget {begun.name} --reason TEXT` again first"
        )


def check(workspace: Workspace, name: str, reason: str) -> None:
    """Refuse what cannot be forgotten; changes nothing.

    Raises:
        ParamsError: The class is unknown or the only one, or the reason is no line of text.
        PipelineError: The forgetting of another class was interrupted.
    """
    refuse_unfinished(workspace, but=name)
    reason_line(reason)
    order = [*workspace.params.stream]
    begun = _begun(workspace)
    if name not in order and (begun is None or begun.name != name):
        near = difflib.get_close_matches(name, order, n=1)
        raise ParamsError(
            f"{name!r} is not known; the stream names {', '.join(order) or 'no class yet'}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    if not workspace.learned(but=name):
        raise ParamsError(
            f"{name} is the only class that is learned, and a bank of none cannot be served; learn another class first, "
            f"or delete {workspace.root} and its versions in MLflow"
        )


def begin(workspace: Workspace, name: str, reason: str) -> Forgotten:
    """Note what is to be forgotten before anything is; an interrupted forgetting goes on with its own reason.

    Raises:
        ParamsError: See `check`.
        PipelineError: See `check`.
    """
    check(workspace, name, reason)
    wanted = _begun(workspace)
    if wanted is None or wanted.name != name:
        wanted = Forgotten(name, reason_line(reason), datetime.now(UTC).isoformat(timespec="seconds"))
    write_json(workspace.root / FORGETTING, wanted.to_json())
    _save(workspace, [*(each for each in forgotten(workspace) if each.name != name), wanted])
    return wanted


def finish(workspace: Workspace) -> None:
    """The class is forgotten and the bank without it registered."""
    (workspace.root / FORGETTING).unlink()


@task(task_run_name="remove {name}", cache_policy=NO_CACHE)
def remove(workspace: Workspace, name: str) -> None:
    """Take a class out of the stream, out of dvc.lock, and from the disk; what is gone already is no fault."""
    root = workspace.root
    # A stage that outlived its killed parent may still be writing: wait for it.
    with (root / LOCK_FILE).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        # First, so that the stream never names a class whose files are gone.
        params = workspace.params
        aside = {each: why for each, why in params.set_aside.items() if each != name}
        workspace.configure(order=[each for each in params.order if each != name], aside=aside)
        # Nothing measures again what is set aside, and the class may have been known when it was measured.
        measured = {f"evaluate@{each}" for each in aside}
        # `dvc remove` refuses items of a foreach.
        if (root / "dvc.lock").is_file():
            with edited(root / "dvc.lock") as lock:
                for stage in [*lock["stages"]]:
                    if stage.endswith(f"@{name}") or stage in measured:
                        del lock["stages"][stage]
        erase(workspace, name)
        for each in aside:
            for folder in (workspace.paths.bank(each, "evaluation"), workspace.paths.model(each)):
                shutil.rmtree(folder, ignore_errors=True)
            workspace.paths.metrics(each).unlink(missing_ok=True)


def erase(workspace: Workspace, name: str) -> None:
    """Remove what the disk holds of a class; what is gone already is no fault."""
    root = workspace.root
    for folder in (root / each for each in FOLDERS):
        for path in (folder / name, *folder.glob(f"{name}.*")):  # a class name has no dot
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if (ignored := folder / ".gitignore").is_file():
            lines = ignored.read_text().splitlines()
            write_bytes(ignored, "".join(f"{line}\n" for line in lines if line != f"/{name}").encode())
    for path in (workspace.paths.training_state(name), root / INBOX / name):
        shutil.rmtree(path, ignore_errors=True)
    for path in (root / ".evernorm" / "seconds").glob(f"*@{name}.json"):
        path.unlink()


def _begun(workspace: Workspace) -> Forgotten | None:
    path = workspace.root / FORGETTING
    return Forgotten.from_json(read_json(path)) if path.is_file() else None


def _save(workspace: Workspace, records: Collection[Forgotten]) -> None:
    write_json(workspace.root / _LIST, [each.to_json() for each in records])


def reason_line(reason: str) -> str:
    """A reason as one line, as commits and tags keep it.

    Raises:
        ParamsError: It is empty or too long.
    """
    line = " ".join(reason.split())
    if not 0 < len(line) <= _LONGEST_REASON:
        raise ParamsError(f"--reason has {len(line)} characters; say why in a line of 1 to {_LONGEST_REASON}")
    return line
