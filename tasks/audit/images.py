"""Every image, by the hash that it had when it was brought in."""

from pydantic import ValidationError

from evernorm.data.manifest import Manifest
from tasks.audit.lock import Described
from tasks.audit.objects import Held
from tasks.audit.report import Notes


def check_images(described: Described, held: Held, notes: Notes) -> None:
    """Compare each class's manifest with the images that DVC stores under the paths in it."""
    for name, out in described.data.items():
        if out.path in held.lists:
            _check_class(name, out.path, held, notes)


def _check_class(name: str, folder: str, held: Held, notes: Notes) -> None:
    manifest, training = (
        _read(f"{folder}/{file}.json", folder, held, notes) for file in ("manifest", "train")
    )
    if manifest is None:
        return
    notes.compare("manifest", f"{folder}/manifest.json class", manifest.name, name, folder)
    if training is not None and training != manifest.training():
        notes.find(
            "manifest", f"{folder}/train.json", "differs", "the training images of manifest.json", folder
        )
    named = {f"{folder}/manifest.json", f"{folder}/train.json"}
    for record in manifest.records:
        for kind, path, expected in (
            ("images", record.path, record.sha256),
            ("masks", record.mask, record.mask_sha256),
        ):
            if path is None:
                continue
            file = f"{folder}/{path}"
            named.add(file)
            oid = held.lists[folder].get(file)
            if oid is None:
                notes.find("manifest", file, "missing", f"sha256 {expected}", folder)
            elif (found := held.sha256.get(oid)) is not None:  # otherwise it is a finding of the cache's
                notes.count("manifest", kind)
                notes.compare("manifest", file, f"sha256 {found}", f"sha256 {expected}", folder)
    for file in sorted(held.lists[folder].keys() - named):
        notes.find("manifest", file, "in no manifest", "no such file", folder)


def _read(path: str, folder: str, held: Held, notes: Notes) -> Manifest | None:
    if path not in held.lists[folder]:
        notes.find("manifest", path, "missing", "a manifest", folder)
        return None
    content = held.read(path)
    if content is None:
        notes.skip("manifest", f"{path}: no place holds it")
        return None
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors()[0]
        said = f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip()
        notes.find("manifest", path, said, "a manifest", folder)
        return None
