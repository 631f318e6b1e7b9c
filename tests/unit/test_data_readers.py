"""Every public layout gives the same listing; what fits no layout is told."""

import shutil

import numpy as np
import pytest
from PIL import Image

from evernorm.data.readers import detect_format, read_classes
from evernorm.errors import DataError

LAYOUTS = ("mvtec", "visa", "btad", "bmad", "folder")
DEFECTS = {"mvtec": "hole", "visa": "anomaly", "btad": "ko", "bmad": "Ungood", "folder": "hole"}


def draw(path, size=(48, 40)):
    """An image at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), 7, dtype=np.uint8)).save(path)


def rows(listing):
    return [(item.path, item.split, item.label, item.defect, item.mask) for item in listing.items]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("format", ["named", "auto"])
def test_every_layout_gives_the_same_classes(make_dataset, layout, format):
    """Six training normals, two good and three defective test images with their own masks, sorted by path."""
    root = make_dataset(layout)
    classes = read_classes(root, layout if format == "named" else "auto")
    assert list(classes) == ["bottle", "cable"]
    for name, listing in classes.items():
        assert (listing.name, listing.format, listing.faults) == (name, layout, ())
        assert [item.path for item in listing.items] == sorted(item.path for item in listing.items)
        assert all((root / name / item.path).is_file() for item in listing.items)
        kinds = [(item.split, item.label, item.defect) for item in listing.items]
        assert kinds.count(("train", "good", "good")) == 6
        assert kinds.count(("test", "good", "good")) == 2
        assert kinds.count(("test", "anomalous", DEFECTS[layout])) == 3
        assert len(kinds) == 11
        for item in listing.items:
            assert (item.mask is not None) == (item.label == "anomalous")
            if item.mask:
                assert item.path.split("/")[-1][:3] == item.mask.split("/")[-1][:3]
                assert (root / name / item.mask).is_file()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_classes_asked_for_are_read(make_dataset, layout):
    """Names select; a name that does not exist is left out."""
    assert list(read_classes(make_dataset(layout), layout, ["cable", "carpet"])) == ["cable"]


def test_masks_may_be_named_as_their_image(make_dataset):
    """MVTec's ``<stem>_mask.png`` and plain ``<stem>.png`` are both taken."""
    root = make_dataset("mvtec", names=["bottle"])
    masks = root / "bottle/ground_truth/hole"
    (masks / "001_mask.png").rename(masks / "001.png")
    listing = read_classes(root)["bottle"]
    assert [item.mask for item in listing.items if item.mask] == [
        "ground_truth/hole/000_mask.png",
        "ground_truth/hole/001.png",
        "ground_truth/hole/002_mask.png",
    ]
    assert listing.faults == ()


def test_a_defect_kind_may_have_no_masks(make_dataset):
    """Missing masks are none, not faults."""
    root = make_dataset("mvtec", names=["bottle"])
    draw(root / "bottle/test/scratch/000.png")
    listing = read_classes(root)["bottle"]
    assert ("test/scratch/000.png", "test", "anomalous", "scratch", None) in rows(listing)
    assert listing.faults == ()


def test_bmad_reads_flat_folders_and_leaves_valid_alone(tmp_path):
    """Image-level classes have no ``img`` and ``label``; the validation split is not used."""
    for path in (
        "train/good/0.png",
        "train/good/1.png",
        "valid/good/0.png",
        "test/good/0.png",
        "test/Ungood/0.png",
    ):
        draw(tmp_path / "oct" / path)
    draw(tmp_path / "liver/train/good/img/0.png")
    draw(tmp_path / "liver/test/Ungood/img/0.png")
    classes = read_classes(tmp_path)
    assert rows(classes["oct"]) == [
        ("test/Ungood/0.png", "test", "anomalous", "Ungood", None),
        ("test/good/0.png", "test", "good", "good", None),
        ("train/good/0.png", "train", "good", "good", None),
        ("train/good/1.png", "train", "good", "good", None),
    ]
    assert rows(classes["liver"]) == [
        ("test/Ungood/img/0.png", "test", "anomalous", "Ungood", None),
        ("train/good/img/0.png", "train", "good", "good", None),
    ]
    assert classes["oct"].faults == classes["liver"].faults == ()


