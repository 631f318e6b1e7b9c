"""Records that contradict each other: in MLflow, in Git, in DVC's files, in manifests and lineages."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.audit.walk import audit
from tests.helpers.audits import CLASSES, hash_of, kept, mlflow_of, reset, restamp, told
from tests.helpers.workspaces import MODEL, dvc, git

pytest_plugins = ("tests.helpers.audits",)


def tag_version(key: str, value: str) -> Callable[[MlflowClient], None]:
    return lambda client: client.set_model_version_tag(MODEL, "2", f"evernorm.{key}", value)


def tag_run(key: str, value: str) -> Callable[[MlflowClient], None]:
    return lambda client: client.set_tag(
        client.get_model_version(MODEL, "2").run_id, f"evernorm.{key}", value
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda client: client.set_model_version_tag(f"{MODEL}-promotions", "2", "why", "bribed"),
            {f"promotions {MODEL}-promotions version 2: altered since it was written", "alias champion"},
        ),
        (
            lambda client: client.delete_model_version(f"{MODEL}-promotions", "1"),
            {f"{MODEL}-promotions version 1: deleted", "alias champion"},
        ),
        (
            lambda client: client.delete_model_version(f"{MODEL}-promotions", "2"),
            {"alias champion of continual-bank: 2; expected 1"},
        ),
        (
            lambda client: client.set_registered_model_alias(MODEL, "champion", "1"),
            {"alias champion of continual-bank: 1; expected 2"},
        ),
        (
            lambda client: client.delete_registered_model_alias(MODEL, "champion"),
            {"alias champion of continual-bank: missing; expected 2"},
        ),
        (
            lambda client: client.delete_model_version_tag(f"{MODEL}-promotions", "2", "applied"),
            {"change 2 to version 2: not applied"},
        ),
        (tag_run("git_commit", "0" * 40), {"tag evernorm.git_commit: 0000"}),
        (tag_run("git_commit", "--output=x"), {"tag evernorm.git_commit: --output=x"}),
        (tag_run("dvc_lock", "0" * 64), {"tag evernorm.dvc_lock: 0000"}),
        (tag_run("complete", "false"), {"tag evernorm.complete: false; expected true"}),
        (tag_run("class", "cloth"), {"tag evernorm.class: cloth; expected metal"}),
        (
            lambda client: client.delete_run(client.get_model_version(MODEL, "2").run_id),
            {": deleted; expected active"},
        ),
        (tag_version("dvc_lock", "0" * 64), {"version 2 tag evernorm.dvc_lock: 0000"}),
        (tag_version("class", "cloth"), {"version 2 tag evernorm.class: cloth; expected metal"}),
        (tag_version("git_dirty", "true"), {"version 2 tag evernorm.git_dirty: true; expected false"}),
        (tag_version("data", "{}"), {"evernorm.data cloth: missing", "evernorm.data metal: missing"}),
        (tag_version("data", "damaged"), {"evernorm.data cloth: missing", "evernorm.data metal: missing"}),
        (
            lambda client: client.delete_model_version_tag(MODEL, "2", "evernorm.data"),
            {"version 2 tag evernorm.data: missing"},
        ),
        (
            tag_version("classes", "metal,cloth"),
            {
                "evernorm.class: metal; expected cloth",
                "evernorm.classes: metal,cloth; expected cloth",
                "tag evernorm.class: metal; expected cloth",
            },
        ),
    ],
)
def test_a_changed_record_in_mlflow_is_found(audited, change, expected):
    """The log of promotions, the alias, the run and the version."""
    with kept(audited / "mlflow.db"):
        change(mlflow_of(audited))
        report = audit(audited, "2")
    lines = [f"{finding.place} {finding.line}" for finding in report.findings]
    assert report.verdict == "findings"
    for said in expected:
        assert any(said in line for line in lines), lines
    if len(expected) < 3:
        assert len(expected) == len(lines)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (tag_version("git_commit", "0" * 40), "commit '0000"),
        (tag_version("git_commit", "--help"), "commit '--help'"),
        (tag_version("classes", "../../etc"), "does not say which classes"),
        (lambda client: client.delete_model_version(MODEL, "2"), "no version or alias '2'"),
    ],
)
def test_what_leads_nowhere_is_named(audited, change, why):
    """A version that is gone, and one that names no commit there is."""
    with kept(audited / "mlflow.db"):
        change(mlflow_of(audited))
        report = audit(audited, "2")
    assert report.verdict == ("findings" if "etc" in str(report.findings) else "incomplete")
    assert any(why in each.why for each in report.unchecked), report.unchecked


@contextmanager
def forged(workspace: Path, *edits: tuple[str, str, str]) -> Iterator[None]:
    """A commit that nobody but its maker could tell from a real one: hash and lock are in version and run."""
    with kept(workspace / "mlflow.db"), reset(workspace):
        for path, old, new in edits:
            text = (workspace / path).read_text()
            assert old in text
            (workspace / path).write_text(text.replace(old, new))
        restamp(workspace)
        yield


def test_a_forged_lock_contradicts_itself(audited):
    """Inputs and outputs, metrics, parameters, stages."""
    knowledge = hash_of(audited, "bank/cloth/knowledge")
    text = (audited / "dvc.lock").read_text()
    stage = text[text.index("  weibull@cloth:") : text.index("  features@cloth:")]
    with forged(audited, ("dvc.lock", stage, stage.replace(knowledge, f"{'0' * 32}.dir"))):
        assert {("dvc.lock", "weibull@cloth input bank/cloth/knowledge")} == told(audit(audited))
    with forged(audited, ("dvc.lock", stage, "")):
        assert {
            ("dvc.lock", "weibull@cloth"),
            ("dvc.lock", "evaluate@cloth input bank/cloth/weibull"),
            ("dvc.lock", "evaluate@cloth input bank/cloth/carry"),
        } == told(audit(audited))
    figure = '"routing_accuracy": 1.0'
    with forged(audited, ("metrics/metal.json", figure, figure.replace("1.0", "0.9"))):
        report = audit(audited)
        assert {"dvc.lock", "artifact"} == {place for place, _ in told(report)}
        assert ("dvc.lock", "evaluate@metal output metrics/metal.json") in told(report)
    with forged(audited, ("params.yaml", "tail_fraction: 0.5", "tail_fraction: 0.3")):
        assert {"tail_fraction" in finding.line for finding in audit(audited).findings} == {True}
    with forged(audited, ("versions.json", '"weibull": 2', '"weibull": 3')):
        assert {f"weibull@{name} parameter revisions.weibull" for name in CLASSES} == {
            finding.what for finding in audit(audited).findings
        }
    with forged(audited, ("params.yaml", "min_routing_accuracy: 0.0", "min_routing_accuracy: 0.5")):
        assert audit(audited).verdict == "clean"  # the gate is no part of a result
    with forged(audited, ("dvc.lock", "path: models/metal", "path: ../../models/metal")):
        report = audit(audited)
        assert {("git", "dvc.lock")} == told(report)
        assert "leaves its folder" in report.findings[0].found
        assert ["dvc.lock"] == [each.place for each in report.unchecked]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dvc.lock", {"dvc.lock"}),
        ("data/cloth.dvc", {"data/cloth.dvc"}),
        ("params.yaml", {"params.yaml"}),
        ("dvc.yaml", {"dvc.yaml"}),
        (
            "metrics/metal.json",
            {"evaluate@metal output metrics/metal.json", "version 2 tag evernorm.classes"},
        ),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\x00{", b"[1, 2]", b'"text"', b"{a: [}", b"{}"])
def test_a_commit_that_holds_nonsense_is_a_finding(audited, path, expected, content):
    """Whatever stands where DVC's files were; in no case a traceback."""
    with kept(audited / "mlflow.db"), reset(audited):
        (audited / path).write_bytes(content)
        restamp(audited)
        report = audit(audited)
    assert report.verdict == "findings"
    if content == b"{}" and path in {"params.yaml", "dvc.yaml"}:  # which is well-formed
        assert {"dvc.lock"} == {finding.place for finding in report.findings}
    else:
        assert expected <= {finding.what for finding in report.findings}


