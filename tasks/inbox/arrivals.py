"""What became of the deliveries in the inbox: taken in, refused, or being taken in just now."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from rich.console import Console

from evernorm.data.validate import validate
from evernorm.errors import EvernormError, ParamsError, PipelineError
from evernorm.files import read_json, sha256_json, write_json
from tasks.retries import RETRIED
from tasks.stages.stage import progress_bar, result_params
from tasks.workspace.data import bring_in, refuse_other_names, replaced_by
from tasks.workspace.forget import erase
from tasks.workspace.pipeline import check_out
from tasks.workspace.workspace import ARRIVING, INBOX, RECEIVED, Workspace

if TYPE_CHECKING:
    from evernorm.data.manifest import Manifest
    from tasks.inbox.inbox import Delivery, Refusal

_REFUSED = (
    ".evernorm/refused.json"  # by class: what could not be learned, so that it is not tried again and again
)


@dataclass(frozen=True)
class Arriving:
    """A delivery that is being taken in.

    Attributes:
        name: The class.
        digest: Of the delivery (`tasks.inbox.inbox.Delivery`).
        update: Whether the class was learned before.
        replaced: What becomes of the images that the workspace has of it (`tasks.workspace.data.replaced_by`).
    """

    name: str
    digest: str
    update: bool
    replaced: str = ""


@task(task_run_name="look into the inbox", **RETRIED)
def look_into(workspace: Workspace) -> "tuple[list[Delivery], list[Refusal]]":
    """What is new in the inbox, in order of arrival, and what is wrong there.

    A delivery that was taken in is new no more, nor is one that failed with the same parameters.

    Raises:
        ParamsError: `watch.inbox` names no inbox.
        PassingError: It is out of reach.
        PipelineError: It refuses.
    """
    from tasks.inbox.inbox import Refusal, look
    from tasks.inbox.storage import open_storage

    if not (inbox := workspace.params.watch.inbox):
        raise ParamsError("watch.inbox is empty; name a directory or s3://bucket/prefix with --inbox")
    deliveries, refusals = look(open_storage(inbox))
    order = workspace.params.order
    known = {name.casefold(): name for name in order}
    taken, failed = _read(workspace.root / RECEIVED), _read(workspace.root / _REFUSED)
    new: list[Delivery] = []
    for delivery in deliveries:
        name, digest = delivery.name, delivery.digest
        if name not in order and (alike := known.get(name.casefold())):
            fault = f"{name}: differs from the class {alike} only by case; rename it"
            refusals.append(Refusal(name, (fault,)))
        elif failed.get(name, {}).get("key") == _key(workspace, digest):
            refusals.append(Refusal(name, tuple(failed[name]["faults"])))
        elif taken.get(name) != digest:
            new.append(delivery)
    _clear(workspace.root / INBOX, {delivery.name for delivery in new})
    return new, refusals


@task(task_run_name="fetch {delivery.name}", **RETRIED)
def fetch_delivery(workspace: Workspace, delivery: "Delivery") -> list[str]:
    """Bring a delivery beside the workspace's data; what was fetched before is not fetched again.

    Returns:
        What did not arrive as its manifest says. It is not remembered, as it may be mended in the inbox at any time.

    Raises:
        PassingError: The inbox is out of reach.
        PipelineError: It refuses.
    """
    from tasks.inbox.inbox import fetch
    from tasks.inbox.storage import open_storage

    storage = open_storage(workspace.params.watch.inbox)
    # Named as it was where it was packed; what was fetched of it under another name is of no use.
    beside, folder = workspace.root / INBOX / delivery.name, delivery.manifest.display or delivery.name
    _clear(beside, {folder})
    with progress_bar(f"{delivery.name}: fetching") as progress:
        return fetch(storage, delivery, beside / folder, progress)


def check_delivery(workspace: Workspace, delivery: "Delivery") -> "Manifest":
    """Check what was fetched as `evernorm learn` checks a folder.

    Returns:
        The class's manifest, with the description that the delivery has; without one, what its folder says.

    Raises:
        DataError: Listing everything that is wrong with it.
    """
    odd: dict[str, str] = {}
    name, data = delivery.name, workspace.params.data
    with progress_bar(f"{name}: checking") as progress:
        manifest = validate(
            workspace.root / INBOX / name, [name], progress=progress, params=data, warn=odd.__setitem__
        )[name]
    if delivery.manifest.description is not None:
        manifest = manifest.model_copy(update={"description": delivery.manifest.description})
    refuse_other_names(workspace, {name: manifest})
    for sentence in odd.values():
        Console(stderr=True, highlight=False).print(f"{name}: {sentence}", style="yellow", markup=False)
    return manifest


def arriving(workspace: Workspace) -> Arriving | None:
    """The delivery that is being taken in, or that a run was taking in when it was cut short."""
    path = workspace.root / ARRIVING
    return Arriving(**read_json(path)) if path.is_file() else None


def came_by_inbox(workspace: Workspace, name: str) -> bool:
    """Whether the last delivery of a class is in the inbox for all that is known here; it is taken in no more."""
    return name in _read(workspace.root / RECEIVED)


def refuse_arriving(workspace: Workspace) -> None:
    """Refuse to learn anything else while a delivery is only half taken in.

    Raises:
        PipelineError: One is.
    """
    if (begun := arriving(workspace)) is not None:
        raise PipelineError(
            f"the delivery of {begun.name} is only half taken in; run `evernorm watch --once` first, or give it up with "
            f"`evernorm forget {begun.name} --reason TEXT`"
        )


def begin(workspace: Workspace, delivery: "Delivery", manifest: "Manifest") -> Arriving:
    """Note that a delivery, whose images the manifest describes, is being taken in."""
    update = delivery.name in workspace.committed_params().order
    begun = Arriving(delivery.name, delivery.digest, update, replaced_by(workspace, manifest))
    write_json(workspace.root / ARRIVING, asdict(begun))
    return begun


def resume(workspace: Workspace) -> Arriving | None:
    """The delivery that the run before was learning when it was cut short.

    One that was not placed yet is let go: if it is still in the inbox, it is new.
    """
    begun = arriving(workspace)
    if begun is None:
        return None
    if _read(workspace.root / RECEIVED).get(begun.name) == begun.digest:
        return begun
    give_up(workspace, begun)
    return None


def refuse_unlearned(workspace: Workspace) -> None:
    """Refuse to learn anything on top of what somebody has left half done.

    Raises:
        PipelineError: A class of the stream is not learned.
    """
    learned, data = workspace.learned(), workspace.root / "data"
    if left := [
        name for name in workspace.params.order if name not in learned or not (data / f"{name}.dvc").is_file()
    ]:
        raise PipelineError(
            f"{', '.join(left)}: in the stream, but not learned; run `evernorm learn` again, or forget it"
        )


def place(workspace: Workspace, begun: Arriving, manifest: "Manifest") -> None:
    """Version the images of a class, and put it at the end of the stream if it is new there.

    Raises:
        PassingError: DVC's repository is locked.
        PipelineError: DVC refuses, or another class is half forgotten.
    """
    bring_in(workspace, workspace.root / INBOX / begun.name, {begun.name: manifest})
    order = workspace.params.order
    if begun.name not in order:
        workspace.configure(order=[*order, begun.name])
    # With the commit that tells of the class; from then on the delivery is not new.
    _received(workspace, begun)


def finish(workspace: Workspace, begun: Arriving) -> None:
    """A delivery is taken in."""
    shutil.rmtree(workspace.root / INBOX / begun.name, ignore_errors=True)
    (workspace.root / ARRIVING).unlink(missing_ok=True)


def give_up(workspace: Workspace, begun: Arriving) -> None:
    """Leave the workspace as if a delivery had never come."""
    workspace.restore()
    if not begun.update and begun.name not in workspace.learned():
        order = workspace.params.order
        committed = begun.name in order  # with classes before it that were learned again
        workspace.configure(order=[name for name in order if name != begun.name])
        taken = _read(workspace.root / RECEIVED)
        if taken.pop(begun.name, None) is not None:
            write_json(workspace.root / RECEIVED, taken)
        erase(workspace, begun.name)
        if committed:
            workspace.commit(f"Give up {begun.name}")
    check_out(workspace)
    finish(workspace, begun)


def let_go(workspace: Workspace, begun: Arriving, reason: str) -> None:
    """Give up a delivery because a person says so: it is new no more."""
    give_up(workspace, begun)
    _received(workspace, begun)
    workspace.commit(f"Give up the delivery of {begun.name}: {reason}")


def refuse(workspace: Workspace, name: str, digest: str, error: EvernormError) -> "Refusal":
    """Remember what is wrong with a delivery until it, or a parameter, changes."""
    from tasks.inbox.inbox import Refusal

    faults = error.faults or (error.message,)
    record = {"key": _key(workspace, digest), "faults": list(faults)}
    write_json(workspace.root / _REFUSED, {**_read(workspace.root / _REFUSED), name: record})
    shutil.rmtree(workspace.root / INBOX / name, ignore_errors=True)
    return Refusal(name, faults)


def _received(workspace: Workspace, begun: Arriving) -> None:
    write_json(workspace.root / RECEIVED, {**_read(workspace.root / RECEIVED), begun.name: begun.digest})


def _clear(folder: Path, wanted: set[str]) -> None:
    """Remove what was fetched of deliveries that are there no more."""
    for left in folder.glob("*"):
        if left.name not in wanted:
            shutil.rmtree(left)


def _key(workspace: Workspace, digest: str) -> str:
    params = workspace.params
    return sha256_json([digest, result_params(params), params.data.model_dump(mode="json")])


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