@pytest.mark.parametrize("train", ["", "good/", "normal/", "train/", "train/normal/"])
def test_plain_folders_hold_training_normals(tmp_path, train):
    """Training normals are in the class folder itself or in the first folder named for them; test is optional."""
    for index in (1, 0):
        draw(tmp_path / f"bottle/{train}{index}.png")
    assert detect_format(tmp_path) == "folder"
    listing = read_classes(tmp_path)["bottle"]
    assert rows(listing) == [(f"{train}{index}.png", "train", "good", "good", None) for index in (0, 1)]
    draw(tmp_path / "bottle/test/normal/0.png")
    draw(tmp_path / "bottle/test/dent/0.png")
    draw(tmp_path / "bottle/ground_truth/dent/0.png")
    listing = read_classes(tmp_path)["bottle"]
    assert [row for row in rows(listing) if row[1] == "test"] == [
        ("test/dent/0.png", "test", "anomalous", "dent", "ground_truth/dent/0.png"),
        ("test/normal/0.png", "test", "good", "good", None),
    ]
    assert listing.faults == ()


def test_images_outside_the_plain_layout_are_told(tmp_path):
    """A folder of defects beside the good one is not dropped in silence."""
    for path in ("good/0.png", "dents/0.png", "preview.png"):
        draw(tmp_path / "bottle" / path)
    assert read_classes(tmp_path)["bottle"].faults == (
        "bottle/preview.png: image without a label; move it into a subfolder named good or after the defect",
        "bottle/dents: images outside the layout; defects belong into test/<defect>",
    )


def test_names_sort_by_their_bytes(tmp_path):
    """The order is that of the bytes, the same on every machine."""
    for name in ("10", "9", "B", "a", "é"):
        draw(tmp_path / f"bottle/{name}.png")
    assert [item.path for item in read_classes(tmp_path)["bottle"].items] == [
        "10.png", "9.png", "B.png", "a.png", "é.png",
    ]  # fmt: skip


def test_capital_suffixes_are_images(tmp_path):
    """Cameras write .JPG."""
    draw(tmp_path / "bottle/train/good/0.JPG")
    assert [item.path for item in read_classes(tmp_path)["bottle"].items] == ["train/good/0.JPG"]


def test_clutter_is_ignored_and_strangers_are_told(make_dataset):
    """Hidden files, thumbnails and texts are passed over; anything else among images is a fault."""
    root = make_dataset("mvtec", names=["bottle"])
    good = root / "bottle/train/good"
    for name in (".DS_Store", "Thumbs.db", "SOURCE.txt", "README.md", ".hidden.png"):
        (good / name).touch()
    (root / "bottle/LICENSE.txt").touch()
    (root / "README.md").touch()
    assert read_classes(root)["bottle"].faults == ()
    (good / "notes.pdf").touch()
    (good / "more").mkdir()
    draw(root / "bottle/test/loose.png")
    draw(root / "bottle/ground_truth/loose.png")
    assert read_classes(root)["bottle"].faults == (
        "bottle/train/good/more: folder among images; move its images up or the folder away",
        "bottle/train/good/notes.pdf: not an image by its name; remove it",
        "bottle/test/loose.png: image without a label; move it into a subfolder named good or after the defect",
        "bottle/ground_truth/loose.png: image without a label; move it into a subfolder named good or after the defect",
    )


@pytest.mark.parametrize(
    ("layout", "orphan"),
    [
        ("mvtec", "ground_truth/hole/777_mask.png"),
        ("mvtec", "ground_truth/hole/000_mask.bmp"),
        ("mvtec", "ground_truth/dent/000_mask.png"),
        ("btad", "ground_truth/ko/777.bmp"),
        ("bmad", "test/Ungood/label/777.png"),
        ("folder", "ground_truth/hole/777.png"),
    ],
)
def test_a_mask_without_image_is_told(make_dataset, layout, orphan):
    """A mask that belongs to no image is a fault; masks of good images are of no interest."""
    root = make_dataset(layout, names=["bottle"])
    draw(root / "bottle" / orphan)
    draw(root / "bottle/ground_truth/good/000.png")
    assert read_classes(root)["bottle"].faults == (
        f"bottle/{orphan}: mask without image; add the image or remove the mask",
    )


