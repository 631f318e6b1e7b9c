"""The inbox: manifests of deliveries, what is complete, what is fetched; on directories."""

import json
import os
import tempfile
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from hypothesis import example, given
from hypothesis import strategies as st

from evernorm.errors import DataError, ParamsError, PipelineError
from tasks.faults import PassingError, storage_faults
from tasks.inbox.inbox import DeliveryManifest, fetch, look
from tasks.inbox.storage import FolderStorage, Incoming, key_fault, open_storage

FILES = {"train/good/000.png": b"first", "train/good/001.png": b"second", "test/hole/000.png": b"third"}


def manifest_of(name: str, files: dict[str, bytes]) -> DeliveryManifest:
    listed = [
        {"path": path, "sha256": sha256(content).hexdigest(), "size": len(content)}
        for path, content in files.items()
    ]
    return DeliveryManifest.model_validate({"name": name, "files": listed})


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def deliver(inbox: Path, name: str, files: dict[str, bytes], arrived: int = 0) -> Path:
    """Lay a complete class into an inbox."""
    for path, content in files.items():
        put(inbox / name / path, content)
    manifest = put(inbox / name / "manifest.json", manifest_of(name, files).to_bytes())
    os.utime(manifest, (arrived, arrived))
    return inbox / name


def faults_of(inbox: Path) -> dict[str, tuple[str, ...]]:
    return {refusal.name: refusal.faults for refusal in look(FolderStorage(inbox))[1]}


@given(st.permutations(sorted(FILES.items())))
def test_the_same_files_give_the_same_manifest(files):
    """In whatever order they are listed; and what is written is what is read."""
    manifest = manifest_of("cloth", dict(files))
    assert manifest.to_bytes() == manifest_of("cloth", FILES).to_bytes()
    assert DeliveryManifest.parse(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../cloth"}, "name: '../cloth' is no plain class name"),
        ({"schema_version": 2}, "schema_version:"),
        ({"note": 1}, "note: Extra inputs are not permitted"),
        ({"files": []}, "files:"),
        ({"files": [{"path": "a.png", "sha256": "0" * 63, "size": 1}]}, "files.0.sha256:"),
        ({"files": [{"path": "a.png", "sha256": "0" * 64, "size": -1}]}, "files.0.size:"),
        ({"files": [{"path": "a.png", "sha256": "0" * 64, "size": "1"}]}, "files.0.size:"),
    ],
)
def test_a_manifest_says_what_is_wrong_with_it(change, said):
    """By its place in the file."""
    content = json.loads(manifest_of("cloth", FILES).to_bytes())
    with pytest.raises(DataError) as caught:
        DeliveryManifest.parse(json.dumps({**content, **change}).encode())
    (fault,) = caught.value.faults
    assert fault.startswith(said)


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["../x.png"], "leaves its folder"),
        (["/etc/passwd"], "leaves its folder"),
        (["a//b.png"], "leaves its folder"),
        (["a/./b.png"], "leaves its folder"),
        (["a\\b.png"], "backslash"),
        (["a\nb.png"], "control character"),
        ([f"{'a' * 250}.png"], "more than 240 bytes"),
        (["Manifest.json"], "a name that deliveries need"),
        (["a.png.part"], "a name that deliveries need"),
        (["a.png", "A.png"], "listed more than once, but for case: 'a.png'"),
        (["a", "a/b.png"], "both a file and a folder: 'a'"),
    ],
)
def test_a_manifest_names_only_what_fits_into_one_folder(paths, said):
    """On any file system, and leaves room for what is being fetched."""
    files = [{"path": path, "sha256": "0" * 64, "size": 1} for path in paths]
    with pytest.raises(DataError) as caught:
        DeliveryManifest.parse(json.dumps({"name": "cloth", "files": files}).encode())
    assert said in "\n".join(caught.value.faults)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_what_is_no_json_object_is_no_manifest(content):
    """However deep it is nested."""
    with pytest.raises(DataError, match="no manifest of a delivery"):
        DeliveryManifest.parse(content)


@given(
    st.lists(st.sampled_from(["a", "..", ".", "", "é", "\\", "\x00", "~", "C:"]), max_size=5).map("/".join)
)
@example("a/../../b")
def test_a_key_that_is_accepted_stays_in_its_folder(key):
    """And is one way only to write that path."""
    if key_fault(key) is None:
        assert Path("/inbox/cloth", key).resolve() == Path(f"/inbox/cloth/{key}")
        assert str(Path(key)) == key


def test_complete_classes_come_in_order_of_arrival(tmp_path):
    """Which is the time of their manifests; then by name."""
    for name, arrived in [("wood", 20), ("cloth", 30), ("metal", 10), ("blue", 20)]:
        deliver(tmp_path, name, FILES, arrived)
    deliveries, refusals = look(FolderStorage(tmp_path))
    assert not refusals
    assert ["metal", "blue", "wood", "cloth"] == [delivery.name for delivery in deliveries]
    first = deliveries[0]
    assert datetime.fromtimestamp(10, UTC) == first.arrived
    assert sha256((tmp_path / "metal/manifest.json").read_bytes()).hexdigest() == first.digest
    assert manifest_of("metal", FILES) == first.manifest


