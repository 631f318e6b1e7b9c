"""The command `evernorm pack` as a user runs it."""

import os
import shutil
import uuid
from pathlib import Path

import pytest
from PIL import Image

from evernorm.data.validate import validate
from evernorm.errors import DataError, ParamsError
from tasks.inbox.delivery import pack
from tasks.inbox.inbox import fetch, look
from tasks.inbox.storage import FolderStorage, open_storage


@pytest.fixture
def photos(tmp_path, draw_photos) -> Path:
    return draw_photos(tmp_path / "photos", names=("cloth",))


@pytest.fixture
def inbox(tmp_path) -> FolderStorage:
    (tmp_path / "inbox").mkdir()
    return FolderStorage(tmp_path / "inbox")


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(inbox: FolderStorage) -> tuple[list[str], list[str]]:
    """Names of the complete classes, and all faults."""
    deliveries, refusals = look(inbox)
    return [each.name for each in deliveries], [fault for each in refusals for fault in each.faults]


def test_a_class_is_delivered_into_a_directory(evernorm, photos, inbox, tmp_path):
    """Only what the class consists of; again, nothing is sent and the delivery stays as it is."""
    (photos / "cloth/notes.txt").write_text("mine")
    said = evernorm("pack", photos / "cloth", inbox.place).stdout
    assert said.startswith("cloth: 21 files, ")
    assert said.endswith(f" in {inbox.place}; 0 there already\n")
    (delivery,), refusals = look(inbox)
    assert not refusals
    assert not fetch(inbox, delivery, tmp_path / "taken" / "cloth")
    assert validate(tmp_path / "taken", ["cloth"]) == validate(photos, ["cloth"])
    assert "21 there already" in evernorm("pack", photos / "cloth", inbox.place).stdout
    assert ([delivery], []) == look(inbox)