def test_a_name_that_is_not_utf8_is_told(tmp_path):
    """Manifests are UTF-8, so such a name cannot be kept."""
    draw(tmp_path / "bottle/train/good/0.png")
    shutil.copy(tmp_path / "bottle/train/good/0.png", bytes(tmp_path / "bottle/train/good/") + b"/\xff.png")
    listing = read_classes(tmp_path)["bottle"]
    assert len(listing.items) == 1
    assert listing.faults == (r"bottle/train/good/\udcff.png: file name is not UTF-8; rename it",)


def test_folders_without_images_are_no_classes(make_dataset):
    """Notes and empty folders beside the classes are passed over."""
    root = make_dataset("mvtec")
    (root / "docs/deep").mkdir(parents=True)
    (root / "docs/notes.txt").touch()
    draw(root / ".cache/train/good/0.png")
    draw(root / "preview.png")
    assert list(read_classes(root)) == ["bottle", "cable"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_class_folder_given_as_root_is_recognised(make_dataset, layout):
    """Pointing at one class says to pass its parent, in every layout."""
    root = make_dataset(layout, names=["bottle"])
    with pytest.raises(DataError, match="looks like one class; pass its parent"):
        read_classes(root / "bottle")


def test_bare_images_given_as_root_are_recognised(tmp_path):
    """A folder of images is a class, too."""
    draw(tmp_path / "bottle/0.png")
    with pytest.raises(DataError, match=f"looks like one class; pass its parent {tmp_path}"):
        read_classes(tmp_path / "bottle")


def test_a_root_without_classes_is_refused(tmp_path):
    """Nothing to read, or no folder at all, is an error with what was expected."""
    with pytest.raises(DataError, match="no class in"):
        read_classes(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        read_classes(tmp_path / "missing")
    with pytest.raises(DataError, match=r"1cls\.csv cannot be read"):
        read_classes(tmp_path, "visa")


def test_mixed_layouts_are_told_apart(make_dataset):
    """Classes of two layouts in one root are named by layout; asking for one of them is enough."""
    root = make_dataset("mvtec")
    draw(root / "tile/0.png")
    with pytest.raises(DataError) as error:
        detect_format(root)
    assert error.value.faults == ("folder: tile", "mvtec: bottle, cable")
    assert detect_format(root, ["bottle"]) == "mvtec"
    assert list(read_classes(root, names=["tile"])) == ["tile"]


def test_an_unknown_format_names_the_known_ones(make_dataset):
    """The message lists the choices."""
    with pytest.raises(
        DataError, match="unknown format 'coco'; expected auto, mvtec, visa, btad, bmad, folder"
    ):
        read_classes(make_dataset("mvtec"), "coco")


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("train/good/0.png", "mvtec"),
        ("train/ok/0.bmp", "btad"),
        ("test/ko/0.bmp", "btad"),
        ("train/good/img/0.png", "bmad"),
        ("test/good/img/0.png", "bmad"),
        ("test/Ungood/0.png", "bmad"),
        ("test/ungood/img/0.png", "bmad"),
        ("good/0.png", "folder"),
        ("0.png", "folder"),
    ],
)
def test_one_folder_is_enough_to_tell_the_layout(tmp_path, path, format):
    """Incomplete classes are recognised by the folders they have."""
    draw(tmp_path / "bottle" / path)
    assert detect_format(tmp_path) == format


def test_links_inside_the_class_are_followed_and_others_refused(make_dataset):
    """A link may point within its class; one that leaves it is a fault."""
    root = make_dataset("mvtec")
    (root / "bottle/train/good/link.png").symlink_to("000.png")
    listing = read_classes(root)["bottle"]
    assert (sum(item.split == "train" for item in listing.items), listing.faults) == (7, ())
    (root / "bottle/train/good/away.png").symlink_to(root / "cable/train/good/000.png")
    assert read_classes(root)["bottle"].faults == (
        "bottle/train/good/away.png: link leaves its folder; copy the files in its place",
    )


def test_visa_rows_behind_a_leaving_link_are_told_with_the_link(make_dataset, tmp_path):
    """The table cannot smuggle files in either."""
    root = make_dataset("visa", names=["candle"])
    anomalies = root / "candle/Data/Images/Anomaly"
    anomalies.rename(tmp_path / "elsewhere")
    anomalies.symlink_to(tmp_path / "elsewhere")
    listing = read_classes(root)["candle"]
    assert listing.faults == (
        "candle/Data/Images/Anomaly: link leaves its folder; copy the files in its place",
    )
    assert len(listing.items) == 8


