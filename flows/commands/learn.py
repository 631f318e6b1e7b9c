"""Learn a folder of classes: check everything, bring it in, run the flow, show the summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from evernorm.errors import ParamsError
from evernorm.words import counted
from flows.commands.environment import prepare
from flows.commands.runner import run_flow
from flows.commands.server import start_server

if TYPE_CHECKING:
    from evernorm.data.manifest import Manifest
    from evernorm.params.groups import Params
    from tasks.workspace.workspace import Workspace


def learn_folder(
    data: Path,
    root: Path,
    order: list[str] | None,
    settings: list[str],
    summary_file: Path | None,
    *,
    drop_faulty: bool = False,
    published: bool = True,
) -> None:
    """Validate data and settings, make or reuse the workspace, learn, show the summary.

    Args:
        data: A folder of classes.
        root: The workspace.
        order: The stream; all classes by name where None.
        settings: ``key=value``.
        summary_file: Where the summary goes as JSON.
        drop_faulty: Whether images that are at fault are left out and listed (`evernorm.data.validate`).
        published: Whether banks become registered versions; False for an experiment.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed if data, settings or what they ask of this
            machine are at fault.
    """
    if published:
        follow_writers(root)
    workspace, known = take_in(data, root, order, [settings], drop_faulty=drop_faulty)

    from tasks.workspace.trial import kept_if_it_works

    with kept_if_it_works(workspace, known):
        learn_workspace(workspace.root, summary_file, published=published)


def follow_writers(root: Path) -> None:
    """Begin with what another writer of the workspace has made, before anything is changed here.

    Raises:
        EvernormError: See `tasks.fleet.writers.follow`.
    """
    prepare(root)
    from tasks.workspace.workspace import MARKER, Workspace

    if (root / MARKER).is_file():
        from tasks.fleet.writers import follow
        from tasks.retries import waited

        workspace = Workspace.open(root)
        with workspace.locked():
            waited(lambda: follow(workspace))


def take_in(
    data: Path, root: Path, order: list[str] | None, trials: Sequence[list[str]], *, drop_faulty: bool
) -> "tuple[Workspace, Params]":
    """Validate data and settings, make or reuse the workspace, bring the classes in.

    Args:
        data: A folder of classes.
        root: The workspace.
        order: The stream; all classes by name where None.
        trials: Settings, ``key=value``, with which the classes are to be learned in turn; the first are written.
        drop_faulty: See `learn_folder`.

    Returns:
        The workspace, and its parameters of before.

    Raises:
        EvernormError: See `learn_folder`.
    """
    prepare(root)
    from evernorm.data.naming import key_of
    from evernorm.data.readers import read_classes
    from evernorm.data.validate import validate
    from tasks.stages.stage import progress_bar
    from tasks.workspace.checks import check_change
    from tasks.workspace.settings import stream_with, with_settings
    from tasks.workspace.workspace import Workspace

    console = Console(stderr=True, highlight=False)
    known = Workspace.params_in(root)
    names = [key_of(name) for name in order] if order else list(read_classes(data))
    stream = stream_with(known.order, names)
    wanted = [with_settings(known, settings, stream) for settings in trials]
    if root.resolve().is_relative_to(data.resolve()):
        raise ParamsError(f"the workspace {root} lies inside {data}; name one outside of it with --workspace")
    for _, params in wanted:
        check_change(known, params)
    written, params = wanted[0]
    if known.order:
        start_server()
    odd: dict[str, str] = {}
    with progress_bar(f"checking {data}") as progress:
        manifests = validate(
            data, names, progress=progress, params=params.data, drop_faulty=drop_faulty, warn=odd.__setitem__
        )
    workspace = Workspace.open_or_create(root)
    prepare(root)

    from tasks.inbox.arrivals import (
        refuse_arriving,  # Prefect makes its home in the workspace when it is imported
    )
    from tasks.workspace.data import bring_in, replaced_by
    from tasks.workspace.forget import forgotten

    with workspace.locked():
        refuse_arriving(workspace)
        again = [each for each in forgotten(workspace) if each.name in manifests]
        for manifest in manifests.values():
            if replaced := replaced_by(workspace, manifest):
                console.print(f"{manifest.display}: {replaced}", markup=False, soft_wrap=True)
        changed = bring_in(workspace, data, manifests)
        # A class that the gate refused comes back with other images, or other bounds.
        left = {} if params.gate != known.gate else known.set_aside
        workspace.configure(written, [name for name in stream if name not in left or name in changed])
    images = sum(len(manifests[name].records) for name in changed)
    console.print(
        f"{counted(len(manifests), 'class', 'classes')}, {len(changed)} new or changed "
        f"({counted(images, 'image')}) → {workspace.root}"
    )
    for name in changed:
        tell_odd(manifests[name], odd.get(name), console)
    for each in again:
        console.print(f"{each.name} was forgotten ({each.reason}) and is learned again", markup=False)
    return workspace, known


def tell_odd(manifest: "Manifest", warning: str | None, console: Console) -> None:
    """Say which images of a class were left out, and what is odd with the others."""
    name = manifest.display
    if count := len(manifest.dropped):
        console.print(f"{name}: {counted(count, 'image')} left out:", markup=False)
    for each in manifest.dropped:
        console.print(f"  - {each.path}: {each.fault}", markup=False, soft_wrap=True)
    if warning:
        console.print(f"{name}: {warning}", style="yellow", markup=False, soft_wrap=True)


def learn_workspace(root: Path, summary_file: Path | None, *, published: bool = True) -> None:
    """Learn what the workspace's stream names and show the summary."""
    prepare(root)
    start_server()
    from evernorm.files import write_bytes
    from flows.commands.console import show
    from flows.commands.pages import pages_of
    from flows.learn import learn_stream
    from tasks.tracking.summary import summarise
    from tasks.workspace.workspace import Workspace

    console = Console(highlight=False)
    learned, decision = run_flow(lambda: learn_stream(root, published=published, return_state=True))
    if not learned:
        console.print("The stream is empty; there is nothing to learn.")
        return
    workspace = Workspace.open(root)
    summary = summarise(workspace, [each.recorded for each in learned.values()], decision)
    if summary_file is not None:
        write_bytes(summary_file, (summary.model_dump_json(indent=2) + "\n").encode())
    show(summary, console)
    console.print()
    for line in pages_of(workspace):
        console.print(line, soft_wrap=True, markup=False)
