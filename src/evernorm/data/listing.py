"""What one class consists of, and the finder that collects it from the class folder.

Hidden files and text are ignored, but for the description of the class. No image is opened.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from evernorm.data.description import FILE, decode
from evernorm.data.image import SUFFIXES
from evernorm.data.manifest import Format, Label, Split
from evernorm.data.naming import key_of
from evernorm.errors import DataError

_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "manifest.json"})
_IGNORED_SUFFIXES = frozenset({".txt", ".md"})


@dataclass(frozen=True)
class Item:
    """One image of a class as its layout describes it; paths are POSIX and relative to the class folder."""

    path: str
    split: Split
    label: Label
    defect: str
    mask: str | None = None


@dataclass(frozen=True)
class ClassListing:
    """The images of one class, sorted by path, and what in its folder fits no place of the layout.

    Attributes:
        name: Key of the class.
        display: Name of its folder.
        format: Layout of the folder.
        items: The images.
        description: What the class is, if its folder says so.
        faults: What fits no place, and what is wrong with the description.
    """

    name: str
    display: str
    format: Format
    items: tuple[Item, ...]
    description: str
    faults: tuple[str, ...]


@dataclass
class Finder:
    """Collects the items and faults of one class folder; what lies behind a link out of it is not seen."""

    folder: Path
    items: list[Item] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    links: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.links = _leaving_links(self.folder)
        for link in self.links:
            self.fault(link, "link leaves its folder; copy the files in its place")

    def leaves(self, path: str) -> bool:
        """Tell whether a path in the class folder is behind a link that leaves it."""
        return any(PurePosixPath(path).is_relative_to(link) for link in self.links)

    def fault(self, path: str, text: str) -> None:
        """Note one fault of a path in the class folder."""
        line = f"{PurePosixPath(self.folder.name, path)}: {text}"
        self.faults.append(line.encode(errors="backslashreplace").decode())

    def entries(self, base: str) -> list[tuple[str, bool]]:
        """Visible entries of a folder as (relative path, whether it is a folder), in the order of their bytes."""
        found = [
            (str(PurePosixPath(base, entry.name)), entry.is_dir())
            for entry in visible_entries(self.folder / base)
        ]
        return [(path, is_folder) for path, is_folder in found if not self.leaves(path)]

    def folders(self, base: str) -> list[str]:
        """Names of the visible folders in a folder."""
        return [PurePosixPath(path).name for path, is_folder in self.entries(base) if is_folder]

    def images(self, base: str) -> list[str]:
        """Images directly in a folder; whatever else is there is a fault, except that a class folder has subfolders."""
        found = []
        for path, is_folder in self.entries(base):
            if is_folder:
                if base:
                    self.fault(path, "folder among images; move its images up or the folder away")
            elif PurePosixPath(path).suffix.lower() not in SUFFIXES:
                self.fault(path, "not an image by its name; remove it")
            elif not _is_utf8(path):
                self.fault(path, "file name is not UTF-8; rename it")
            else:
                found.append(path)
        return found

    def unlabelled(self, base: str) -> None:
        """Note as faults the images directly in a folder that should hold them by label."""
        for path, is_folder in self.entries(base):
            if not is_folder and PurePosixPath(path).suffix.lower() in SUFFIXES:
                self.fault(
                    path, "image without a label; move it into a subfolder named good or after the defect"
                )

    def good(self, base: str, split: Split) -> None:
        """Take the images of a folder as good."""
        self.items += [Item(path, split, "good", "good") for path in self.images(base)]

    def anomalous(self, base: str, split: Split, defect: str, masks: str = "") -> None:
        """Take the images of a folder as anomalous, with the masks of another."""
        drawn = self.images(masks) if masks else []
        by_stem = {PurePosixPath(path).stem: path for path in drawn}
        used = set()
        for path in self.images(base):
            stem = PurePosixPath(path).stem
            mask = by_stem.get(f"{stem}_mask", by_stem.get(stem))
            used.add(mask)
            self.items.append(Item(path, split, "anomalous", defect, mask))
        self.orphans(path for path in drawn if path not in used)

    def orphans(self, masks: Iterable[str]) -> None:
        """Note masks that belong to no image."""
        for path in masks:
            self.fault(path, "mask without image; add the image or remove the mask")

    def listing(self, format: Format) -> ClassListing:
        """What was found, in the order of the paths."""
        name, items = self.folder.name, tuple(sorted(self.items, key=lambda item: item.path))
        description = self._description()
        return ClassListing(key_of(name), name, format, items, description, tuple(self.faults))

    def _description(self) -> str:
        """What the folder says of the class; one at fault is noted, one behind a link out of it is not seen."""
        if not (self.folder / FILE).is_file() or self.leaves(FILE):
            return ""
        try:
            return decode((self.folder / FILE).read_bytes())
        except PermissionError:
            self.fault(FILE, "cannot be read; give read permission")
        except ValueError as error:
            self.fault(FILE, str(error))
        return ""


def visible_entries(folder: Path) -> list[Path]:
    """Visible entries of a folder, if it is one, in the order of their bytes.

    Raises:
        DataError: The folder cannot be listed.
    """
    try:
        found = sorted(folder.iterdir()) if folder.is_dir() else []
    except PermissionError as error:
        raise DataError(f"{folder} cannot be listed; give read permission") from error
    return [entry for entry in found if not _ignored(entry.name)]


def _leaving_links(folder: Path) -> list[str]:
    """Links that lead out of a class folder, relative to it; ``.`` where the folder itself leads out of its root."""
    if not _stays(folder, folder.parent):
        return ["."]
    return sorted(
        str(PurePosixPath(entry.relative_to(folder)))
        for below, folders, files in os.walk(folder)
        for entry in (Path(below, name) for name in (*folders, *files))
        if entry.is_symlink() and not _stays(entry, folder)
    )


def _stays(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link that leads to itself
        return False


def holds_images(folder: Path) -> bool:
    """Tell whether a folder holds an image at any depth, or a linked folder, which is not followed."""
    return any(
        any(not _ignored(name) and PurePosixPath(name).suffix.lower() in SUFFIXES for name in files)
        or any((Path(below) / name).is_symlink() for name in folders)
        for below, folders, files in os.walk(folder)
    )


def _ignored(name: str) -> bool:
    return (
        name.startswith(".")
        or name.lower() in _IGNORED_NAMES
        or PurePosixPath(name).suffix.lower() in _IGNORED_SUFFIXES
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
