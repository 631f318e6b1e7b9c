"""Which files a class consists of, in each public layout.

Every layout names the images of a class, their split, their label and their masks:

=========  ==============================  ====================================  =====================================
format     training normals                test                                  masks
=========  ==============================  ====================================  =====================================
mvtec      train/good                      test/good, test/<defect>              ground_truth/<defect>/<stem>[_mask].*
btad       train/ok                        test/ok, test/ko                      ground_truth/ko/<stem>.*
bmad       train/good or train/good/img    test/{good,Ungood} or .../img         test/Ungood/label/<stem>.*
visa       rows of split_csv/1cls.csv      rows of split_csv/1cls.csv            column ``mask``
folder     train, train/good, good,        test/good, test/<defect>              ground_truth/<defect>/<stem>[_mask].*
           normal or the class folder
=========  ==============================  ====================================  =====================================

A root holds one folder a class; folders without images are no classes. ``good``, ``ok`` and ``normal`` mean the same
everywhere; any other folder of a split is named after its defect. BMAD's ``valid`` split is not used. In ``folder``,
training normals are in the first of ``train``, ``good`` and ``normal`` that exists, else directly in the class folder.
Hidden files and text are ignored, as are masks of good images. No image is opened: `evernorm.data.validate` does that.
"""

import csv
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from evernorm.data.image import SUFFIXES, image_size
from evernorm.data.manifest import Format, Label, Manifest, Record, Split, leaves_folder
from evernorm.errors import DataError
from evernorm.files import is_plain_name, sha256_file

Auto = Literal["auto"]

VISA_TABLE = "split_csv/1cls.csv"

_IGNORED_NAMES = frozenset({"thumbs.db", "desktop.ini", "manifest.json"})
_IGNORED_SUFFIXES = frozenset({".txt", ".md"})
_NORMAL = ("good", "normal", "ok")
_PARTS_OF_A_CLASS = ("train", "test", "ground_truth", "good", "normal", "Data/Images")
_SPLITS: Mapping[str, Split] = {"train": "train", "test": "test"}
_VISA_COLUMNS = ("object", "split", "label", "image", "mask")


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
    """The images of one class, sorted by path, and what in its folder fits no place of the layout."""

    name: str
    format: Format
    items: tuple[Item, ...]
    faults: tuple[str, ...]


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
        return _visa(root, names)
    return {name: _LAYOUTS[layout](root / name).listing(layout) for name in _class_folders(root, names)}


def detect_format(root: Path, names: Collection[str] | None = None) -> Format:
    """Tell the layout of the classes below `root` from the names of their folders.

    Raises:
        DataError: `root` is no folder of classes, or its classes (of `names`, if given) differ in layout.
    """
    if (root / VISA_TABLE).is_file():
        return "visa"
    found: dict[Format, list[str]] = {}
    for name in _class_folders(root, names):
        found.setdefault(_layout_of(root / name), []).append(name)
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


@dataclass
class _Finder:
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
            (str(PurePosixPath(base, entry.name)), entry.is_dir()) for entry in _entries(self.folder / base)
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
        items = tuple(sorted(self.items, key=lambda item: item.path))
        return ClassListing(self.folder.name, format, items, tuple(self.faults))


def _by_label(folder: Path, splits: Iterable[Split] = ("train", "test")) -> _Finder:
    """MVTec's and BTAD's scheme: <split>/<good or defect>, and masks below ground_truth/<defect>."""
    found = _Finder(folder)
    for split in splits:
        found.unlabelled(split)
        for kind in found.folders(split):
            if _is_normal(kind):
                found.good(f"{split}/{kind}", split)
            else:
                found.anomalous(
                    f"{split}/{kind}", split, kind, f"ground_truth/{kind}" if split == "test" else ""
                )
    tested = found.folders("test")
    found.unlabelled("ground_truth")
    for kind in found.folders("ground_truth"):
        if kind not in tested and not _is_normal(kind):
            found.orphans(found.images(f"ground_truth/{kind}"))
    return found


def _bmad(folder: Path) -> _Finder:
    """BMAD's scheme: <split>/<good or Ungood>, each with its images in ``img`` and masks in ``label`` or without both."""
    found = _Finder(folder)
    for split in _SPLITS.values():
        found.unlabelled(split)
        for kind in found.folders(split):
            base = f"{split}/{kind}"
            within = found.folders(base)
            images = f"{base}/img" if "img" in within else base
            if _is_normal(kind):
                found.good(images, split)
            else:
                found.anomalous(images, split, kind, f"{base}/label" if "label" in within else "")
    return found