def test_every_fault_of_every_class_is_told_and_stops_no_other(tmp_path):
    """Names, sizes, what is missing and what is too much."""
    deliver(tmp_path, "good", FILES)
    put(tmp_path / "uploading/train/good/000.png", b"first")
    broken = deliver(tmp_path, "broken", FILES)
    (broken / "train/good/000.png").unlink()
    (broken / "train/good/001.png").write_bytes(b"short")
    put(broken / "notes.txt", b"")
    deliver(tmp_path, "moved", FILES).rename(tmp_path / "elsewhere")
    put(tmp_path / "garbled/manifest.json", b"{")
    put(tmp_path / "my class/a.png", b"")
    deliver(tmp_path, "twin", FILES)
    deliver(tmp_path, "Twin", FILES)
    put(tmp_path / "loose.png", b"")
    deliveries, _ = look(FolderStorage(tmp_path))
    assert ["good"] == [delivery.name for delivery in deliveries]
    faults = faults_of(tmp_path)
    assert ("uploading: no manifest.json yet: still uploading?",) == faults.pop("uploading")
    assert {
        "broken/train/good/000.png: missing; upload it",
        "broken/train/good/001.png: 5 bytes, the manifest says 6; upload it again",
        "broken/notes.txt: not in the manifest; remove it, or pack the class again",
    } == set(faults.pop("broken"))
    assert ("elsewhere/manifest.json: it is of class 'moved'; pack the class again",) == faults.pop(
        "elsewhere"
    )
    (fault,) = faults.pop("garbled")
    assert fault.startswith("garbled/manifest.json: content: Invalid JSON")
    (fault,) = faults.pop("my class")
    assert fault.startswith("'my class' is no plain class name")
    assert ("twin: differs from 'Twin' only by case; rename one of them",) == faults.pop("twin")
    assert ("Twin: differs from 'twin' only by case; rename one of them",) == faults.pop("Twin")
    (fault,) = faults.pop("loose.png")
    assert fault.startswith("'loose.png' lies beside the classes")
    assert not faults


def test_links_and_devices_are_not_read(tmp_path):
    """Wherever they lead; nor are names that no other system could hold."""
    secret = put(tmp_path / "secret.png", b"first")
    inbox = tmp_path / "inbox"
    folder = deliver(inbox, "cloth", FILES)
    (folder / "train/good/000.png").unlink()
    (folder / "train/good/000.png").symlink_to(secret)
    (folder / "test/all").symlink_to("/")
    os.mkfifo(folder / "test/pipe")
    put(folder / "test/a\\b", b"")
    put(Path(os.fsdecode(os.fsencode(folder) + b"/test/\xff")), b"")
    faults = "\n".join(faults_of(inbox)["cloth"])
    assert faults.count("is a link or a device; put the file itself there") == 3
    assert "holds a backslash" in faults
    assert "'cloth/test/\\udcff' is not UTF-8" in faults
    assert faults.encode()
    with pytest.raises(DataError, match="leaves its folder"):
        FolderStorage(inbox).read("cloth/train/good/000.png")
    with pytest.raises(DataError, match="leaves its folder"):
        FolderStorage(inbox).fetch("../secret.png", tmp_path / "out", 5)


