"""The inbox on a real S3 server: round trips, interruptions, refusals, outages."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from evernorm.data.validate import validate
from evernorm.errors import DataError, PipelineError
from tasks.faults import PassingError
from tasks.inbox.delivery import pack
from tasks.inbox.inbox import fetch, look
from tasks.inbox.s3 import S3Storage
from tasks.inbox.storage import open_storage


@pytest.fixture
def inbox(s3, monkeypatch) -> S3Storage:
    """An empty inbox in a bucket of its own, with this process's AWS_* variables set for it."""
    for name, value in s3.client_environment().items():
        monkeypatch.setenv(name, value)
    storage = open_storage(f"s3://inbox-{uuid.uuid4().hex}/arriving")
    s3.client().create_bucket(Bucket=storage.bucket)
    return storage


@pytest.fixture(scope="module")
def photos(tmp_path_factory, draw_photos):
    """Two drawn classes; tests may look, not touch."""
    return draw_photos(tmp_path_factory.mktemp("photos"))


@contextmanager
def requests(storage: S3Storage, operation: str) -> Iterator[list[dict]]:
    """What is asked of the server meanwhile."""
    seen, event = [], f"provide-client-params.s3.{operation}"

    def note(params, **_):
        seen.append(params)

    storage._client.meta.events.register(event, note)
    yield seen
    storage._client.meta.events.unregister(event, note)


def noise(path, size: int):
    """A file of bytes that repeat nowhere."""
    content = hashlib.shake_256(path.name.encode()).digest(size)
    path.write_bytes(content)
    return path, content, hashlib.sha256(content).hexdigest()


def test_a_class_that_was_packed_is_seen_and_fetched(inbox, photos, tmp_path):
    """It comes out as it went in, and is fit to be learned."""
    assert pack(photos / "metal", inbox.place).there == 0
    packed = pack(photos / "cloth", inbox.place)
    deliveries, refusals = look(inbox)
    assert not refusals
    assert {"cloth", "metal"} == {delivery.name for delivery in deliveries}
    delivery = next(delivery for delivery in deliveries if delivery.name == "cloth")
    assert packed.manifest == delivery.manifest
    assert not fetch(inbox, delivery, tmp_path / "cloth")
    assert validate(tmp_path, ["cloth"]) == validate(photos, ["cloth"])
    with requests(inbox, "GetObject") as asked:
        assert not fetch(inbox, delivery, tmp_path / "cloth")
    assert not asked


def test_a_class_that_is_there_is_not_sent_again(inbox, photos):
    """Its time of arrival stays; a file that was spoilt is sent again, and the class arrives anew."""
    pack(photos / "cloth", inbox.place)
    (before,), _ = look(inbox)
    assert len(before.manifest.files) == pack(photos / "cloth", inbox.place).there
    assert ([before], []) == look(inbox)
    inbox.write("cloth/train/good/000.png", b"spoilt")
    assert len(before.manifest.files) - 1 == pack(photos / "cloth", inbox.place).there
    (after,), _ = look(inbox)
    assert before.digest == after.digest
    assert before.arrived <= after.arrived


def test_a_listing_has_as_many_pages_as_it_needs(inbox):
    """Empty objects that stand for folders are no files."""
    inbox._client.put_object(Bucket=inbox.bucket, Key="arriving/cloth/")
    inbox._client.put_object(Bucket=inbox.bucket, Key="elsewhere.png", Body=b"x")
    for number in range(7):
        inbox.write(f"cloth/{number}.png", b"x")

    def short_pages(params, **_):
        params["MaxKeys"] = 3

    inbox._client.meta.events.register("provide-client-params.s3.ListObjectsV2", short_pages)
    assert [f"cloth/{number}.png" for number in range(7)] == [each.key for each in inbox.objects()]
    assert len(inbox.objects("cloth")) == 7


def test_a_large_file_is_sent_in_parts_and_comes_back(inbox, tmp_path):
    """With its hash, which tells whether it is there."""
    source, content, sha256 = noise(tmp_path / "large.tif", 20_000_000)
    assert not inbox.holds("cloth/large.tif", sha256)
    with requests(inbox, "UploadPart") as sent:
        inbox.send(source, "cloth/large.tif", sha256)
    assert [1, 2, 3] == [part["PartNumber"] for part in sent]
    assert inbox.holds("cloth/large.tif", sha256)
    assert not inbox.holds("cloth/large.tif", "0" * 64)
    with requests(inbox, "GetObject") as asked:
        inbox.fetch("cloth/large.tif", tmp_path / "back.tif", len(content))
    assert 1 < len(asked)
    assert (tmp_path / "back.tif").read_bytes() == content


def test_an_object_of_another_size_is_not_kept(inbox, tmp_path):
    """Nor is what was there before lost."""
    inbox.write("cloth/x.tif", b"1234")
    (tmp_path / "x.tif").write_bytes(b"before")
    for size in (3, 5):
        with pytest.raises(DataError, match=f"cloth/x.tif: .* bytes, expected {size}; upload it again"):
            inbox.fetch("cloth/x.tif", tmp_path / "x.tif", size)
    assert [b"before"] == [path.read_bytes() for path in tmp_path.iterdir()]


