"""Deliver a class into an inbox: every file, then the manifest that makes it complete."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from evernorm.data.description import tidy
from evernorm.data.manifest import Manifest
from evernorm.data.naming import key_of
from evernorm.data.readers import VISA_TABLE
from evernorm.data.validate import MIN_TRAIN, validate
from evernorm.errors import DataError, ParamsError
from evernorm.files import sha256_file
from evernorm.words import counted
from tasks.inbox.inbox import MANIFEST, DeliveredFile, DeliveryManifest, told
from tasks.inbox.storage import WORKERS, FolderStorage, Storage, Stored, open_storage
from tasks.stages.stage import progress_bar


@dataclass(frozen=True)
class Packed:
    """What `pack` delivered, and how many of the files were there before."""

    manifest: DeliveryManifest
    there: int


def pack(
    folder: Path,
    place: str,
    *,
    add: bool = False,
    description: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> Packed:
    """Deliver the class in a folder; interrupted, it goes on when it is run again.

    What an earlier delivery of the class left and this one does not name is removed after the files are sent and
    before the new manifest takes the place of the old one; until then the two disagree, so that the class is not
    taken half new. A delivery that is there whole is left as it is, with its time of arrival.

    Args:
        folder: The class; its name is what people call the class.
        place: The inbox, a directory or ``s3://bucket/prefix``.
        add: Whether the files are added to those of the delivery that is there; its description stays then, if there
            is no other.
        description: What the class is, in words; None: what its folder says.
        tell: Called with a sentence where the delivery that is there is changed, before it is.

    Raises:
        DataError: The class could not be learned, there is nothing to add to, what is added has the name of something
            else there, or files that nobody delivered are in its place; nothing was sent.
        ParamsError: `place` cannot be an inbox for this class, or `description` describe one.
        PassingError: The inbox is out of reach.
        PipelineError: It does not exist or refuses.
    """
    if description is not None:
        description = _usable(description)
    folder, storage = folder.resolve(), open_storage(place)
    name = key_of(folder.name)
    _refuse_itself(folder, storage, name)
    with progress_bar(f"checking {folder.name}") as progress:
        records = validate(folder.parent, [name], progress=progress, least=0 if add else MIN_TRAIN)[name]
    if description is not None:
        records = records.model_copy(update={"description": description})
    manifest = own = _describe(folder, records)
    stored = storage.objects(name)
    before = _manifest_before(storage, stored, name)
    if add:
        manifest = _together(before, own, storage.place)
    wanted = {f"{name}/{file.path}": file for file in manifest.files}
    named = {*wanted, f"{name}/{MANIFEST}"}
    left = _left(storage, stored, named, delivered=before is not None)
    there = _there(storage, stored, wanted)
    if lost := [key for key in wanted if key not in there and wanted[key] not in own.files]:
        raise DataError(f"{storage.place}: the delivery to add to is damaged; pack it again first", lost)
    if before is not None and before != manifest and tell is not None:
        tell(_changes(before, manifest))
    if left or len(there) < len(wanted) or before != manifest:
        _send(storage, folder, {key: file for key, file in wanted.items() if key not in there})
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(storage.remove, left))
        storage.write(f"{name}/{MANIFEST}", manifest.to_bytes())
    return Packed(manifest, len(there))


def _usable(description: str) -> str:
    try:
        return tidy(description)
    except ValueError as error:
        raise ParamsError(f"the description that was given: {error}") from error


def _refuse_itself(folder: Path, storage: Storage, name: str) -> None:
    """Delivering a folder onto itself would remove whatever in it is not delivered."""
    if isinstance(storage, FolderStorage):
        target = (storage.root / name).resolve()
        if target.is_relative_to(folder) or folder.is_relative_to(target):
            raise ParamsError(f"{folder} and the inbox {storage.place} overlap; name another inbox")


def _describe(folder: Path, manifest: Manifest) -> DeliveryManifest:
    """What a class consists of: its names, its description, its files."""
    if manifest.format == "visa":
        raise DataError(
            f"{folder.name} is described by {VISA_TABLE}, which is in no class folder and cannot be delivered with "
            f"one; sort its images into train/good, test/<defect> and ground_truth/<defect>"
        )
    files = {record.path: (record.sha256, record.size) for record in manifest.records}
    files |= {
        record.mask: (record.mask_sha256 or "", (folder / record.mask).stat().st_size)
        for record in manifest.records
        if record.mask
    }
    listed = [{"path": path, "sha256": sha256, "size": size} for path, (sha256, size) in files.items()]
    try:
        return DeliveryManifest.model_validate(
            {
                "name": manifest.name,
                "display": None if manifest.display == manifest.name else manifest.display,
                "description": manifest.description or None,
                "files": listed,
            }
        )
    except ValidationError as error:
        raise DataError(f"{folder} cannot be delivered with these names", told(error)) from error


def _together(before: DeliveryManifest | None, own: DeliveryManifest, place: str) -> DeliveryManifest:
    """A delivery with the files of another one added, and its description if it has one.

    Raises:
        DataError: There is none, or one path names two files.
    """
    if before is None:
        raise DataError(
            f"{place} holds no delivery of {own.name} to add to; pack all of its images without --add"
        )
    there = {file.path: file for file in before.files}
    if clash := [file.path for file in own.files if there.get(file.path, file) != file]:
        raise DataError("other files of these names are in the delivery already; rename what is added", clash)
    folders = [
        {PurePosixPath(file.path).parts[0] if "/" in file.path else "." for file in each.files}
        for each in (before, own)
    ]
    if "." in folders[0] ^ folders[1]:
        raise DataError(
            "the delivery keeps its images in other folders than what is added; sort both the same way, with training "
            "images in train/good or beside each other"
        )
    files = [file.model_dump() for file in {*before.files, *own.files}]
    description = own.description or before.description
    try:
        return DeliveryManifest.model_validate(
            {**before.model_dump(), "description": description, "files": files}
        )
    except ValidationError as error:
        raise DataError("what is added does not go together with the delivery", told(error)) from error


def _changes(before: DeliveryManifest, after: DeliveryManifest) -> str:
    """What becomes of the delivery that is there."""
    old, new = set(before.files), set(after.files)
    what = f"{counted(len(new - old), 'file')} new, {len(old & new)} as before, {len(old - new)} removed"
    what += "" if before.description == after.description else "; its description changes"
    how = "replaces" if old - new else "adds to" if new - old else "changes"
    return f"{after.display or after.name}: {how} the delivery of {counted(len(old), 'file')} that is there: {what}"


def _manifest_before(storage: Storage, stored: Sequence[Stored], name: str) -> DeliveryManifest | None:
    """The manifest of the delivery that is in the place of this one, if it is a delivery."""
    key = f"{name}/{MANIFEST}"
    if key not in {each.key for each in stored}:
        return None
    content = storage.read(key)
    try:
        manifest = DeliveryManifest.parse(content)
    except DataError:
        return None
    return manifest if manifest.name == name else None


def _left(
    storage: Storage, stored: Sequence[Stored], named: Collection[str], *, delivered: bool
) -> list[str]:
    """Keys that this delivery does not name: what an earlier one left, never what somebody else put there."""
    others = {each.key for each in stored} - set(named)
    strange = [each.key for each in stored if each.fault or (each.key in others and not delivered)]
    if strange:
        raise DataError(
            f"{storage.place} holds files in the place of this class that were not delivered; remove them, or name "
            f"another inbox",
            [repr(key) for key in strange],
        )
    return sorted(others)


def _there(storage: Storage, stored: Sequence[Stored], wanted: Mapping[str, DeliveredFile]) -> set[str]:
    """Keys of the files that need not be sent again."""
    alike = [each.key for each in stored if each.key in wanted and each.size == wanted[each.key].size]
    with ThreadPoolExecutor(WORKERS) as pool:
        held = pool.map(lambda key: storage.holds(key, wanted[key].sha256), alike)
        return {key for key, holds in zip(alike, held, strict=True) if holds}


def _send(storage: Storage, folder: Path, files: Mapping[str, DeliveredFile]) -> None:
    def send(key: str) -> None:
        source = folder / files[key].path
        if sha256_file(source) != files[key].sha256:
            raise DataError(f"{source} was changed while the class was packed; run again")
        storage.send(source, key, files[key].sha256)

    with progress_bar("sending") as progress, ThreadPoolExecutor(WORKERS) as pool:
        for done, _ in enumerate(pool.map(send, files), 1):
            progress(done, len(files))
