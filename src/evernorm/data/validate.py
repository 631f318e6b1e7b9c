"""Is a class fit to be learned? Every file is decoded once and every fault of every class is told at once."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from evernorm.data.image import read_image, read_mask
from evernorm.data.manifest import Format, Manifest, Record
from evernorm.data.readers import Auto, ClassListing, Item, make_record, read_classes
from evernorm.errors import DataError
from evernorm.files import PLAIN_NAME, is_plain_name

MIN_SIDE = 32
MIN_TRAIN = 5  # calibration fits a tail to held-out training images

_WORKERS = min(4, max(2, os.cpu_count() or 2))


def validate(
    root: Path,
    names: Iterable[str],
    format: Format | Auto = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Manifest]:
    """Check classes whole and give their manifests.

    A test split may be missing or hold one label only; masks may be missing.

    Args:
        root: Folder that holds one folder a class.
        names: The classes to check.
        format: Their layout, or ``auto``.
        progress: Called with (images done, images in all) after each image.

    Returns:
        Manifests by class name, in the order of `names`.

    Raises:
        DataError: Its ``faults`` list every fault as ``class/path: what; what to do``.
    """
    names = tuple(dict.fromkeys(names))
    listings = read_classes(root, format, [name for name in names if is_plain_name(name)])
    total, done = sum(len(listing.items) for listing in listings.values()), count(1)

    def advance() -> None:
        if progress is not None:
            progress(next(done), total)

    faults, manifests = [], {}
    with ThreadPoolExecutor(_WORKERS) as pool:
        for name in names:
            faults += _name_faults(root, name, found=name in listings)
            if name in listings:
                records, found = _examine_class(root, listings[name], pool, advance)
                faults += found
                if not found:
                    manifests[name] = Manifest(
                        name=name, format=listings[name].format, records=tuple(records)
                    )
    if faults:
        raise DataError(f"the data in {root} cannot be used: {len(faults)} to mend", faults)
    return manifests


def _name_faults(root: Path, name: str, found: bool) -> list[str]:
    """Faults of a class name among those beside it."""
    if not is_plain_name(name):
        return [f"{name!r}: no plain class name; use {PLAIN_NAME}"]
    others = {entry.name for entry in root.iterdir() if entry.is_dir()}
    faults = [
        f"{name}: differs from {other!r} only by case; rename one of them"
        for other in sorted(others - {name})
        if other.casefold() == name.casefold()
    ]
    return (
        faults
        if found
        else [*faults, f"{name}: no such class; expected a folder of that name with images in it"]
    )


def _examine_class(
    root: Path, listing: ClassListing, pool: Executor, advance: Callable[[], None]
) -> tuple[list[Record], list[str]]:
    """Records of the readable images of a class, and all its faults in the order of the paths."""
    name = listing.name
    records, faults = [], [*listing.faults]
    for record, found in pool.map(partial(_examine, root, name), listing.items):
        faults += found
        records += [record] if record else []
        advance()
    trained = {record.sha256: record.path for record in records if record.split == "train"}
    faults += [
        f"{name}/{record.path}: same content as {trained[record.sha256]}; keep it in one split only"
        for record in records
        if record.split == "test" and record.sha256 in trained
    ]
    normals = sum(item.split == "train" and item.label == "good" for item in listing.items)
    if normals < MIN_TRAIN:
        what = f"{normals} training images" if normals else "no training images"
        faults.append(f"{name}: {what} in the {listing.format} layout; add normal ones, {MIN_TRAIN} at least")
    return records, faults


def _examine(root: Path, name: str, item: Item) -> tuple[Record | None, list[str]]:
    """Decode and hash one image with its mask."""
    path, folder = f"{name}/{item.path}", root / name
    faults = []
    if item.split == "train" and item.label == "anomalous":
        faults.append(
            f"{path}: anomalous image ({item.defect}) in the training split; move it to the test split"
        )
    try:
        height, width = read_image(folder / item.path).shape[:2]
    except DataError as error:
        return None, [*faults, error.message.removeprefix(f"{root}/")]
    if min(height, width) < MIN_SIDE:
        faults.append(f"{path}: {width} x {height} pixels; {MIN_SIDE} a side at least are needed")
    if item.mask and (wrong := _mask_fault(root, f"{name}/{item.mask}", (height, width))):
        faults.append(wrong)
        item = replace(item, mask=None)
    return make_record(folder, item, (width, height)), faults


def _mask_fault(root: Path, path: str, shape: tuple[int, int]) -> str | None:
    """What is wrong with the mask of an anomalous image of that height and width, if anything is."""
    try:
        mask = read_mask(root / path)
    except DataError as error:
        return error.message.removeprefix(f"{root}/")
    if mask.shape != shape:
        size, expected = (f"{width} x {height}" for height, width in (mask.shape, shape))
        return f"{path}: mask of {size} pixels for an image of {expected}; export it in the image's size"
    return (
        None
        if mask.any()
        else f"{path}: empty mask of an anomalous image; draw the defect or remove the mask"
    )