def test_a_commit_out_of_the_history_is_a_finding(audited):
    """The branch was moved back; what is in the workspace is that of no commit."""
    head = git(audited, "rev-parse", "HEAD").strip()
    with reset(audited):
        git(audited, "reset", "-q", "--soft", "HEAD~")
        report = audit(audited, "2")
    assert ("git", f"commit {head[:12]}") in told(report)
    assert ("workspace", "dvc.lock") in told(report)


def test_an_object_that_git_cannot_read_is_a_finding(audited):
    """The blob of dvc.lock, damaged in Git's own store."""
    blob = git(audited, "rev-parse", "HEAD:dvc.lock").strip()
    path = audited / ".git/objects" / blob[:2] / blob[2:]
    with kept(path):
        path.write_bytes(b"damaged")
        report = audit(audited, "2")
    assert ("git", "dvc.lock") in told(report)


def test_images_that_were_changed_and_versioned_again_are_not_those_of_the_manifest(changeable):
    """DVC agrees with the new image, the manifest does not; neither does the one that was slipped in."""
    image = changeable / "data/metal/train/good/003.png"
    image.write_bytes(image.read_bytes() + b"x")
    shutil.copyfile(image, changeable / "data/metal/test/good/extra.png")
    dvc(changeable, "add", "--quiet", "data/metal")
    restamp(changeable)
    found = told(audit(changeable))
    assert {
        ("manifest", "data/metal/train/good/003.png"),
        ("manifest", "data/metal/test/good/extra.png"),
        ("registry", "version 2 tag evernorm.data metal"),
        ("dvc.lock", "evaluate@metal input data/metal"),
    } <= found
    assert {"manifest", "registry", "dvc.lock", "run", "remote store"} == {place for place, _ in found}


