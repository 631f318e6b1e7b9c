"""Is a class fit to be learned? Every file is decoded once and every fault of every class is told at once."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from evernorm.data.image import read_image, read_mask, samples_of
from evernorm.data.manifest import Dropped, Format, Manifest, Record
from evernorm.data.naming import key_of, name_fault
from evernorm.data.readers import Auto, ClassListing, Item, make_record, read_classes
from evernorm.errors import DataError
from evernorm.files import PLAIN_NAME, is_plain_name
from evernorm.params.groups import DataParams
from evernorm.words import counted

MIN_SIDE = 32
MIN_TRAIN = 5  # calibration fits a tail to held-out training images
MIN_LEVELS = 26  # a tenth of the 256 that there are; darker training images are told

_WORKERS = min(4, max(2, os.cpu_count() or 2))


@dataclass(frozen=True)
class _Examined:
    """One image of a class.

    Attributes:
        item: The image.
        faults: What is wrong with it and its mask.
        record: Its record; none for an image that cannot be read.
        levels: The lowest and the highest value of its pixels, of 0 to 255.
        untold: Whether its bit depth had to be taken from the parameters.
    """

    item: Item
    faults: list[str]
    record: Record | None = None
    levels: tuple[int, int] = (255, 0)
    untold: bool = False


def validate(
    root: Path,
    names: Iterable[str],
    format: Format | Auto = "auto",
    progress: Callable[[int, int], None] | None = None,
    *,
    params: DataParams | None = None,
    drop_faulty: bool = False,
    least: int = MIN_TRAIN,
    warn: Callable[[str, str], None] | None = None,
) -> dict[str, Manifest]:
    """Check classes whole and give their manifests.

    A test split may be missing or hold one label only; masks may be missing.

    Args:
        root: Folder that holds one folder a class.
        names: Keys of the classes to check.
        format: Their layout, or ``auto``.
        progress: Called with (images done, images in all) after each image.
        params: How images are read.
        drop_faulty: Leave out images that are at fault, or whose masks are, and note them in the manifest. What fits
            no place of the layout, and what is wrong with a class as a whole, is refused all the same.
        least: Training images that a class needs; 0 for what is to be added to others.
        warn: Called with (class, sentence) for what is odd with a class and no fault.

    Returns:
        Manifests by class name, in the order of `names`.

    Raises:
        DataError: Its ``faults`` list every fault as ``class/path: what; what to do``.
    """
    names, params = tuple(dict.fromkeys(names)), params or DataParams()
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
                listing, bit_depth = listings[name], params.bits(name)
                examined = _examine_class(root, listing, bit_depth, pool, advance, drop_faulty)
                kept = [each for each in examined if not (drop_faulty and each.faults)]
                faults += [*listing.faults, *(fault for each in kept for fault in each.faults)]
                faults += _too_few(listing, kept, least, dropped=len(examined) - len(kept))
                if not faults:
                    manifests[name] = _manifest(listing, examined, kept, bit_depth)
                if warn is not None and (odd := _narrow(name, kept)):
                    warn(name, odd)
    if faults:
        raise DataError(f"the data in {root} cannot be used: {len(faults)} to mend", faults)
    return manifests


def _name_faults(root: Path, name: str, found: bool) -> list[str]:
    """Faults of a class name among those beside it."""
    if not is_plain_name(name):
        return [f"{name!r}: no plain class name; use {PLAIN_NAME}"]
    others = {key_of(entry.name) for entry in root.iterdir() if entry.is_dir() and not name_fault(entry.name)}
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
    root: Path,
    listing: ClassListing,
    bit_depth: int,
    pool: Executor,
    advance: Callable[[], None],
    drop_faulty: bool,
) -> list[_Examined]:
    """All images of a class, in the order of the paths."""
    examined = []
    for each in pool.map(lambda item: _examine(root, listing.display, item, bit_depth), listing.items):
        examined.append(each)
        advance()
    trained = {
        each.record.sha256: each.item.path
        for each in examined
        if each.record and each.item.split == "train" and not (drop_faulty and each.faults)
    }
    for each in examined:
        if each.item.split == "test" and each.record and (twin := trained.get(each.record.sha256)):
            each.faults.append(
                f"{listing.display}/{each.item.path}: same content as {twin}; keep it in one split only"
            )
    return examined


def _too_few(listing: ClassListing, kept: list[_Examined], least: int, dropped: int) -> list[str]:
    normals = sum(each.item.split == "train" and each.item.label == "good" for each in kept)
    if normals >= least:
        return []
    what = counted(normals, "training image") if normals else "no training images"
    where = f"without the {dropped} that are at fault" if dropped else f"in the {listing.format} layout"
    return [f"{listing.display}: {what} {where}; add normal ones, {least} at least"]


def _manifest(
    listing: ClassListing, examined: list[_Examined], kept: list[_Examined], bit_depth: int
) -> Manifest:
    """Of a class without faults but those of images that are left out."""
    dropped = [
        Dropped(path=each.item.path, fault=_in_short(listing.display, each))
        for each in examined
        if each.faults
    ]
    return Manifest(
        name=listing.name,
        display=listing.display,
        format=listing.format,
        bit_depth=bit_depth if any(each.untold for each in kept) else None,
        description=listing.description,
        records=tuple(each.record for each in kept if each.record),
        dropped=tuple(dropped),
    )


def _in_short(name: str, faulty: _Examined) -> str:
    """What is wrong with an image, without its own name and what to do."""
    told = [fault.removeprefix(f"{name}/").removeprefix(f"{faulty.item.path}: ") for fault in faulty.faults]
    return ", ".join(fault.partition("; ")[0] for fault in told)


def _narrow(name: str, kept: list[_Examined]) -> str | None:
    """A sentence on training images that are all of nearly one brightness, as 12 bits read as 16 are."""
    trained = [each.levels for each in kept if each.record and each.item.split == "train"]
    low, high = min((low for low, _ in trained), default=0), max((high for _, high in trained), default=255)
    if high - low >= MIN_LEVELS - 1:
        return None
    return (
        f"the training images use {high - low + 1} of 256 levels, {low} to {high}; if their files hold fewer bits than "
        f"they have room for, name them: --set data.bit_depth_of.{name}=12"
    )


def _examine(root: Path, name: str, item: Item, bit_depth: int) -> _Examined:
    """Decode and hash one image with its mask."""
    path, folder = f"{name}/{item.path}", root / name
    faults = []
    if item.split == "train" and item.label == "anomalous":
        faults.append(
            f"{path}: anomalous image ({item.defect}) in the training split; move it to the test split"
        )
    try:
        samples = samples_of(folder / item.path)
        image = read_image(folder / item.path, bit_depth)
    except DataError as error:
        return _Examined(item, [*faults, error.message.removeprefix(f"{root}/")])
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        faults.append(f"{path}: {width} x {height} pixels; {MIN_SIDE} a side at least are needed")
    if item.mask and (wrong := _mask_fault(root, f"{name}/{item.mask}", (height, width))):
        faults.append(wrong)
        item = replace(item, mask=None)
    return _Examined(
        item,
        faults,
        make_record(folder, item, (width, height)),
        (int(image.min()), int(image.max())),
        samples.wide and samples.bits is None,
    )


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