def _folder(folder: Path) -> _Finder:
    """The plain scheme of the module's table."""
    train = next((name for name in ("train", "good", "normal") if (folder / name).is_dir()), "")
    if train == "train" and any(entry.is_dir() for entry in _entries(folder / train)):
        found = _by_label(folder)
    else:
        found = _by_label(folder, splits=("test",))
        found.good(train, "train")
    if train:
        found.unlabelled("")
    for name in found.folders(""):
        if name not in (train, "test", "ground_truth") and _holds_images(folder / name):
            found.fault(name, "images outside the layout; defects belong into test/<defect>")
    return found


def _visa(root: Path, names: Collection[str] | None) -> dict[str, ClassListing]:
    """VisA's scheme: a table with one image a row, label normal or anomaly, and paths below the root."""
    table = root / VISA_TABLE
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); the visa format needs it") from error
    if missing := [column for column in _VISA_COLUMNS if column not in columns]:
        raise DataError(f"{table} has no column {', '.join(missing)}; expected {', '.join(_VISA_COLUMNS)}")
    wanted = sorted({row["object"] or "" for row in rows if names is None or row["object"] in names})
    if odd := [name for name in wanted if not is_plain_name(name)]:
        raise DataError(
            f"{table} has objects whose names are no plain class names: {', '.join(map(repr, odd))}"
        )
    classes = {name: _Finder(root / name) for name in wanted}
    seen: set[str | None] = set()
    for row in rows:
        if found := classes.get(row["object"] or ""):
            _visa_row(found, row, again=row["image"] in seen)
            seen.add(row["image"])
    return {name: found.listing("visa") for name, found in classes.items()}


def _visa_row(found: _Finder, row: Mapping[str, str | None], again: bool) -> None:
    """Take one row of VisA's table, or note why not."""
    split, label, image, mask = (row[column] or "" for column in _VISA_COLUMNS[1:])
    path, mask_path = (file.removeprefix(f"{found.folder.name}/") for file in (image, mask))
    if split not in _SPLITS:
        found.fault(path, f"split {split!r} in {VISA_TABLE}; expected train or test")
    elif label not in ("normal", "anomaly"):
        found.fault(path, f"label {label!r} in {VISA_TABLE}; expected normal or anomaly")
    elif path == image or leaves_folder(path) or (mask and (mask_path == mask or leaves_folder(mask_path))):
        found.fault(
            path,
            f"image {image!r} or mask {mask!r} in {VISA_TABLE} is not in the class folder; move it there",
        )
    elif found.leaves(path) or found.leaves(mask_path):
        pass  # told with the link
    elif again:
        found.fault(path, f"listed more than once in {VISA_TABLE}; remove a row")
    elif label == "normal":
        found.items.append(Item(path, _SPLITS[split], "good", "good"))
    else:
        found.items.append(Item(path, _SPLITS[split], "anomalous", "anomaly", mask_path or None))


_LAYOUTS: Mapping[Format, Callable[[Path], _Finder]] = {
    "mvtec": _by_label,
    "btad": _by_label,
    "bmad": _bmad,
    "folder": _folder,
}


def _layout_of(folder: Path) -> Format:
    """Layout of one class folder by the folders it has."""
    if (folder / "train/ok").is_dir() or (folder / "test/ko").is_dir():
        return "btad"
    if any(
        (folder / mark).is_dir() for mark in ("test/Ungood", "test/ungood", "train/good/img", "test/good/img")
    ):
        return "bmad"
    return "mvtec" if (folder / "train/good").is_dir() else "folder"


def _class_folders(root: Path, names: Collection[str] | None) -> list[str]:
    """Names of the folders in `root` that hold images, in the order of their bytes; only those of `names`, if given."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; expected one that holds one folder a class")
    if any(_holds_images(root / part) for part in _PARTS_OF_A_CLASS):
        raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
    entries = _entries(root)
    folders = [entry for entry in entries if entry.is_dir() and (names is None or entry.name in names)]
    found = [folder.name for folder in folders if _holds_images(folder)]
    if not found and names is None:
        if any(entry.suffix.lower() in SUFFIXES for entry in entries):
            raise DataError(f"{root} looks like one class; pass its parent {root.resolve().parent}")
        raise DataError(f"no class in {root}; expected one folder a class with images in it")
    return found


def _entries(folder: Path) -> list[Path]:
    """Visible entries of a folder, if it is one, in the order of their bytes."""
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


def _holds_images(folder: Path) -> bool:
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


def _is_normal(kind: str) -> bool:
    return kind.lower() in _NORMAL


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