def visa(tmp_path, *lines):
    """A VisA table with these rows."""
    table = tmp_path / "split_csv/1cls.csv"
    table.parent.mkdir(parents=True)
    table.write_text("\ufeffobject,split,label,image,mask\n" + "".join(f"{line}\n" for line in lines))
    return tmp_path


def test_bad_rows_of_visas_table_are_told(tmp_path):
    """Each row that cannot be used is a fault of its class; the others are taken."""
    root = visa(
        tmp_path,
        "candle,train,normal,candle/0.JPG,",
        "candle,train,normal,candle/0.JPG,",
        "candle,valid,normal,candle/1.JPG,",
        "candle,test,odd,candle/2.JPG,",
        "candle,test,normal,other/3.JPG,",
        "candle,test,normal,candle/../4.JPG,",
        "candle,test,anomaly,candle/5.JPG,/etc/5.png",
        "candle,test,anomaly,candle/6.JPG,candle/6.png",
        "candle,test,anomaly,candle/7.JPG,other/7.png",
        "candle",
    )
    listing = read_classes(root)["candle"]
    assert rows(listing) == [
        ("0.JPG", "train", "good", "good", None),
        ("6.JPG", "test", "anomalous", "anomaly", "6.png"),
    ]
    assert [fault.partition(";")[0] for fault in listing.faults] == [
        "candle/0.JPG: listed more than once in split_csv/1cls.csv",
        "candle/1.JPG: split 'valid' in split_csv/1cls.csv",
        "candle/2.JPG: label 'odd' in split_csv/1cls.csv",
        "candle/other/3.JPG: image 'other/3.JPG' or mask '' in split_csv/1cls.csv is not in the class folder",
        "candle/../4.JPG: image 'candle/../4.JPG' or mask '' in split_csv/1cls.csv is not in the class folder",
        "candle/5.JPG: image 'candle/5.JPG' or mask '/etc/5.png' in split_csv/1cls.csv is not in the class folder",
        "candle/7.JPG: image 'candle/7.JPG' or mask 'other/7.png' in split_csv/1cls.csv is not in the class folder",
        "candle: split '' in split_csv/1cls.csv",
    ]


@pytest.mark.parametrize("name", ["..", "/", "", "a/b"])
def test_visas_objects_have_plain_names(tmp_path, name):
    """An object names a folder below the root and nothing else."""
    root = visa(tmp_path, f"{name},train,normal,{name}/0.JPG,", "candle,train,normal,candle/0.JPG,")
    with pytest.raises(DataError, match="cannot be told apart by these names") as error:
        read_classes(root)
    assert error.value.faults[0].startswith(f"{name!r}: ")
    assert list(read_classes(root, names=["candle"])) == ["candle"]


def test_a_folder_that_cannot_be_listed_is_told(make_dataset, monkeypatch):
    """Missing permissions are the user's to give."""
    root = make_dataset("mvtec")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(DataError, match="cannot be listed; give read permission"):
        read_classes(root)


def test_a_visa_table_without_its_columns_is_refused(tmp_path):
    """The missing columns are named, also in an empty table."""
    table = tmp_path / "split_csv/1cls.csv"
    table.parent.mkdir()
    for text in ("object,split,image\n", "object,split,image\na,train,b\n"):
        table.write_text(text)
        with pytest.raises(DataError, match="no column label, mask"):
            read_classes(tmp_path)


def test_the_real_classes_are_read(shared_data):
    """Seven classes in MVTec's layout, one of them with a defect kind without masks."""
    assert detect_format(shared_data) == "mvtec"
    classes = read_classes(shared_data)
    counts = {
        name: (
            sum(item.split == "train" for item in listing.items),
            sum(item.split == "test" and item.label == "good" for item in listing.items),
            sum(item.label == "anomalous" for item in listing.items),
            sum(item.mask is not None for item in listing.items),
        )
        for name, listing in classes.items()
    }
    assert counts == {
        "ball_screw": (100, 60, 80, 80),
        "bottle": (100, 20, 63, 63),
        "cookie": (31, 14, 40, 32),
        "extrusion": (100, 60, 80, 0),
        "pan": (29, 20, 49, 0),
        "solar_mono": (100, 60, 80, 0),
        "solar_poly": (100, 60, 80, 0),
    }
    assert not any(listing.faults for listing in classes.values())
