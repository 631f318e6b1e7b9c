"""Manifests: canonical, deterministic, and checked whole when they are loaded."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evernorm.data.manifest import Manifest, Record
from evernorm.errors import StateError

HASH = "0123456789abcdef" * 4


def record(path="train/good/0.png", **fields):
    """A good training record, or what the fields make of it."""
    base = {
        "split": "train",
        "label": "good",
        "defect": "good",
        "sha256": HASH,
        "size": 9,
        "width": 64,
        "height": 48,
    }
    return Record(**{"path": path, **base, **fields})


def manifest(*records):
    return Manifest(name="bottle", format="mvtec", records=records)


DEFECT = record("test/hole/0.png", split="test", label="anomalous", defect="hole", mask="ground_truth/hole/0_mask.png", mask_sha256=HASH)  # fmt: skip
HASHES = st.text("0123456789abcdef", min_size=64, max_size=64)
PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9).filter(
    lambda part: part not in {".", ".."}
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@st.composite
def records(draw):
    """Records of any content that agrees with itself."""
    label = draw(st.sampled_from(["good", "anomalous"]))
    mask = draw(st.none() | PATHS)
    return Record(
        path=draw(PATHS),
        split=draw(st.sampled_from(["train", "test"])),
        label=label,
        defect="good" if label == "good" else draw(PARTS.filter(lambda kind: kind != "good")),
        mask=mask,
        sha256=draw(HASHES),
        mask_sha256=None if mask is None else draw(HASHES),
        size=draw(st.integers(1, 10**12)),
        width=draw(st.integers(1, 10**5)),
        height=draw(st.integers(1, 10**5)),
    )


MANIFESTS = st.builds(
    Manifest,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,20}", fullmatch=True),
    format=st.sampled_from(["mvtec", "visa", "btad", "bmad", "folder"]),
    description=st.sampled_from(["", "A bottle, seen from above."]),
    records=st.lists(records(), max_size=6, unique_by=lambda record: record.path).map(tuple),
)


@settings(max_examples=40)
@given(MANIFESTS)
def test_a_saved_manifest_loads_as_it_was(original):
    """Saving and loading keeps every field and the file's bytes."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first.json"), Path(folder, "second.json")
        original.save(first)
        loaded = Manifest.load(first)
        loaded.save(second)
        assert loaded == original
        assert first.read_bytes() == second.read_bytes()


@given(MANIFESTS, st.randoms())
def test_the_order_given_does_not_matter(original, random):
    """Records are sorted by the bytes of their path, so any order gives the same manifest."""
    shuffled = random.sample(original.records, len(original.records))
    again = Manifest(
        name=original.name,
        format=original.format,
        description=original.description,
        records=tuple(shuffled),
    )
    assert again == original
    assert [item.path.encode() for item in again.records] == sorted(
        item.path.encode() for item in again.records
    )


def test_a_manifest_without_a_description_says_nothing_of_one(tmp_path):
    """Its bytes are those from before there were any; what learning depends on has the description."""
    plain = manifest(record())
    plain.save(tmp_path / "plain.json")
    assert "description" not in (tmp_path / "plain.json").read_text()
    assert "" == Manifest.load(tmp_path / "plain.json").description
    told = Manifest(name="bottle", format="mvtec", description=" A\tbottle. ", records=(record(), DEFECT))
    assert ("A bottle.", "A bottle.") == (told.description, told.training().description)
    assert plain != told


def test_train_and_test_are_told_apart():
    """The two splits partition the records."""
    both = manifest(DEFECT, record())
    assert both.train == (record(),)
    assert both.test == (DEFECT,)


def test_a_manifest_cannot_be_changed():
    """Models are frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        manifest(record()).name = "cable"
    with pytest.raises(ValidationError, match="frozen"):
        record().split = "test"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"label": "anomalous"}, "contradict"),
        ({"defect": "hole"}, "contradict"),
        ({"mask": "m.png"}, "given together"),
        ({"mask_sha256": HASH}, "given together"),
        ({"sha256": HASH.upper()}, "pattern"),
        ({"split": "valid"}, "train"),
        ({"width": 0}, "greater than 0"),
        ({"colour": "red"}, "Extra"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(fields, fault):
    """Label, defect and mask agree, hashes are lower-case hex, and unknown fields are errors."""
    with pytest.raises(ValidationError, match=fault):
        record(**fields)


def stored(tmp_path, change):
    """A saved manifest with its JSON changed."""
    path = tmp_path / "manifest.json"
    manifest(DEFECT, record()).save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("leaving", ["/etc/passwd", "../secret.png", "train/../../secret.png", "..", ""])
@pytest.mark.parametrize("key", ["path", "mask"])
def test_a_path_that_leaves_its_folder_is_refused_on_load(tmp_path, key, leaving):
    """Absolute and climbing paths are refused for images and masks, with the place named."""
    path = stored(tmp_path, lambda content: content["records"][0].update({key: leaving}))
    with pytest.raises(StateError) as error:
        Manifest.load(path)
    assert error.value.faults == (
        f"records.0.{key}: path {leaving!r} leaves its folder; paths are relative to the class folder, without '..'",
    )


@pytest.mark.parametrize("version", [None, 0, 2, "1"])
def test_another_schema_version_is_refused(tmp_path, version):
    """The message names the version found and the one expected."""
    path = stored(tmp_path, lambda content: content.update(schema_version=version))
    with pytest.raises(StateError, match=f"schema version {version!r}, expected 1"):
        Manifest.load(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", '"manifest"'])
def test_json_that_is_no_manifest_is_refused(tmp_path, text):
    """Any other JSON is a StateError, not a crash."""
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(StateError, match="schema version None"):
        Manifest.load(path)


def test_all_faults_of_a_bad_manifest_are_told_at_once(tmp_path):
    """Two bad records and a bad name are three faults."""

    def spoil(content):
        content["name"] = "../bottle"
        content["records"][0]["size"] = -1
        del content["records"][1]["sha256"]

    with pytest.raises(StateError) as error:
        Manifest.load(stored(tmp_path, spoil))
    assert [fault.split(":")[0] for fault in error.value.faults] == [
        "name",
        "records.0.size",
        "records.1.sha256",
    ]


def test_a_path_listed_twice_is_refused(tmp_path):
    """Every image is in a manifest once."""
    path = stored(tmp_path, lambda content: content["records"].append(content["records"][0]))
    with pytest.raises(StateError, match=r"listed more than once: test/hole/0\.png"):
        Manifest.load(path)


def test_a_missing_manifest_says_what_to_run(tmp_path):
    """No file is a StateError."""
    with pytest.raises(StateError, match="missing"):
        Manifest.load(tmp_path / "manifest.json")
