"""The demo's data folder: its layout, its sources, and that it appears whole or not at all."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evernorm.data.synthetic import DEFECTS
from evernorm.errors import DataError
from tasks import demo_data
from tasks.demo_data import DEFECTIVE, DEMO_STREAM, TEST_GOOD, TRAIN, make_demo_data

SOLAR = ("solar_mono", "solar_poly")
DRAWN = ("textile", "machined_part")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The whole demo data, made once."""
    pytest.importorskip("elpv_dataset", reason="the demo's photographs need `pip install evernorm[demo]`")
    folder = tmp_path_factory.mktemp("demo") / "data"
    make_demo_data(folder)
    return folder


@pytest.fixture
def small(monkeypatch):
    """Few images a class."""
    pytest.importorskip("elpv_dataset", reason="the demo's photographs need `pip install evernorm[demo]`")
    for name, count in (("TRAIN", 2), ("TEST_GOOD", 1), ("DEFECTIVE", 5)):
        monkeypatch.setattr(demo_data, name, count)


def contents(folder):
    """Every file below `folder` with the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def read(path):
    """The pixels of an image."""
    with Image.open(path) as image:
        return np.asarray(image)


def pixels(folder):
    """Hashes of the images below `folder`, decoded."""
    return [hashlib.sha256(read(path).tobytes()).hexdigest() for path in folder.rglob("*.png")]


def test_root_holds_the_stream_and_its_stamp(root):
    """The folder holds the four classes and, outside them, which demo data this is."""
    assert sorted(path.name for path in root.iterdir()) == sorted((*DEMO_STREAM, "demo.json"))
    assert json.loads((root / "demo.json").read_text()) == {"demo": 1, "seed": 0}
    assert list(root.parent.iterdir()) == [root]


@pytest.mark.parametrize("name", DEMO_STREAM)
def test_class_has_the_promised_layout(root, name):
    """Each class has train/good, test/good and the defects' folders, of the promised sizes."""
    defects = DEFECTS.get(name, ("defective",))
    sizes = {str(f.relative_to(root / name)): len(list(f.glob("*.png"))) for f in (root / name).glob("*/*")}
    expected = {"train/good": TRAIN, "test/good": TEST_GOOD}
    expected |= {f"test/{defect}": DEFECTIVE // len(defects) for defect in defects}
    if name in DRAWN:
        expected |= {f"ground_truth/{defect}": DEFECTIVE // len(defects) for defect in defects}
    assert sizes == expected


@pytest.mark.parametrize("name", DRAWN)
def test_every_drawn_defect_has_its_mask(root, name):
    """Each defective image has a mask of its size beside it, black and white, with some white."""
    for defect in DEFECTS[name]:
        for image in (root / name / "test" / defect).iterdir():
            mask = read(root / name / "ground_truth" / defect / f"{image.stem}_mask.png")
            assert mask.shape == read(image).shape[:2]
            assert set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize("name", DEMO_STREAM)
def test_no_image_is_there_twice(root, name):
    """Train and test, good and defective share no image."""
    images = pixels(root / name / "train") + pixels(root / name / "test")
    assert len(set(images)) == len(images) == TRAIN + TEST_GOOD + DEFECTIVE


@pytest.mark.parametrize("name", SOLAR)
def test_photographs_are_those_the_labels_promise(root, name):
    """Solar cells are unchanged copies, of the class's type, good with probability 0 and defective with 1."""
    import elpv_dataset

    source = Path(elpv_dataset.__file__).parent / "data"
    rows = [row.split() for row in (source / "labels.csv").read_text().splitlines()]
    labels = {Path(path).name: label for path, *label in rows}
    for image in (root / name).rglob("*.png"):
        chance = "0.0" if image.parent.name == "good" else "1.0"
        assert labels[image.name] == [chance, name.removeprefix("solar_")]
        assert image.read_bytes() == (source / "images" / image.name).read_bytes()


@pytest.mark.parametrize("name", DEMO_STREAM)
def test_class_names_its_source_and_licence(root, name):
    """Each class says where its images come from and under which licence."""
    licence = "CC BY-NC-SA 4.0" if name in SOLAR else "Apache-2.0"
    assert f"licence: {licence}\n" in (root / name / "SOURCE.txt").read_text()


def test_second_call_does_nothing(root, monkeypatch):
    """Where the data is already, nothing is read, drawn or written."""
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    monkeypatch.setattr(demo_data, "_draw_class", None)
    monkeypatch.setattr(demo_data, "_copy_solar", None)
    make_demo_data(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == times


def test_seed_fixes_every_byte(small, tmp_path):
    """The same seed gives the same files, another seed other drawings and the same photographs."""
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        make_demo_data(tmp_path / name, seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    for name in SOLAR:
        assert contents(tmp_path / "a" / name) == contents(tmp_path / "c" / name)
    for name in DRAWN:
        first, other = (pixels(tmp_path / folder / name / "test") for folder in "ac")
        assert set(first).isdisjoint(other)


def test_empty_folder_is_filled(small, tmp_path):
    """A root that exists but is empty is as good as none."""
    make_demo_data(tmp_path / "new" / "data")
    (tmp_path / "empty").mkdir()
    make_demo_data(tmp_path / "empty")
    assert contents(tmp_path / "empty") == contents(tmp_path / "new" / "data")


def test_interrupted_call_leaves_nothing(small, tmp_path, monkeypatch):
    """If drawing fails, neither a root nor a half-filled folder beside it stays."""

    def fail(*_):
        raise DataError("out of ink")

    monkeypatch.setattr(demo_data.synthetic, "draw", fail)
    with pytest.raises(DataError, match="out of ink"):
        make_demo_data(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named(tmp_path, monkeypatch):
    """Without elpv-dataset the error says what to install, and nothing is left behind."""

    def missing(_):
        raise ModuleNotFoundError

    monkeypatch.setattr(demo_data, "files", missing)
    with pytest.raises(DataError, match=r"pip install evernorm\[demo\]"):
        make_demo_data(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"mine.txt": "precious"}, "is no demo data"),
        ({"demo.json": '{"demo": 1, "seed": 9}'}, "'seed': 9.*expected.*'seed': 0"),
        (
            {"demo.json": '{"demo": 1, "seed": 0}', "textile/x": ""},
            "lacks solar_mono, solar_poly, machined_part",
        ),
    ],
    ids=["foreign", "other seed", "incomplete"],
)
def test_other_folder_is_refused_untouched(tmp_path, found, message):
    """A root that holds anything else is named in the error and stays as it is."""
    for name, text in found.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(DataError, match=message):
        make_demo_data(tmp_path)
    assert contents(tmp_path) == before
