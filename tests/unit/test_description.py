"""What a class is, in words: from a file or a delivery into its manifest, and to whoever learns it."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.data.description import LONGEST, decode, tidy
from evernorm.data.experience import Experience
from evernorm.data.validate import validate
from evernorm.errors import DataError
from evernorm.files import sha256_file, write_json
from tasks.audit.images import check_images
from tasks.audit.objects import Held
from tasks.audit.report import Notes
from tasks.inbox.arrivals import check_delivery, fetch_delivery, look_into
from tasks.inbox.delivery import pack
from tasks.inbox.inbox import DeliveryManifest
from tasks.workspace.data import bring_in, replaced_by
from tasks.workspace.workspace import Workspace

SAID = "A woven cloth, seen from above. Threads cross at right angles."


@given(st.lists(st.text("añ部.", min_size=1, max_size=5), max_size=9), st.sampled_from([" ", "\n", "\t \r\n", "\xa0"]))  # fmt: skip
def test_a_description_has_single_spaces_whatever_was_typed(words, between):
    """Also where it was saved with a mark at its beginning; tidied once more it stays as it is."""
    text = tidy(between + between.join(words) + between)
    assert " ".join(words) == text == tidy(text)
    assert text == decode(between.join(words).encode("utf-8-sig"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Stoff".encode("utf-16"), "not UTF-8; save it as UTF-8"),
        (b"a bell \x07 and \x1b[31m", r"holds '\x07', '\x1b', which cannot be seen; remove it"),
        ("zero\u200bwidth".encode(), r"holds '\u200b', which cannot be seen; remove it"),
        (b"x" * (LONGEST + 1), "1,001 characters; shorten it to 1,000 at most"),
    ],
)
def test_what_cannot_be_a_description_says_why_and_what_to_do(content, said):
    """In a form that can be printed."""
    with pytest.raises(ValueError) as error:  # noqa: PT011
        decode(content)
    assert said == str(error.value)


def test_a_description_may_be_as_long_as_it_may_be():
    """Spaces that are left out do not count."""
    assert "é" * LONGEST == tidy(f"  {'é' * LONGEST}\n\n")


@pytest.mark.parametrize("layout", ["mvtec", "visa", "btad", "bmad", "folder"])
def test_a_file_beside_the_images_describes_the_class(make_dataset, layout):
    """In every layout, and for that class alone; nothing else is changed by it, and an empty one says nothing."""
    root = make_dataset(layout)
    before = validate(root, ["bottle", "cable"])
    (root / "bottle/class.txt").write_text(f"{SAID}\n")
    (root / "cable/class.txt").write_text(" \n")
    after = validate(root, ["bottle", "cable"])
    assert before["bottle"].model_copy(update={"description": SAID}) == after["bottle"]
    assert before["cable"] == after["cable"]
    assert SAID == Experience.of(after["bottle"].training(), root / "bottle").description
    assert "" == Experience.of(after["cable"], root / "cable").description


def test_a_description_at_fault_is_told_with_the_other_faults(make_dataset, tmp_path):
    """It is left out no more than a class is; one behind a link out of the folder is told once and not read."""
    root = make_dataset("mvtec")
    (root / "bottle/class.txt").write_bytes(b"\xff")
    (root / "bottle/train/good/000.png").write_bytes(b"")
    (tmp_path / "secret").write_bytes(b"\xff")
    (root / "cable/class.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError) as error:
        validate(root, ["bottle", "cable"])
    assert [
        "bottle/class.txt: not UTF-8; save it as UTF-8",
        "bottle/train/good/000.png: empty file (0 bytes); copy it again from its source or remove it",
        "cable/class.txt: link leaves its folder; copy the files in its place",
    ] == list(error.value.faults)
    (root / "cable/class.txt").unlink()
    with pytest.raises(DataError) as error:
        validate(root, ["bottle", "cable"], drop_faulty=True)
    assert ["bottle/class.txt: not UTF-8; save it as UTF-8"] == list(error.value.faults)


def test_a_delivery_without_a_description_says_nothing_of_one():
    """Its bytes are those from before there were any; one at fault is told by its place."""
    content = {"name": "cloth", "files": [{"path": "a.png", "sha256": "0" * 64, "size": 1}]}
    plain = DeliveryManifest.model_validate(content)
    assert b"description" not in plain.to_bytes()
    told = DeliveryManifest.parse(json.dumps({**content, "description": f"{SAID}\n"}).encode())
    assert SAID == DeliveryManifest.parse(told.to_bytes()).description
    with pytest.raises(DataError) as error:
        DeliveryManifest.parse(json.dumps({**content, "description": "x" * 1001}).encode())
    assert ("description: 1,001 characters; shorten it to 1,000 at most",) == error.value.faults


@pytest.fixture
def workspace(tmp_path):
    """An empty workspace, in which only images are versioned, that looks into an empty inbox."""
    made = Workspace.open_or_create(tmp_path / "w")
    (made.root / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "inbox").mkdir()
    made.configure([f"watch.inbox={json.dumps(str(tmp_path / 'inbox'))}"])
    return made


def test_a_delivery_carries_the_description_into_the_manifest_of_the_class(workspace, make_dataset, tmp_path):
    """Its field comes before a file that was delivered; another description is a change of the class, and told."""
    inbox, cloth = tmp_path / "inbox", make_dataset("mvtec", names=["cloth"]) / "cloth"

    def arrive():
        (delivery,) = look_into.fn(workspace)[0]
        assert [] == fetch_delivery.fn(workspace, delivery)
        return check_delivery(workspace, delivery)

    pack(cloth, str(inbox), description=SAID)
    first = arrive()
    assert SAID == first.description
    assert "" == replaced_by(workspace, first)
    source = workspace.root / ".evernorm/inbox/cloth"
    assert ["cloth"] == bring_in(workspace, source, {"cloth": first})
    assert SAID == json.loads((workspace.root / "data/cloth/train.json").read_text())["description"]
    assert [] == bring_in(workspace, source, {"cloth": first})
    assert "" == replaced_by(workspace, first)

    # Another tool delivers the file; only the words are new.
    words = inbox / "cloth/class.txt"
    words.write_text("Linen.")
    manifest = json.loads((inbox / "cloth/manifest.json").read_text())
    manifest["files"].append({"path": "class.txt", "sha256": sha256_file(words), "size": 6})
    del manifest["description"]
    write_json(inbox / "cloth/manifest.json", manifest)
    second = arrive()
    assert ("Linen.", first.records) == (second.description, second.records)
    assert (
        "its 11 images are replaced by 11: 0 new, 11 as before, 0 removed; its description changes"
        == replaced_by(workspace, second)
    )
    assert ["cloth"] == bring_in(workspace, source, {"cloth": second})
    manifest["description"] = SAID
    write_json(inbox / "cloth/manifest.json", manifest)
    assert first == arrive()


@pytest.mark.parametrize(
    ("changed", "found"),
    [({}, []), ({"description": "Linen."}, ["train.json"]), ({"description": ""}, ["train.json"])],
)
def test_the_audit_compares_the_description(make_dataset, tmp_path, changed, found):
    """What was learned from is what the manifest says, under its key, without what was left out."""
    root = make_dataset("mvtec", names=["cloth"])
    (root / "cloth").rename(root / "Cloth, raw")
    (root / "Cloth, raw/class.txt").write_text(SAID)
    (root / "Cloth, raw/test/good/001.png").write_bytes(b"")
    manifest = validate(root, ["Cloth-raw"], drop_faulty=True)["Cloth-raw"]
    manifest.save(tmp_path / "data/manifest.json")
    manifest.training().model_copy(update=changed).save(tmp_path / "data/train.json")
    paths = [path for each in manifest.records for path in (each.path, each.mask) if path]
    files = {f"data/{path}": f"data/{path}" for path in (*paths, "manifest.json", "train.json")}
    place = SimpleNamespace(read=lambda oid: (tmp_path / oid).read_bytes())
    notes = Notes()
    check_images(
        SimpleNamespace(data={"Cloth-raw": SimpleNamespace(path="data")}),
        Held({"data": files}, {}, dict.fromkeys(files, place)),
        notes,
    )
    assert [f"data/{name}" for name in found] == [each.what for each in notes.findings]
