"""The command as a user runs it, and an audit of what is out of reach."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest

from flows.commands.audit import audit_version
from tasks.audit.records import md5
from tasks.audit.report import Report
from tasks.audit.walk import audit
from tasks.tracking.server import note
from tasks.workspace.workspace import Workspace
from tests.helpers.audits import IMAGE, kept, located, moved
from tests.helpers.workspaces import dvc

pytest_plugins = ("tests.helpers.audits",)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("missing", "place"),
    [("../store/files", "remote store"), ("mlflow.db", "MLflow"), (".dvc/config.local", "clean")],
)
def test_what_is_out_of_reach_is_named(changeable, missing, place):
    """A remote that is not mounted, a database that is gone; a workspace without a remote misses nothing."""
    path = changeable / missing
    path.rename(path.with_name("elsewhere"))
    report = audit(changeable)
    assert not path.exists()
    assert not report.findings
    assert ([] if place == "clean" else [place]) == [each.place for each in report.unchecked]


def test_mlflow_that_does_not_answer_or_is_damaged_is_out_of_reach(changeable, monkeypatch):
    """Neither is a finding, and neither a traceback."""
    (changeable / "mlflow.db").write_bytes(b"SQLite format 3\x00" + os.urandom(5000))
    assert ["MLflow"] == [each.place for each in audit(changeable).unchecked]
    note(Workspace.open(changeable), "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    report = audit(changeable)
    assert ("incomplete", None, ()) == (report.verdict, report.subject, report.lineage)
    assert "out of reach" in report.unchecked[0].why


def test_a_store_of_artifacts_that_does_not_answer_is_out_of_reach(audited, monkeypatch):
    """What it holds is not known, which is no finding; all else is checked."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with kept(audited / "mlflow.db"):
        moved(audited, (audited / "mlartifacts").as_uri(), "s3://artifacts")
        report = audit(audited)
    assert ("incomplete", ()) == (report.verdict, report.findings)
    assert ["artifact", "artifact"] == [each.place for each in report.unchecked]
    assert "out of reach" in report.unchecked[0].why


@pytest.mark.slow
def test_a_remote_in_s3_is_read_object_by_object(changeable, s3, monkeypatch):
    """Whole, damaged, and while the server is away."""
    for name, value in s3.client_environment().items():
        monkeypatch.setenv(name, value)
    client = s3.client()
    client.create_bucket(Bucket="audit")
    dvc(changeable, "remote", "add", "--local", "--default", "bucket", "s3://audit/store")
    dvc(changeable, "remote", "modify", "--local", "bucket", "endpointurl", s3.url)
    dvc(changeable, "push", "--quiet")
    report = audit(changeable)
    assert ("clean", ()) == (report.verdict, report.findings)
    assert any(each.place == "remote bucket" and each.number > 50 for each in report.checked)
    keys = [
        str(Path("store/files/md5") / path.parent.name / path.name)
        for path in (
            located(changeable, f".dvc/cache/{{{name}}}")
            for name in (IMAGE, "bank/metal/weibull/weibull.json")
        )
    ]
    client.put_object(Bucket="audit", Key=keys[0], Body=b"damaged")
    client.delete_object(Bucket="audit", Key=keys[1])
    found = {finding.what.split(" ")[0]: finding.found for finding in audit(changeable).findings}
    assert {
        "/".join(Path(keys[0]).parts[-2:]): f"md5 {md5(b'damaged')}",
        "/".join(Path(keys[1]).parts[-2:]): "missing",
    } == found
    s3.stop()
    try:
        report = audit(changeable)
    finally:
        s3.start()
    assert ("incomplete", ()) == (report.verdict, report.findings)
    assert ["remote bucket"] == [each.place for each in report.unchecked]


class Page(HTMLParser):
    """A page whose elements are closed in order, and what is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not {"src", "onclick"} & dict(attrs).keys()
        assert all((value or "").startswith("#") for key, value in attrs if key == "href")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.slow
def test_the_command_says_it_in_words_as_json_and_as_a_page(audited, evernorm, tmp_path, capsys):
    """A clean audit, one that finds something, one that cannot be made; each with its exit status."""
    page = tmp_path / "pages" / "audit.html"
    done = evernorm("audit", "--workspace", audited, "--html", page)
    lines = done.stdout.splitlines()
    assert lines[0] == "continual-bank version 2 (candidate, champion): cloth, metal"
    assert any(re.fullmatch(r"cache: \d+ objects, .* MB", line) for line in lines)
    assert lines[-1].startswith("clean: all is what the records say")
    parsed = Page(page.read_text())
    assert (1, 0) == (parsed.tags.count("svg"), parsed.tags.count("circle"))
    for said in ("Figures", "Champion", "keeps all bounds", "weibull.false_alarm_rate", "image AUROC"):
        assert said in parsed.text
    assert "Images at fault" not in parsed.text

    image = audited / IMAGE
    with kept(image):
        image.unlink()
        done = evernorm("audit", "2", "--workspace", audited, "--json", "--html", page, check=False)
        assert 1 == audit_version("2", audited, as_json=False, page=None)
    report, schema = json.loads(done.stdout), json.loads((ROOT / "docs/audit.schema.json").read_text())
    assert schema == Report.model_json_schema()
    jsonschema.validate(report, schema)
    assert (1, "findings", "data/cloth/train/good/000.png") == (
        done.returncode,
        report["verdict"],
        report["findings"][0]["what"],
    )
    parsed = Page(page.read_text())
    assert ("data/cloth/train/good/000.png" in parsed.text, 1) == (True, parsed.tags.count("circle"))
    assert "Images at fault" in parsed.text
    said = capsys.readouterr().out
    assert "\nworkspace\n  data/cloth/train/good/000.png: missing; expected md5 " in said
    assert said.splitlines()[-1].startswith("1 finding (")

    done = evernorm("audit", "9", "--workspace", audited, check=False)
    assert (2, "") == (done.returncode, done.stderr)
    assert "has no version or alias '9'; it has versions 1, 2" in done.stdout
    assert 2 == audit_version("champion", tmp_path, as_json=False, page=None)
    assert "is no evernorm workspace" in capsys.readouterr().err