@pytest.fixture
def nobody():
    """A folder of a user without privileges, as whom the test runs; root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


def test_a_file_that_may_not_be_read_is_told_and_stops_no_other_class(nobody):
    """Be it an image, a manifest or a folder."""
    inbox = nobody / "inbox"
    for name in ("cloth", "metal", "blue", "wood"):
        deliver(inbox, name, FILES)
    for hidden in ("cloth/train/good/000.png", "metal/manifest.json", "blue/test"):
        (inbox / hidden).chmod(0)
    (first, second), _ = look(FolderStorage(inbox))
    assert ("cloth", "wood") == (first.name, second.name)
    told = "may not be read (Permission denied); permit it"
    assert [f"cloth/train/good/000.png: {told}"] == fetch(FolderStorage(inbox), first, nobody / "cloth")
    assert [] == fetch(FolderStorage(inbox), second, nobody / "wood")
    faults = faults_of(inbox)
    assert (f"metal/manifest.json: {told}",) == faults["metal"]
    assert "'blue/test/' cannot be listed; permit to read it" in faults["blue"]
    (inbox / "blue/test").chmod(0o700)


def test_an_inbox_that_is_not_there_is_a_fault(tmp_path):
    """Rather than an empty one."""
    with pytest.raises(PipelineError, match="is no directory"):
        look(FolderStorage(tmp_path / "none"))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://", "no bucket"),
        ("s3:///x", "no bucket"),
        ("gs://b/x", "gs:// is not known"),
        ("s3://b/../x", "leaves"),
    ],
)
def test_a_place_that_cannot_be_an_inbox_is_refused(place, said):
    """Before anything is asked of it."""
    with pytest.raises(ParamsError, match=said):
        open_storage(place)


def test_a_class_is_fetched_whole(tmp_path):
    """What is there and right is left alone; what belongs to no file of it is removed."""
    deliver(tmp_path / "inbox", "cloth", FILES)
    storage, folder = FolderStorage(tmp_path / "inbox"), tmp_path / "cloth"
    (delivery,), _ = look(storage)
    (tmp_path / "elsewhere").mkdir()
    put(folder / "train/good/001.png", b"wrong!")
    put(folder / "train/bad/000.png", b"")
    put(folder / "test/hole", b"a file where a folder goes")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    there = put(folder / "train/good/000.png", FILES["train/good/000.png"]).stat().st_ino
    seen = []
    assert not fetch(storage, delivery, folder, lambda done, total: seen.append((done, total)))
    assert [(2, 3), (3, 3)] == seen
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    assert not (folder / "train/bad").exists()
    assert not (folder / "link").exists()
    assert (folder / "train/good/000.png").stat().st_ino == there


def test_a_file_that_is_not_what_the_manifest_says_is_named(tmp_path):
    """With both hashes, and not kept; so is one that has gone. The others arrive."""
    inbox = deliver(tmp_path / "inbox", "cloth", FILES)
    storage, folder = FolderStorage(tmp_path / "inbox"), tmp_path / "cloth"
    (delivery,), _ = look(storage)
    (inbox / "test/hole/000.png").write_bytes(b"THIRD")
    (inbox / "train/good/000.png").unlink()
    (inbox / "train/good/001.png").write_bytes(b"much longer than it was")
    assert {
        "cloth/train/good/000.png: is not there any more; upload it again",
        "cloth/train/good/001.png: more bytes, expected 6; upload it again",
        f"cloth/test/hole/000.png: sha256 is {sha256(b'THIRD').hexdigest()}, the manifest says "
        f"{sha256(b'third').hexdigest()}; upload it again",
    } == set(fetch(storage, delivery, folder))
    assert not [path for path in folder.rglob("*") if path.is_file()]
    deliver(tmp_path / "inbox", "cloth", FILES)
    assert not fetch(storage, delivery, folder)


@given(blocks=st.lists(st.binary(max_size=9), max_size=5), stop=st.integers(0, 6))
def test_a_file_arrives_whole_or_not_at_all(tmp_path_factory, blocks, stop):
    """Until all of it is there, what was there before stays; nothing else is left."""
    folder = tmp_path_factory.mktemp("incoming")
    target, content = folder / "x.png", b"".join(blocks)
    target.write_bytes(b"before")
    try:
        with Incoming("x", target, len(content)) as incoming:
            for number, block in enumerate(blocks):
                if number == stop:
                    raise PassingError("gone")
                incoming.write(block)
    except PassingError:
        assert b"before" == target.read_bytes()
    else:
        assert content == target.read_bytes()
    assert [target] == list(folder.iterdir())


@pytest.mark.parametrize(("content", "found"), [(b"12", "2"), (b"1234", "more")])
def test_a_file_of_another_size_does_not_arrive(tmp_path, content, found):
    """It is told, and nothing is left."""
    with (
        pytest.raises(DataError, match=f"^x: {found} bytes, expected 3; upload it again$"),
        Incoming("x", tmp_path / "x.png", 3) as incoming,
    ):
        incoming.write(content)
    assert [] == list(tmp_path.iterdir())


def client_error(status: int, code: str) -> ClientError:
    response = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


@pytest.mark.parametrize(
    ("error", "passing", "said"),
    [
        (EndpointConnectionError(endpoint_url="http://x"), True, "out of reach; check AWS_ENDPOINT_URL"),
        (client_error(503, "SlowDown"), True, "out of reach"),
        (client_error(500, "InternalError"), True, "out of reach"),
        (client_error(403, "AccessDenied"), False, r"refuses the credentials \(AccessDenied\)"),
        (client_error(404, "NoSuchBucket"), False, "a bucket that does not exist"),
        (client_error(400, "Odd"), False, "refuses: Odd, no"),
        (NoCredentialsError(), False, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (OSError(5, "Input/output error"), True, "out of reach"),
        (PermissionError(13, "Permission denied", "x.png"), False, r"Permission denied \(x.png\)"),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error, passing, said):
    """A server that is away may come back; one that says no will say it again."""
    with pytest.raises(PipelineError, match=said) as caught, storage_faults("s3://bucket/inbox"):
        raise error
    assert isinstance(caught.value, PassingError) == passing
