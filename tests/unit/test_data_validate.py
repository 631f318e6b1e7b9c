"""Validation finds every fault of every class in one go, and nothing in good data."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evernorm.data.image import read_image, read_mask
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.errors import DataError, StateError
from evernorm.files import sha256_file

LAYOUTS = ("mvtec", "visa", "btad", "bmad", "folder")


def faults_of(root, *names, format="auto"):
    """The faults that validation raises."""
    with pytest.raises(DataError) as error:
        validate(root, names, format)
    assert f"{len(error.value.faults)} to mend" in error.value.message
    return list(error.value.faults)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_good_data_gives_the_manifests(make_dataset, layout):
    """Classes come in the order asked for, each with what the layout lists of it."""
    root = make_dataset(layout)
    manifests = validate(root, ["cable", "bottle", "cable"])
    assert list(manifests) == ["cable", "bottle"]
    for name, listing in read_classes(root).items():
        listed = {(item.path, item.split, item.defect, item.mask) for item in listing.items}
        assert listed == {(each.path, each.split, each.defect, each.mask) for each in manifests[name].records}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_manifest_holds_hashes_and_sizes(make_dataset, layout):
    """Sizes, bytes and hashes are those of the files."""
    root = make_dataset(layout, names=["bottle"])
    manifest = validate(root, ["bottle"])["bottle"]
    assert (manifest.name, manifest.format, len(manifest.train), len(manifest.test)) == (
        "bottle",
        layout,
        6,
        5,
    )
    for record in manifest.records:
        file = root / "bottle" / record.path
        assert (record.width, record.height) == (48, 40)
        assert (record.size, record.sha256) == (file.stat().st_size, sha256_file(file))
        if record.mask:
            assert record.mask_sha256 == sha256_file(root / "bottle" / record.mask)


def test_a_manifest_does_not_depend_on_the_place(make_dataset, tmp_path):
    """A copy elsewhere gives the same one."""
    root = make_dataset("mvtec", names=["bottle"])
    shutil.copytree(root, tmp_path / "copy")
    assert validate(tmp_path / "copy", ["bottle"]) == validate(root, ["bottle"])


@pytest.mark.parametrize("lacking", ["test", "test/good", "test/hole", "ground_truth"])
def test_test_images_and_masks_may_be_missing(make_dataset, lacking):
    """No test split, one of its labels, or no masks: all are allowed."""
    root = make_dataset("mvtec", names=["bottle"])
    if lacking.startswith("test"):
        shutil.rmtree(root / "bottle/ground_truth")
    shutil.rmtree(root / "bottle" / lacking)
    assert len(validate(root, ["bottle"])["bottle"].train) == 6


def test_duplicates_in_the_training_split_are_allowed(make_dataset):
    """A line takes the same picture twice; that is no fault."""
    root = make_dataset("mvtec", names=["bottle"])
    shutil.copy(root / "bottle/train/good/000.png", root / "bottle/train/good/copy.png")
    assert len(validate(root, ["bottle"])["bottle"].train) == 7


def save(path, array):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path)


def cut(path):
    path.write_bytes(path.read_bytes()[:500])


def animate(path):
    image = Image.open(path).convert("L")
    image.save(path, save_all=True, append_images=[image.point(lambda value: 255 - value)])


def link(path, target):
    path.symlink_to(target)


def cut_mask(class_folder):
    """A mask large enough to be cut."""
    mask = class_folder / "ground_truth/hole/000_mask.png"
    save(mask, np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8))
    cut(mask)


SPOIL = {
    "truncated": (lambda c: cut(c / "train/good/000.png"), "train/good/000.png: truncated or damaged image"),
    "truncated mask": (
        cut_mask,
        "ground_truth/hole/000_mask.png: truncated or damaged image",
    ),
    "zero-byte": (lambda c: (c / "test/good/000.png").write_bytes(b""), "test/good/000.png: empty file (0 bytes)"),
    "not an image": (lambda c: (c / "train/good/x.png").write_text("x" * 99), "train/good/x.png: not an image"),
    "other file": (lambda c: (c / "train/good/x.raw").write_text("x"), "train/good/x.raw: not an image by its name"),
    "bomb": (lambda c: (c / "train/good/b.ppm").write_bytes(b"P6 20000 20000 255\n"), "train/good/b.ppm: decompression bomb"),
    "too small": (lambda c: save(c / "train/good/s.png", np.ones((40, 31), np.uint8)), "train/good/s.png: 31 x 40 pixels"),
    "animated": (lambda c: animate(c / "train/good/000.png"), "train/good/000.png: animated or multi-page image"),
    "float": (lambda c: save(c / "train/good/f.tif", np.ones((40, 40), np.float32)), "train/good/f.tif: floating-point image"),
    "mask without image": (lambda c: (c / "test/hole/001.png").unlink(), "ground_truth/hole/001_mask.png: mask without image"),
    "mask size": (
        lambda c: save(c / "ground_truth/hole/002_mask.png", np.ones((48, 40), np.uint8)),
        "ground_truth/hole/002_mask.png: mask of 40 x 48 pixels for an image of 48 x 40",
    ),
    "empty mask": (
        lambda c: save(c / "ground_truth/hole/002_mask.png", np.zeros((40, 48), np.uint8)),
        "ground_truth/hole/002_mask.png: empty mask of an anomalous image",
    ),
    "anomalous in train": (
        lambda c: save(c / "train/hole/000.png", np.full((40, 48), 9, np.uint8)),
        "train/hole/000.png: anomalous image (hole) in the training split",
    ),
    "in both splits": (
        lambda c: shutil.copy(c / "train/good/003.png", c / "test/good/again.png"),
        "test/good/again.png: same content as train/good/003.png",
    ),
    "linked file": (
        lambda c: link(c / "train/good/l.png", c.parent / "outside.png"),
        "train/good/l.png: link leaves its folder",
    ),
    "link to another class": (
        lambda c: link(c / "train/good/l.png", c.parent / "cable/train/good/000.png"),
        "train/good/l.png: link leaves its folder",
    ),
    "linked folder": (lambda c: link(c / "test/dent", "/etc"), "test/dent: link leaves its folder"),
    "link loop": (lambda c: link(c / "train/good/l.png", "l.png"), "train/good/l.png: link leaves its folder"),
    "dead link": (lambda c: link(c / "train/good/l.png", "gone.png"), "train/good/l.png: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOIL)
def test_each_fault_is_told_with_its_place_and_cure(make_dataset, case):
    """One spoiled file is one line: class/path: what; what to do."""
    root = make_dataset("mvtec")
    spoil, expected = SPOIL[case]
    spoil(root / "bottle")
    faults = faults_of(root, "bottle", "cable")
    assert len(faults) == 1
    assert faults[0].startswith(f"bottle/{expected}")
    assert "; " in faults[0]


def test_all_faults_of_all_classes_are_told_in_order(make_dataset):
    """Classes in the order asked for; in each the links, the layout, the images by path, then the whole."""
    root = make_dataset("mvtec", names=["bottle", "cable", "tile"], train=5)
    bottle, tile = root / "bottle", root / "tile"
    cut(bottle / "train/good/002.png")
    (bottle / "train/good/notes.pdf").touch()
    (bottle / "train/good/000.png").unlink()
    shutil.copy(bottle / "train/good/001.png", bottle / "test/good/777.png")
    cut(bottle / "train/good/004.png")
    link(bottle / "outside", root)
    shutil.rmtree(tile / "train/good")
    (tile / "train/good").mkdir()
    expected = [
        "tile: no training images in the mvtec layout",
        "carpet: no such class",
        "'../cable': no plain class name",
        "bottle/outside: link leaves its folder",
        "bottle/train/good/notes.pdf: not an image by its name",
        "bottle/test/good/777.png: same content as train/good/001.png",
        "bottle/train/good/002.png: truncated or damaged image (Truncated File Read)",
        "bottle/train/good/004.png: truncated or damaged image (Truncated File Read)",
        "bottle: 4 training images in the mvtec layout",
    ]
    for _ in range(3):
        faults = faults_of(root, "tile", "carpet", "../cable", "bottle", "cable")
        assert [fault.partition(";")[0] for fault in faults] == expected


def test_one_image_may_have_several_faults(make_dataset):
    """An image in the wrong place and cut, or too small and with an empty mask, is told twice."""
    root = make_dataset("mvtec", names=["bottle"])
    save(
        root / "bottle/train/hole/000.png",
        np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8),
    )
    cut(root / "bottle/train/hole/000.png")
    save(root / "bottle/test/hole/000.png", np.ones((9, 9), np.uint8))
    save(root / "bottle/ground_truth/hole/000_mask.png", np.zeros((9, 9), np.uint8))
    assert [fault.partition(";")[0].partition(" (")[0] for fault in faults_of(root, "bottle")] == [
        "bottle/test/hole/000.png: 9 x 9 pixels",
        "bottle/ground_truth/hole/000_mask.png: empty mask of an anomalous image",
        "bottle/train/hole/000.png: anomalous image",
        "bottle/train/hole/000.png: truncated or damaged image",
    ]


def test_faulty_images_are_left_out_on_demand_and_noted(make_dataset):
    """Duplicates, images that cannot be read, wrong masks: the rest is learned; nothing is left out unasked."""
    root = make_dataset("mvtec", names=["bottle", "cable"], train=7)
    bottle = root / "bottle"
    clean = validate(root, ["bottle"])["bottle"]
    shutil.copy(bottle / "train/good/003.png", bottle / "test/good/000.png")
    cut(bottle / "train/good/001.png")
    save(bottle / "ground_truth/hole/002_mask.png", np.ones((48, 40), np.uint8))
    save(bottle / "test/hole/001.png", np.ones((9, 9), np.uint8))
    assert len(faults_of(root, "bottle", "cable")) == 5  # the last one's mask does not fit it, either
    manifests = validate(root, ["bottle", "cable"], drop_faulty=True)
    dropped = {each.path: each.fault for each in manifests["bottle"].dropped}
    assert dropped == {
        "test/good/000.png": "same content as train/good/003.png",
        "test/hole/001.png": "9 x 9 pixels, ground_truth/hole/001_mask.png: mask of 48 x 40 pixels for an image of 9 x 9",
        "test/hole/002.png": "ground_truth/hole/002_mask.png: mask of 40 x 48 pixels for an image of 48 x 40",
        "train/good/001.png": "truncated or damaged image (Truncated File Read)",
    }
    assert manifests["bottle"].records == tuple(each for each in clean.records if each.path not in dropped)
    assert manifests["cable"].dropped == ()
    assert manifests["cable"] == validate(root, ["cable"])["cable"]


def test_a_copy_of_a_training_image_that_is_left_out_is_none(make_dataset):
    """A defective image that lies in both splits stays in the test split."""
    root = make_dataset("mvtec", names=["bottle"])
    (root / "bottle/train/hole").mkdir()
    shutil.copy(root / "bottle/test/hole/000.png", root / "bottle/train/hole/000.png")
    assert len(faults_of(root, "bottle")) == 2
    manifest = validate(root, ["bottle"], drop_faulty=True)["bottle"]
    assert [each.path for each in manifest.dropped] == ["train/hole/000.png"]
    assert "test/hole/000.png" in [record.path for record in manifest.test]


def test_a_disk_that_fails_is_no_fault_of_an_image(make_dataset, monkeypatch):
    """Nothing is left out for that, whatever was asked."""
    root = make_dataset("mvtec", names=["bottle"])
    opened = Path.open

    def fail(path, *arguments, **options):
        if path.name == "003.png":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(
        StateError, match=r"003\.png: cannot be read now \(Input/output error\); check the disk"
    ):
        validate(root, ["bottle"], drop_faulty=True)


@pytest.mark.parametrize("spoil", ["stranger", "link", "all"])
def test_faults_of_a_whole_class_are_refused_all_the_same(make_dataset, spoil):
    """A bad layout, and too few training images left, whatever was asked."""
    root = make_dataset("mvtec", names=["bottle"])
    good = root / "bottle/train/good"
    for path in sorted(good.iterdir())[: 6 if spoil == "all" else 1]:
        cut(path)
    if spoil == "stranger":
        (good / "notes.pdf").touch()
    if spoil == "link":
        link(good / "l.png", root.parent)
    with pytest.raises(DataError) as error:
        validate(root, ["bottle"], drop_faulty=True)
    (fault,) = error.value.faults
    assert {
        "stranger": "notes.pdf: not an image",
        "link": "l.png: link leaves its folder",
        "all": "bottle: no training images without the 6 that are at fault; add normal ones",
    }[spoil] in fault


def test_four_training_images_are_too_few_and_five_enough(make_dataset):
    """Calibration needs five."""
    root = make_dataset("mvtec", names=["bottle"], train=5)
    validate(root, ["bottle"])
    (root / "bottle/train/good/000.png").unlink()
    assert faults_of(root, "bottle") == [
        "bottle: 4 training images in the mvtec layout; add normal ones, 5 at least",
    ]


def test_images_of_32_pixels_a_side_are_large_enough(make_dataset):
    """The limit itself is allowed, one pixel less is not."""
    validate(make_dataset("mvtec", names=["bottle"], size=(32, 32)), ["bottle"])
    assert len(faults_of(make_dataset("folder", names=["bottle"], size=(40, 31)), "bottle")) == 11


def test_names_that_differ_only_by_case_are_told(make_dataset):
    """Some file systems take them for one; a class beside those asked for counts as well."""
    root = make_dataset("mvtec", names=["bottle", "Bottle", "cable"])
    assert faults_of(root, "bottle", "cable") == [
        "bottle: differs from 'Bottle' only by case; rename one of them",
    ]
    assert len(faults_of(root, "bottle", "Bottle")) == 2


@pytest.mark.parametrize("name", ["a.b", "a b", "..", "", "a/b", "x" * 65, "start", "mean"])
def test_names_that_are_not_plain_are_told(make_dataset, name):
    """A class name becomes a folder name; anything but a plain one is refused unread."""
    assert faults_of(make_dataset("mvtec"), name) == [
        f"{name!r}: no plain class name; use letters, digits, '_' and '-', at most 64, but not 'start' or 'mean'"
    ]


def test_a_class_that_is_a_link_out_of_the_root_is_not_read(make_dataset, tmp_path):
    """The whole class is refused; inside the root a link to a class is a class."""
    root = make_dataset("mvtec", names=["bottle"])
    link(root / "inner", root / "bottle")
    assert validate(root, ["inner"])["inner"].name == "inner"
    other = make_dataset("folder", names=["far"])
    link(root / "outer", other / "far")
    faults = faults_of(root, "outer", format="folder")
    assert faults == [
        "outer: link leaves its folder; copy the files in its place",
        "outer: no training images in the folder layout; add normal ones, 5 at least",
    ]


def test_a_linked_folder_is_reported_once_and_never_opened(make_dataset, monkeypatch):
    """Files behind a leaving link are not decoded, however many there are."""
    root = make_dataset("mvtec")
    shutil.rmtree(root / "bottle/test/good")
    link(root / "bottle/test/good", root / "cable/test/good")
    opened = []

    def spy(path, _bit_depth):
        opened.append(Path(path))
        return np.zeros((40, 48, 3), dtype=np.uint8)

    monkeypatch.setattr("evernorm.data.validate.read_image", spy)
    assert len(faults_of(root, "bottle")) == 1
    assert len(opened) == 9
    assert not any("test/good" in str(path) for path in opened)


def test_missing_files_of_visas_table_are_told(make_dataset):
    """A row whose image or mask is not there is a fault."""
    root = make_dataset("visa", names=["candle"])
    (root / "candle/Data/Images/Normal/000.JPG").unlink()
    (root / "candle/Data/Masks/Anomaly/001.png").unlink()
    faults = faults_of(root, "candle")
    assert [fault.partition(";")[0] for fault in faults] == [
        "candle/Data/Masks/Anomaly/001.png: no such file",
        "candle/Data/Images/Normal/000.JPG: no such file",
    ]


def test_every_file_is_decoded_and_hashed_once(make_dataset, monkeypatch):
    """Eleven images and three masks are fourteen decodings and fourteen hashes."""
    root = make_dataset("mvtec", names=["bottle"])
    calls = []

    def count(target, original):
        def counted(path, *arguments):
            calls.append((target, path))
            return original(path, *arguments)

        monkeypatch.setattr(f"evernorm.data.{target}", counted)

    count("validate.read_image", read_image)
    count("validate.read_mask", read_mask)
    count("readers.sha256_file", sha256_file)
    validate(root, ["bottle"])
    assert len(calls) == len(set(calls)) == 28


def test_progress_is_told_after_each_image(make_dataset):
    """The callback counts every image of all classes up to the total."""
    seen = []
    validate(
        make_dataset("mvtec"), ["bottle", "cable"], progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 22) for done in range(1, 23)]


def test_a_relative_root_names_faults_alike(make_dataset, monkeypatch):
    """Fault lines start with the class, wherever the root is seen from."""
    root = make_dataset("mvtec")
    cut(root / "bottle/train/good/000.png")
    expected = faults_of(root, "bottle")
    monkeypatch.chdir(root)
    assert faults_of(Path(), "bottle") == expected
    monkeypatch.chdir(root.parent)
    assert faults_of(Path("mvtec"), "bottle") == expected


def test_the_real_classes_are_fit_to_be_learned(shared_data):
    """Seven public classes have no fault."""
    manifests = validate(shared_data, read_classes(shared_data))
    assert len(manifests) == 7
    assert sum(len(manifest.records) for manifest in manifests.values()) == 1326