def test_a_record_that_was_rewritten_does_not_fit_its_inputs(changeable):
    """Another input and parameter in a lineage, other weights, another hash in the links, committed as if the stages had written them."""
    path = changeable / "bank/metal/knowledge/lineage.json"
    record = json.loads(path.read_text())
    record["inputs"]["data/metal/train.json"] = "0" * 64
    record["params"]["seed"] = 7
    record["revision"] = 9
    record["weights"] = "0" * 64
    path.write_text(json.dumps(record))
    path = changeable / "bank/metal/evaluation/links.json"
    links = json.loads(path.read_text())
    links["links"][0]["knowledge"]["entry.safetensors"] = "0" * 64
    path.write_text(json.dumps(links))
    dvc(changeable, "commit", "--quiet", "--force", "--no-relink", "knowledge@metal", "evaluate@metal")
    restamp(changeable)
    found = told(audit(changeable))
    assert {
        ("lineage", "bank/metal/knowledge/lineage.json input data/metal/train.json"),
        ("lineage", "bank/metal/knowledge/lineage.json params_sha256"),
        ("lineage", "bank/metal/knowledge/lineage.json parameter seed"),
        ("lineage", "bank/metal/knowledge/lineage.json revision"),
        ("lineage", "bank/metal/knowledge/lineage.json weights"),
        ("lineage", "bank/metal/evaluation/links.json cloth"),
        ("dvc.lock", "weibull@metal input bank/metal/knowledge"),
    } <= found


@pytest.mark.slow
def test_versions_before_and_after_a_forgotten_class_are_whole(changeable, evernorm):
    """The new one shares the run of the first but has its own commit; what the old one had has moved on."""
    evernorm("forget", "metal", "--reason", "sold", "--workspace", changeable)
    for version, classes in (("3", ("cloth",)), ("2", CLASSES), ("1", ("cloth",))):
        report = audit(changeable, version)
        assert ("clean", ()) == (report.verdict, report.findings)
        assert report.subject is not None
        assert classes == report.subject.classes
        moved = [each.number for each in report.checked if each.what == "moved outputs"]
        assert bool(moved) == (version == "2")
    assert audit(changeable, "3").subject.run == audit(changeable, "1").subject.run