def test_a_class_is_delivered_to_s3(evernorm, s3, photos, monkeypatch):
    """A wrong secret is told in a sentence that does not show it."""
    for name, value in s3.client_environment().items():
        monkeypatch.setenv(name, value)
    storage = open_storage(f"s3://inbox-{uuid.uuid4().hex}")
    s3.client().create_bucket(Bucket=storage.bucket)
    assert f" in {storage.place}; 0 there" in evernorm("pack", photos / "cloth", storage.place).stdout
    assert ["cloth"] == [delivery.name for delivery in look(storage)[0]]
    failed = evernorm(
        "pack", photos / "cloth", storage.place, check=False, env={"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    )
    assert failed.returncode
    assert f"evernorm: inbox {storage.place} refuses the credentials (SignatureDoesNotMatch)" in failed.stderr
    assert "not-the-secret" not in failed.stderr + failed.stdout
    assert "Traceback" not in failed.stderr


def test_a_class_that_could_not_be_learned_is_not_sent(evernorm, photos, inbox):
    """All its faults are told at once."""
    shutil.copy(photos / "cloth/train/good/000.png", photos / "cloth/test/good/copy.png")
    (photos / "cloth/train/good/001.png").write_bytes(b"no image")
    failed = evernorm("pack", photos / "cloth", inbox.place, check=False)
    assert failed.returncode
    assert "cloth/test/good/copy.png: same content as train/good/000.png" in failed.stderr
    assert "cloth/train/good/001.png" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not files_in(inbox.root)


def test_a_class_is_delivered_again_with_other_files(photos, inbox):
    """What the delivery before named and this one does not is removed; the class arrives anew."""
    pack(photos / "cloth", inbox.place)
    os.utime(inbox.root / "cloth/manifest.json", (0, 0))
    (before,), _ = look(inbox)
    (photos / "cloth/train/good/009.png").rename(photos / "cloth/train/good/new.png")
    Image.new("RGB", (64, 64), "red").save(photos / "cloth/train/good/000.png")
    packed = pack(photos / "cloth", inbox.place)
    assert packed.there == 19
    (after,), refusals = look(inbox)
    assert not refusals
    assert packed.manifest == after.manifest != before.manifest
    assert before.arrived < after.arrived
    assert not (inbox.root / "cloth/train/good/009.png").exists()


def test_a_delivery_that_replaces_another_says_so_first(evernorm, photos, inbox):
    """How much stays, comes and goes; with --add nothing goes, and one image is enough."""
    pack(photos / "cloth", inbox.place)
    (photos / "cloth/train/good/000.png").unlink()
    said = evernorm("pack", photos / "cloth", inbox.place).stdout
    replaces = "cloth: replaces the delivery of 21 files that is there: 0 files new, 20 as before, 1 removed"
    assert replaces == said.splitlines()[0]
    one = photos / "more/cloth/train/good/a.png"
    one.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(one)
    said = evernorm("pack", photos / "more/cloth", inbox.place, "--add").stdout
    assert (
        "cloth: adds to the delivery of 20 files that is there: 1 file new, 20 as before, 0 removed"
        == said.splitlines()[0]
    )
    (delivery,), refusals = look(inbox)
    assert (21, []) == (len(delivery.manifest.files), refusals)
    assert (inbox.root / "cloth/train/good/a.png").read_bytes() == one.read_bytes()
    before = files_in(inbox.root)
    said = evernorm("pack", photos / "more/cloth", inbox.place, "--add").stdout
    assert (1, before) == (len(said.splitlines()), files_in(inbox.root))


def test_a_class_is_delivered_with_what_it_is(evernorm, photos, inbox):
    """In the words of its class.txt, unless others are given; one that says nothing leaves those that are there."""

    def delivered() -> str | None:
        (delivery,), refusals = look(inbox)
        assert not refusals
        return delivery.manifest.description

    (photos / "cloth/class.txt").write_text("A woven\n  cloth.\n")
    pack(photos / "cloth", inbox.place)
    assert delivered() == "A woven cloth."
    assert not (inbox.root / "cloth/class.txt").exists()
    said = evernorm("pack", photos / "cloth", inbox.place, "--description", "Linen,  seen from above.").stdout
    assert delivered() == "Linen, seen from above."
    told = "the delivery of 21 files that is there: 0 files new, 21 as before, 0 removed; its description changes"
    assert f"cloth: changes {told}" == said.splitlines()[0]
    one = _folder(photos / "more/cloth/train/good") / "a.png"
    Image.new("RGB", (64, 64), "red").save(one)
    tell: list[str] = []
    pack(photos / "more/cloth", inbox.place, add=True, tell=tell.append)
    assert delivered() == "Linen, seen from above."
    assert "description" not in tell.pop()
    (photos / "more/cloth/class.txt").write_text("Cotton.")
    pack(photos / "more/cloth", inbox.place, add=True, tell=tell.append)
    assert delivered() == "Cotton."
    assert tell.pop().endswith("; its description changes")
    pack(photos / "cloth", inbox.place, description="")
    assert delivered() is None
    before = files_in(inbox.root)
    with pytest.raises(ParamsError, match="the description that was given: 1,001 characters; shorten it"):
        pack(photos / "cloth", inbox.place, description="x" * 1001)
    assert before == files_in(inbox.root)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def test_what_cannot_be_added_is_refused_and_nothing_is_sent(photos, inbox):
    """To nothing, under the name of another file, to a delivery that is damaged."""
    with pytest.raises(DataError, match=r"no delivery of cloth to add to"):
        pack(photos / "cloth", inbox.place, add=True)
    assert not files_in(inbox.root)
    pack(photos / "cloth", inbox.place)
    before = files_in(inbox.root)
    Image.new("RGB", (64, 64), "red").save(photos / "cloth/train/good/000.png")
    with pytest.raises(DataError) as refused:
        pack(photos / "cloth", inbox.place, add=True)
    assert ("train/good/000.png",) == tuple(refused.value.faults)
    assert before == files_in(inbox.root)
    Image.new("RGB", (64, 64), "blue").save(_folder(photos / "plain/cloth") / "b.png")
    with pytest.raises(DataError, match="in other folders"):
        pack(photos / "plain/cloth", inbox.place, add=True)
    (photos / "more/cloth/train/good").mkdir(parents=True)
    shutil.move(photos / "cloth/train/good/000.png", photos / "more/cloth/train/good/a.png")
    (inbox.root / "cloth/train/good/001.png").unlink()
    with pytest.raises(DataError, match="damaged"):
        pack(photos / "more/cloth", inbox.place, add=True)
    assert not (inbox.root / "cloth/train/good/a.png").exists()


def test_a_delivery_that_was_cut_short_is_not_taken_and_goes_on(photos, inbox, monkeypatch):
    """Neither the first time nor when the class was there before."""
    sent, send = [], FolderStorage.send

    def send_some(self, source, key, sha256):
        if len(sent) >= 5:
            raise KeyboardInterrupt
        sent.append(key)
        send(self, source, key, sha256)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "send", send_some)
        with pytest.raises(KeyboardInterrupt):
            pack(photos / "cloth", inbox.place)
    assert ([], ["cloth: no manifest.json yet: still uploading?"]) == told(inbox)
    assert len(sent) == pack(photos / "cloth", inbox.place).there
    assert (["cloth"], []) == told(inbox)
    (photos / "cloth/train/good/009.png").rename(photos / "cloth/train/good/new.png")
    with monkeypatch.context() as patch:
        patch.setattr(FolderStorage, "remove", stop)
        with pytest.raises(KeyboardInterrupt):
            pack(photos / "cloth", inbox.place)
    fault = "cloth/train/good/new.png: not in the manifest; remove it, or pack the class again"
    assert ([], [fault]) == told(inbox)
    assert pack(photos / "cloth", inbox.place).there == 21
    assert (["cloth"], []) == told(inbox)


def test_what_nobody_delivered_is_not_removed(photos, inbox):
    """A folder of that name that is no delivery is left alone, and nothing is sent."""
    (inbox.root / "cloth/precious").mkdir(parents=True)
    (inbox.root / "cloth/precious/000.png").write_bytes(b"mine")
    (inbox.root / "cloth/train/good").mkdir(parents=True)
    (inbox.root / "cloth/train/good/000.png").symlink_to("../../precious/000.png")
    with pytest.raises(DataError) as caught:
        pack(photos / "cloth", inbox.place)
    assert caught.value.faults == ("'cloth/precious/000.png'", "'cloth/train/good/000.png'")
    assert set(files_in(inbox.root).values()) == {b"mine"}


def test_a_class_is_not_delivered_onto_itself(photos, inbox):
    """Which would remove what is in its folder and not part of it."""
    for place in (photos, photos / "cloth", photos / "cloth/test"):
        with pytest.raises(ParamsError, match="overlap"):
            pack(photos / "cloth", str(place))


def test_a_class_of_visa_cannot_be_delivered(make_dataset, inbox):
    """Its table is not in the class folder; what to do is said."""
    root = make_dataset("visa")
    name = next(path.name for path in root.iterdir() if path.is_dir() and path.name != "split_csv")
    with pytest.raises(DataError, match=r"split_csv/1cls\.csv.*train/good"):
        pack(root / name, inbox.place)
