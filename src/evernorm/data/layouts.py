"""Where each public layout keeps the images of a class, their split, their label and their masks.

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

``good``, ``ok`` and ``normal`` mean the same everywhere; any other folder of a split is named after its defect. BMAD's
``valid`` split is not used. In ``folder``, training normals are in the first of ``train``, ``good`` and ``normal`` that
exists, else directly in the class folder. Masks of good images are ignored.
"""

import csv
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from evernorm.data.listing import ClassListing, Finder, Item, holds_images, visible_entries
from evernorm.data.manifest import Format, Split, leaves_folder
from evernorm.data.naming import keyed
from evernorm.errors import DataError

VISA_TABLE = "split_csv/1cls.csv"
"""Where VisA's table is below the root."""

_NORMAL = ("good", "normal", "ok")
_SPLITS: Mapping[str, Split] = {"train": "train", "test": "test"}
_VISA_COLUMNS = ("object", "split", "label", "image", "mask")


def _by_label(folder: Path, splits: Iterable[Split] = ("train", "test")) -> Finder:
    """MVTec's and BTAD's scheme: <split>/<good or defect>, and masks below ground_truth/<defect>."""
    found = Finder(folder)
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


def _bmad(folder: Path) -> Finder:
    """BMAD's scheme: <split>/<good or Ungood>, each with its images in ``img`` and masks in ``label`` or without both."""
    found = Finder(folder)
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


def _folder(folder: Path) -> Finder:
    """The plain scheme of the module's table."""
    train = next((name for name in ("train", "good", "normal") if (folder / name).is_dir()), "")
    if train == "train" and any(entry.is_dir() for entry in visible_entries(folder / train)):
        found = _by_label(folder)
    else:
        found = _by_label(folder, splits=("test",))
        found.good(train, "train")
    if train:
        found.unlabelled("")
    for name in found.folders(""):
        if name not in (train, "test", "ground_truth") and holds_images(folder / name):
            found.fault(name, "images outside the layout; defects belong into test/<defect>")
    return found


def read_visa(root: Path, names: Collection[str] | None) -> dict[str, ClassListing]:
    """VisA's scheme: a table with one image a row, label normal or anomaly, and paths below the root.

    Args:
        root: Folder that holds the table and one folder a class.
        names: Keys of the classes to read; all, if None.

    Returns:
        Listings by key, sorted.

    Raises:
        DataError: The table cannot be read, lacks a column or has classes that cannot be told apart by their names.
    """
    table = root / VISA_TABLE
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} cannot be read as a table ({error}); the visa format needs it") from error
    if missing := [column for column in _VISA_COLUMNS if column not in columns]:
        raise DataError(f"{table} has no column {', '.join(missing)}; expected {', '.join(_VISA_COLUMNS)}")
    wanted = keyed(sorted({row["object"] or "" for row in rows}), names)
    classes = {name: Finder(root / name) for name in wanted.values()}
    seen: set[str | None] = set()
    for row in rows:
        if found := classes.get(row["object"] or ""):
            _visa_row(found, row, again=row["image"] in seen)
            seen.add(row["image"])
    return {key: classes[name].listing("visa") for key, name in wanted.items()}


def _visa_row(found: Finder, row: Mapping[str, str | None], again: bool) -> None:
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


LAYOUTS: Mapping[Format, Callable[[Path], Finder]] = {
    "mvtec": _by_label,
    "btad": _by_label,
    "bmad": _bmad,
    "folder": _folder,
}
"""How one class folder is read, in each layout but VisA's, whose table spans the classes."""


def layout_of(folder: Path) -> Format:
    """Layout of one class folder by the folders it has."""
    if (folder / "train/ok").is_dir() or (folder / "test/ko").is_dir():
        return "btad"
    if any(
        (folder / mark).is_dir() for mark in ("test/Ungood", "test/ungood", "train/good/img", "test/good/img")
    ):
        return "bmad"
    return "mvtec" if (folder / "train/good").is_dir() else "folder"


def _is_normal(kind: str) -> bool:
    return kind.lower() in _NORMAL
