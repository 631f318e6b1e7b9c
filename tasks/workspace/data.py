"""Bring classes into a workspace: copy and version."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evernorm.data.manifest import Manifest
from evernorm.errors import DataError, StateError
from evernorm.words import counted
from tasks.workspace.forget import learn_again, refuse_unfinished
from tasks.workspace.pipeline import track
from tasks.workspace.workspace import Workspace


def bring_in(workspace: Workspace, source: Path, manifests: Mapping[str, Manifest]) -> list[str]:
    """Copy validated classes into ``data/<class>`` and put them under DVC; return the names that are new or changed.

    A class that is already there with these images and this description is left alone; one that was forgotten is so no longer.

    Args:
        workspace: Where to.
        source: The folder of classes.
        manifests: What `evernorm.data.validate` found there.

    Raises:
        DataError: A class of another name that gives the same key is there.
        PipelineError: Another class is only half forgotten.
    """
    refuse_unfinished(workspace)
    refuse_other_names(workspace, manifests)
    learn_again(workspace, manifests)
    changed = [name for name, manifest in manifests.items() if _stored(workspace, name) != manifest]
    for name in changed:
        # Without its .dvc file a class counts as not yet added, whatever happens before `track` ends.
        (workspace.root / "data" / f"{name}.dvc").unlink(missing_ok=True)
        _copy(source / manifests[name].display, workspace.paths.data(name), manifests[name])
    # Also what a killed run copied but did not get to add.
    adding = [
        name
        for name in manifests
        if name in changed or not (workspace.root / "data" / f"{name}.dvc").is_file()
    ]
    if adding:
        track(workspace, [workspace.paths.data(name) for name in adding])
    return adding


def replaced_by(workspace: Workspace, manifest: Manifest) -> str:
    """What becomes of what the workspace has of a class when this takes its place; empty if it has none, or the same."""
    stored = _stored(workspace, manifest.name)
    if stored is None or stored == manifest:
        return ""
    old, new = ({record.sha256 for record in each.records} for each in (stored, manifest))
    described = "" if stored.description == manifest.description else "; its description changes"
    return (
        f"its {counted(len(stored.records), 'image')} are replaced by {len(manifest.records)}: {len(new - old)} new, "
        f"{len(old & new)} as before, {len(old - new)} removed{described}"
    )


def refuse_other_names(workspace: Workspace, manifests: Mapping[str, Manifest]) -> None:
    """Refuse to take one product for another whose name gives the same key.

    Raises:
        DataError: Listing those classes, each by both names.
    """
    stored = {name: _stored(workspace, name) for name in manifests}
    faults = [
        f"{manifests[name].display!r} and {there.display!r}, which is there, give the same key, {name}; rename it"
        for name, there in stored.items()
        if there is not None and there.display != manifests[name].display
    ]
    if faults:
        raise DataError("classes cannot be told from those in the workspace by their names", faults)


def _stored(workspace: Workspace, name: str) -> Manifest | None:
    try:
        return Manifest.load(workspace.paths.manifest(name))
    except StateError:
        return None


def _copy(source: Path, target: Path, manifest: Manifest) -> None:
    """Copy the files a manifest names beside the target, then take its place."""
    beside = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    wanted = [path for record in manifest.records for path in (record.path, record.mask) if path]

    def copy(path: str) -> None:
        (beside / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, beside / path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(copy, wanted))
    manifest.save(beside / "manifest.json")
    manifest.training().save(beside / "train.json")
    if target.exists():
        shutil.rmtree(target)
    beside.rename(target)
