"""Which files the classes below a root consist of, in any public layout.

A root holds one folder a class; folders without images are no classes. `evernorm.data.layouts` tells where each layout
keeps what. No image is opened: `evernorm.data.validate` does that.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Literal, get_args

from evernorm.data.image import SUFFIXES
from evernorm.data.layouts import LAYOUTS, VISA_TABLE, layout_of, read_visa
from evernorm.data.listing import ClassListing, Item, holds_images, visible_entries
from evernorm.data.manifest import Format, Record
from evernorm.data.naming import key_of, keyed, name_fault
from evernorm.errors import DataError
from evernorm.files import sha256_file

__all__ = [
    "VISA_TABLE",
    "Auto",
    "ClassListing",
    "Item",
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
        names: Keys of the classes to read (`evernorm.data.naming`); those that do not exist are left out.

    Returns:
        Listings by key, sorted.

    Raises:
        DataError: `root` is no folder of classes, the layout is unknown, ambiguous or lacks its table, or classes
            cannot be told apart by their names.
    """
    layout = detect_format(root, names) if format == "auto" else format
    if layout not in get_args(Format):
        raise DataError(f"unknown format {format!r}; expected auto, {', '.join(get_args(Format))}")
    if layout == "visa":
        return read_visa(root, names)
    folders = _class_folders(root, names)
    return {key: LAYOUTS[layout](root / name).listing(layout) for key, name in folders.items()}


def detect_format(root: Path, names: Collection[str] | None = None) -> Format:
    """Tell the layout of the classes below `root` from the names of their folders.

    Raises:
        DataError: `root` is no folder of classes, or its classes (of `names`, if given) differ in layout.
    """
    if (root / VISA_TABLE).is_file():
        return "visa"
    found: dict[Format, list[str]] = {}
    for name in _class_folders(root, names).values():
        found.setdefault(layout_of(root / name), []).append(name)
    if len(found) > 1:
        faults = [f"{layout}: {', '.join(classes)}" for layout, classes in sorted(found.items())]
        raise DataError(f"the classes in {root} differ in layout; name the format or read them apart", faults)
    return next(iter(found), "folder")


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


def _class_folders(root: Path, names: Collection[str] | None) -> dict[str, str]:
    """Names of the folders in `root` that hold images, by their keys and in their order; only `names`, if given."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; expected one that holds one folder a class")
    if names is None and any(holds_images(root / part) for part in _PARTS_OF_A_CLASS):
        raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
    entries = visible_entries(root)
    found = keyed(
        (
            entry.name
            for entry in entries
            if entry.is_dir() and (names is None or _is_any(entry.name, names)) and holds_images(entry)
        ),
        names,
    )
    if not found and names is None:
        if any(entry.suffix.lower() in SUFFIXES for entry in entries):
            raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
        raise DataError(f"no class in {root}; expected one folder a class with images in it")
    return found


def _is_any(name: str, keys: Collection[str]) -> bool:
    return not name_fault(name) and key_of(name) in keys