def test_an_object_that_was_changed_is_named_by_its_hash(inbox, photos, tmp_path):
    """Its size is what the manifest says, so only fetching it can tell; it is not kept."""
    pack(photos / "cloth", inbox.place)
    (delivery,), _ = look(inbox)
    changed, gone = delivery.manifest.files[:2]
    inbox.write(f"cloth/{changed.path}", bytes(changed.size))
    inbox.remove(f"cloth/{gone.path}")
    assert {
        f"cloth/{changed.path}: sha256 is {hashlib.sha256(bytes(changed.size)).hexdigest()}, "
        f"the manifest says {changed.sha256}; upload it again",
        f"cloth/{gone.path}: is not there any more; upload it again",
    } == set(fetch(inbox, delivery, tmp_path / "cloth"))
    assert not (tmp_path / "cloth" / changed.path).exists()


def test_a_manifest_that_is_too_large_is_not_read(inbox, monkeypatch):
    """It is a fault of its class."""
    monkeypatch.setattr("tasks.inbox.s3.SMALL", 10)
    inbox.write("cloth/manifest.json", bytes(11))
    (refusal,) = look(inbox)[1]
    assert ("cloth/manifest.json: larger than 10 bytes",) == refusal.faults


def test_a_wrong_secret_is_told_without_being_shown(inbox, photos, monkeypatch):
    """Neither to look nor to pack is it of use."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    for attempt in (lambda: look(open_storage(inbox.place)), lambda: pack(photos / "cloth", inbox.place)):
        with pytest.raises(PipelineError, match="refuses the credentials") as caught:
            attempt()
        assert not isinstance(caught.value, PassingError)
        assert "not-the-secret" not in str(caught.value)


def test_what_is_not_set_up_is_told(inbox, monkeypatch, tmp_path):
    """A bucket that is missing, credentials that are missing, an endpoint that is no URL."""
    with pytest.raises(PipelineError, match="a bucket that does not exist"):
        open_storage("s3://no-such-bucket/inbox").objects()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nonsense")
    with pytest.raises(PipelineError, match="AWS_ENDPOINT_URL is no URL"):
        open_storage(inbox.place).objects()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(PipelineError, match="needs credentials; set AWS_ACCESS_KEY_ID"):
        open_storage(inbox.place).objects()


def test_an_outage_may_pass(s3, inbox, photos, tmp_path):
    """When the server is back, the same call goes on."""
    pack(photos / "cloth", inbox.place)
    (delivery,), _ = look(inbox)
    s3.stop()
    try:
        for attempt in (
            lambda: look(inbox),
            lambda: fetch(inbox, delivery, tmp_path / "cloth"),
        ):
            with pytest.raises(PassingError, match="is out of reach; check AWS_ENDPOINT_URL"):
                attempt()
    finally:
        s3.start()
    assert not fetch(inbox, delivery, tmp_path / "cloth")


class Denying(BaseHTTPRequestHandler):
    """An S3 server whose objects may be listed and not read."""

    answer = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

    def do_HEAD(self):
        self.send_response(403)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.answer)

    def log_message(self, *_):
        """Say nothing."""


def test_an_object_that_may_not_be_read_is_a_fault_of_its_class(inbox, monkeypatch, tmp_path):
    """Not of the inbox: other classes are none the worse."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Denying) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        storage = open_storage(inbox.place)
        # What is asked first of an object to fetch is answered without a body, and so without S3's own code.
        for attempt, code in (
            (lambda: storage.read("cloth/a"), "AccessDenied"),
            (lambda: storage.fetch("cloth/a", tmp_path / "a", 1), "Forbidden"),
        ):
            with pytest.raises(DataError, match=rf"cloth/a: may not be read \({code}\); permit it"):
                attempt()
        with pytest.raises(PipelineError, match="refuses the credentials"):
            storage.objects()
        server.shutdown()


class Hostile(BaseHTTPRequestHandler):
    """An S3 server that lists keys no honest one takes."""

    keys = ("../../escape.png", "/etc/passwd", "cloth/../../escape.png", "cloth/a\\b.png", "cloth//a.png")

    def do_GET(self):
        content = "".join(
            f"<Contents><Key>arriving/{key}</Key><Size>1</Size><ETag>x</ETag>"
            f"<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for key in self.keys
        )
        answer = f"<ListBucketResult><IsTruncated>false</IsTruncated>{content}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Say nothing."""


def test_keys_that_leave_the_inbox_are_refused(inbox, monkeypatch, tmp_path):
    """Each is told, none is read, whatever a server says."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        storage = open_storage(inbox.place)
        deliveries, refusals = look(storage)
        server.shutdown()
    assert not deliveries
    told = "\n".join(fault for refusal in refusals for fault in refusal.faults)
    assert all(repr(key) in told for key in Hostile.keys)
    for key in Hostile.keys:
        with pytest.raises(DataError):
            storage.fetch(key, tmp_path / "x", 1)
        with pytest.raises(DataError):
            storage.read(key)
