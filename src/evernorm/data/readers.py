"""Which files the classes below a root consist of, in any public layout.

A root holds one folder a class; folders without images are no classes. `evernorm.data.layouts` tells where each layout
keeps what. No image is opened: `evernorm.data.validate` does that.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from evernorm.data.image import SUFFIXES, image_size
from evernorm.data.layouts import LAYOUTS, VISA_TABLE, layout_of, read_visa
from evernorm.data.listing import ClassListing, Item, holds_images, visible_entries
from evernorm.data.manifest import Format, Manifest, Record
from evernorm.errors import DataError
from evernorm.files import is_plain_name, sha256_file

__all__ = [
    "VISA_TABLE",
    "Auto",
    "ClassListing",
    "Item",
    "build_manifest",
    "detect_format",
    "make_record",
    "read_classes",
]

Auto = Literal["auto"]

_PARTS_OF_A_CLASS = ("train", "test", "ground_truth", "good", "normal", "Data/Images")


def read_classes(
    root: Path, format: Format | Auto = "auto", names: Collection[str] | None = None
) -> dict[str, ClassListing]:
    """List the classes below `root`.

    Args:
        root: Folder that holds one folder a class.
        format: A layout, or ``auto`` to tell it from the folders.
        names: Read only these classes; those that do not exist are left out.

    Returns:
        Listings by class name, sorted by name.

    Raises:
        DataError: `root` is no folder of classes, or the layout is unknown, ambiguous or lacks its table.
    """
    layout = detect_format(root, names) if format == "auto" else format
    if layout not in get_args(Format):
        raise DataError(f"unknown format {format!r}; expected auto, {', '.join(get_args(Format))}")
    if layout == "visa":
        return read_visa(root, names)
    return {name: LAYOUTS[layout](root / name).listing(layout) for name in _class_folders(root, names)}


def detect_format(root: Path, names: Collection[str] | None = None) -> Format:
    """Tell the layout of the classes below `root` from the names of their folders.

    Raises:
        DataError: `root` is no folder of classes, or its classes (of `names`, if given) differ in layout.
    """
    if (root / VISA_TABLE).is_file():
        return "visa"
    found: dict[Format, list[str]] = {}
    for name in _class_folders(root, names):
        found.setdefault(layout_of(root / name), []).append(name)
    if len(found) > 1:
        faults = [f"{layout}: {', '.join(classes)}" for layout, classes in sorted(found.items())]
        raise DataError(f"the classes in {root} differ in layout; name the format or read them apart", faults)
    return next(iter(found), "folder")


def build_manifest(root: Path, name: str, format: Format | Auto = "auto") -> Manifest:
    """Hash the files of one class and read their sizes.

    The pixels are not decoded; `evernorm.data.validate.validate` does that and gives the same manifest.

    Raises:
        DataError: The class does not exist, or a file fits no place of the layout or has no readable header.
    """
    listing = read_classes(root, format, [name]).get(name) if is_plain_name(name) else None
    if listing is None:
        raise DataError(f"no class {name!r} in {root}; expected a folder of that plain name with images")
    if listing.faults:
        raise DataError(f"class {name!r} does not fit the {listing.format} layout", listing.faults)
    folder = root / name
    records = [make_record(folder, item, image_size(folder / item.path)) for item in listing.items]
    return Manifest(name=name, format=listing.format, records=tuple(records))


def make_record(folder: Path, item: Item, size: tuple[int, int]) -> Record:
    """Hash one image and its mask.

    Args:
        folder: The class folder.
        item: The image.
        size: Its upright width and height in pixels.
    """
    return Record(
        path=item.path,
        split=item.split,
        label=item.label,
        defect=item.defect,
        mask=item.mask,
        sha256=sha256_file(folder / item.path),
        mask_sha256=None if item.mask is None else sha256_file(folder / item.mask),
        size=(folder / item.path).stat().st_size,
        width=size[0],
        height=size[1],
    )


def _class_folders(root: Path, names: Collection[str] | None) -> list[str]:
    """Names of the folders in `root` that hold images, in the order of their bytes; only those of `names`, if given."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; expected one that holds one folder a class")
    if names is None and any(holds_images(root / part) for part in _PARTS_OF_A_CLASS):
        raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
    entries = visible_entries(root)
    folders = [entry for entry in entries if entry.is_dir() and (names is None or entry.name in names)]
    found = [folder.name for folder in folders if holds_images(folder)]
    if not found and names is None:
        if any(entry.suffix.lower() in SUFFIXES for entry in entries):
            raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
        raise DataError(f"no class in {root}; expected one folder a class with images in it")
    return found
