"""Products have names that no folder of a bank could have: a plain key, and the name that people read."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.data.manifest import Manifest
from evernorm.data.naming import key_of, keyed, name_fault
from evernorm.data.readers import read_classes
from evernorm.data.validate import validate
from evernorm.errors import DataError
from evernorm.files import is_plain_name

LAYOUTS = ("mvtec", "visa", "btad", "bmad", "folder")
BLISTER = "Blister Ø5 mm"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("solar_mono", "solar_mono"),
        ("A-1", "A-1"),
        (BLISTER, "Blister-5-mm"),
        ("Gehäuse 3.4″", "Gehause-3-4"),
        ("v1.2", "v1-2"),
        ("__cache", "cache"),
        ("-a-", "a"),
        ("Teil (links) & [rechts]", "Teil-links-rechts"),
        ("start", "start-1"),
        ("mean", "mean-1"),
        ("méan", "mean-1"),
        ("x" * 70, "x" * 64),
        ("电池", "class-8a2fd55b"),
    ],
)
def test_a_name_gives_a_plain_key(name, key):
    """Plain names are their own; words that are taken get a number, and no ASCII at all a hash."""
    assert key_of(name) == key
    assert is_plain_name(key)


def test_both_ways_to_write_an_accent_give_the_same_key():
    """File systems differ in that."""
    assert key_of("Gehäuse") == key_of("Geha\u0308use")
    assert key_of("Ё") == key_of("Е\u0308")


@given(st.text(min_size=1, max_size=80))
def test_every_name_that_is_allowed_gives_a_plain_key_for_good(name):
    """And the key of a key is itself."""
    if name_fault(name):
        with pytest.raises(DataError):
            key_of(name)
    else:
        assert is_plain_name(key_of(name))
        assert key_of(key_of(name)) == key_of(name)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\u202eb", "a\u200bb", "a\0", "\udcff", " a", "a ", "", ".a", "..", "../a", "ä" * 200]
)
def test_names_that_cannot_be_seen_or_written_are_refused(name):
    """Control characters, what turns the writing around, hidden folders, other folders."""
    with pytest.raises(DataError, match="rename it"):
        keyed([name])
    assert keyed([name, "bottle"], ["bottle"]) == {"bottle": "bottle"}


def test_names_that_give_the_same_key_are_refused_with_all_of_them():
    """Unless other classes are asked for."""
    names = ["Blister 5 mm", BLISTER, "start", "start-1", "cable"]
    with pytest.raises(DataError) as error:
        keyed(names)
    assert error.value.faults == (
        f"'Blister 5 mm' and {BLISTER!r} give the same key, Blister-5-mm; rename all but one",
        "'start' and 'start-1' give the same key, start-1; rename all but one",
    )
    assert keyed(names, ["cable"]) == {"cable": "cable"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_may_have_such_names(make_dataset, layout):
    """Listings and manifests have the key, and the folder's name to show."""
    root = make_dataset(layout, names=["cable", BLISTER])
    assert {key: each.display for key, each in read_classes(root).items()} == {
        "Blister-5-mm": BLISTER,
        "cable": "cable",
    }
    manifests = validate(root, ["cable", "Blister-5-mm"])
    assert [(each.name, each.display) for each in manifests.values()] == [
        ("cable", "cable"),
        ("Blister-5-mm", BLISTER),
    ]
    assert len(manifests["Blister-5-mm"].records) == len(manifests["cable"].records) == 11


def test_faults_name_the_folder(make_dataset):
    """So that it is found."""
    root = make_dataset("mvtec", names=[BLISTER])
    shutil.copy(root / BLISTER / "train/good/003.png", root / BLISTER / "test/good/000.png")
    (root / BLISTER / "train/good/000.png").write_bytes(b"")
    with pytest.raises(DataError) as error:
        validate(root, ["Blister-5-mm"])
    assert [fault.partition(";")[0] for fault in error.value.faults] == [
        f"{BLISTER}/test/good/000.png: same content as train/good/003.png",
        f"{BLISTER}/train/good/000.png: empty file (0 bytes)",
    ]
    manifest = validate(root, ["Blister-5-mm"], drop_faulty=True)["Blister-5-mm"]
    assert [each.path for each in manifest.dropped] == ["test/good/000.png", "train/good/000.png"]


def test_a_manifest_without_a_display_name_shows_the_key(tmp_path):
    """As those written before there were any; learning does not depend on the name."""
    manifest = Manifest(name="bottle", format="mvtec", records=())
    assert manifest.display == "bottle"
    named = Manifest(name="bottle", display="Bottle, 1 l", format="mvtec", records=())
    named.save(tmp_path / "m.json")
    assert Manifest.load(tmp_path / "m.json").display == "Bottle, 1 l"
    assert named.training() == manifest
