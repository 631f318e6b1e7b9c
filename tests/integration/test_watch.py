"""`evernorm watch`: what arrives is learned, what is not whole is left, and a killed run ends as if undisturbed."""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from evernorm.data.image import read_image
from evernorm.params.model import default_params
from tasks.inbox.delivery import pack
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import changes, dvc, git, kill_at, lock

STEPS = (
    "flows.watch.begin",
    "flows.watch.place",
    "tasks.workspace.data.track",
    "flows.learn.register",
    "flows.learn.push",
    "tasks.workspace.workspace.Workspace.commit",
    "flows.learn.stamp",
    "tasks.tracking.promotions._apply",
    "flows.watch.finish",
)


def client(workspace: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")


def state(workspace: Path) -> dict:
    """Everything that a second run must not do a second time."""
    mlflow = client(workspace)
    return {
        "lock": lock(workspace),
        "commits": git(workspace, "log", "--format=%s").splitlines(),
        "status": git(workspace, "status", "--porcelain"),
        "versions": sorted(
            str(each.version) for each in mlflow.search_model_versions("name = 'continual-bank'")
        ),
        "runs": sorted(run.info.run_name for run in mlflow.search_runs(["1"])),
        "champions": [change.after for change in changes(mlflow)],
        "received": json.loads((workspace / "received.json").read_text()),
        "unfinished": (workspace / ".evernorm/arriving.json").exists(),
    }


def with_remote(workspace: Path) -> Path:
    """Give a workspace a DVC remote beside it."""
    dvc(workspace, "remote", "add", "-d", "storage", str(workspace.with_name(f"{workspace.name}-remote")))
    return workspace


@pytest.fixture(scope="module")
def watched(tmp_path_factory, fresh, evernorm, draw_photos, small, open_gate):
    """A workspace that took two classes from an inbox that held more than that."""
    folder = tmp_path_factory.mktemp("watched")
    photos, inbox = draw_photos(folder / "photos", names=("cloth", "metal", "blue")), folder / "inbox"
    inbox.mkdir()
    for name in ("metal", "cloth"):
        pack(photos / name, str(inbox))
    shutil.copytree(photos / "blue", inbox / "half")
    pack(photos / "blue", str(inbox))
    (inbox / "blue/train/good/000.png").write_bytes(b"not what was packed")
    workspace = with_remote(fresh(folder / "workspace"))
    arguments = ("watch", "--once", "--workspace", workspace, "--inbox", inbox)
    return workspace, inbox, photos, evernorm(*arguments, *small, *open_gate, check=False)


@pytest.fixture
def copy(watched, tmp_path):
    """A copy of that workspace and of an inbox with what it took, to change; and the photos."""
    workspace, inbox, photos, _ = watched
    shutil.copytree(workspace, tmp_path / "workspace", symlinks=True)
    for name in ("cloth", "metal"):
        shutil.copytree(inbox / name, tmp_path / "inbox" / name)
    shutil.copytree(photos, tmp_path / "photos")
    return tmp_path / "workspace", tmp_path / "inbox", tmp_path / "photos"


def test_what_is_whole_is_learned_in_order_of_arrival(watched):
    """One commit and one version a class, each named; all is in the remote; the bank is drawn; nothing is left to do."""
    workspace, _, _, done = watched
    found = state(workspace)
    assert ["Learn cloth, version 2", "Learn metal, version 1", "An empty stream"] == found["commits"]
    assert (["1", "2"], ["1", "2"]) == (found["versions"], found["champions"])
    assert ("", False) == (found["status"], found["unfinished"])
    assert {"cloth", "metal"} == set(found["received"])
    assert "are in sync" in dvc(workspace, "status", "--cloud")
    assert "Learned metal: continual-bank version 1 is champion" in done.stdout
    for number, place in (("2", "HEAD"), ("1", "HEAD~1")):
        tags = client(workspace).get_model_version("continual-bank", number).tags
        assert git(workspace, "rev-parse", place).strip() == tags["evernorm.git_commit"]
    (stream,) = (
        run.info.run_id
        for run in client(workspace).search_runs(["1"])
        if run.data.tags["evernorm.kind"] == "stream"
    )
    assert "pictures/bank.png" in {each.path for each in client(workspace).list_artifacts(stream, "pictures")}


def test_what_is_not_whole_is_left_and_told(watched, prefect_server, tmp_path):
    """Each with all its faults: on standard error, in MLflow, and as an artifact in Prefect; the status tells cron."""
    workspace, inbox, _, done = watched
    assert 3 == done.returncode
    told = ("half is left in the inbox", "no manifest.json yet", "blue/train/good/000.png")
    report = [
        run for run in client(workspace).search_runs(["1"]) if run.data.tags["evernorm.kind"] == "inbox"
    ]
    text = client(workspace).download_artifacts(report[0].info.run_id, "inbox.md", tmp_path)
    wanted = {"artifacts": {"key": {"like_": "refusals-"}}}
    refusals = httpx.post(f"{prefect_server}/artifacts/filter", json=wanted).json()
    shown = next(each["data"] for each in refusals if "half" in each["data"])
    for said in (done.stderr, Path(text).read_text(), shown):
        assert "half" in said
        assert all(fault in said for fault in told[1:])
    assert 1 == len(report)
    assert b"not what was packed" == (inbox / "blue/train/good/000.png").read_bytes()


def test_a_second_look_changes_nothing(watched, evernorm):
    """No run, version or commit twice."""
    workspace, _, _, _ = watched
    before = state(workspace)
    assert 3 == evernorm("watch", "--once", "--workspace", workspace, check=False).returncode
    assert before == state(workspace)


def test_new_images_of_a_known_class_are_an_update(copy, evernorm):
    """Its entry is learned again, the other's is not; one commit, one version, reported as what it is."""
    workspace, inbox, photos = copy
    image = read_image(photos / "metal/train/good/000.png")[::-1]
    Image.fromarray(np.ascontiguousarray(image)).save(photos / "metal/train/good/900.png")
    pack(photos / "metal", str(inbox))
    before = state(workspace)
    done = evernorm("watch", "--once", "--workspace", workspace, "--inbox", inbox)
    after = state(workspace)
    assert "Updated metal: continual-bank version 3 is champion" in done.stdout
    replaced = "its 17 images are replaced by 18: 1 new, 17 as before, 0 removed"
    assert f"metal: {replaced}" in done.stderr  # before it is learned
    assert f"  {replaced}\n" in done.stdout
    assert ["Update metal, version 3", *before["commits"]] == after["commits"]
    assert (["1", "2", "3"], ["1", "2", "3"]) == (after["versions"], after["champions"])
    changed = {
        name for name in before["lock"] if before["lock"][name].get("outs") != after["lock"][name].get("outs")
    }
    assert "knowledge@metal" in changed
    assert not {"masks@cloth", "prompts@cloth", "knowledge@cloth", "weibull@cloth"} & changed
    assert "11 " in evernorm("status", "--workspace", workspace).stdout


def test_an_update_killed_in_a_stage_of_the_class_that_follows_ends_as_an_undisturbed_one(
    copy, tmp_path, evernorm
):
    """What the stage was to make again is gone then; the class that follows is no less learned for it."""
    workspace, inbox, photos = copy
    (photos / "metal/train/good/000.png").unlink()
    pack(photos / "metal", str(inbox))
    killed = shutil.copytree(workspace, tmp_path / "killed", symlinks=True)
    evernorm("watch", "--once", "--workspace", workspace, "--inbox", inbox)
    arguments = ("watch", "--once", "--workspace", killed, "--inbox", inbox)
    kill_at("subprocess.Popen.__init__", *arguments, said="tasks.stages.evaluate cloth")
    assert not (killed / "metrics/cloth.json").exists()
    done = evernorm(*arguments)
    assert "Updated metal: continual-bank version 3 is champion" in done.stdout
    assert state(workspace) == state(killed)


def test_a_class_that_cannot_be_learned_leaves_no_trace_and_is_not_tried_again(copy, evernorm):
    """Identical images have no tail to fit: the class fails in a stage, the next one is learned all the same."""
    workspace, inbox, photos = copy
    shutil.copytree(photos / "blue", photos / "alike")
    images = sorted((photos / "alike/train/good").glob("*.png"))
    for image in images[1:]:
        shutil.copyfile(images[0], image)
    before = state(workspace)
    pack(photos / "alike", str(inbox))
    for _ in range(2):
        done = evernorm("watch", "--once", "--workspace", workspace, "--inbox", inbox, check=False)
        assert 3 == done.returncode
        assert "alike is left in the inbox" in done.stderr
        assert "copies of one another" in done.stderr
        after = state(workspace)
        assert before["lock"] == after["lock"]
        assert (before["commits"], before["versions"]) == (after["commits"], after["versions"])
        assert not list(workspace.glob("*/alike*"))
        assert " M params.yaml\n" == after["status"]  # the inbox it was told
        assert "alike" not in (workspace / "params.yaml").read_text()
    assert "[1/1]" not in done.stderr
    pack(photos / "blue", str(inbox))
    assert "Learned blue" in evernorm("watch", "--once", "--workspace", workspace, check=False).stdout


def test_a_class_that_fails_after_a_parameter_was_changed_is_given_up_and_the_others_stand(copy, evernorm):
    """The classes before it were learned again by then; that is kept, and tells of no class that is not there."""
    workspace, inbox, photos = copy
    shutil.copytree(photos / "blue", photos / "alike")
    images = sorted((photos / "alike/train/good").glob("*.png"))
    for image in images[1:]:
        shutil.copyfile(images[0], image)
    pack(photos / "alike", str(inbox))
    arguments = ("watch", "--once", "--workspace", workspace, "--inbox", inbox)
    done = evernorm(*arguments, "--set", "patchcore_cl.knowledge.budget=120", check=False)
    assert 3 == done.returncode
    assert "alike is left in the inbox" in done.stderr
    found = state(workspace)
    assert not any("alike" in stage for stage in found["lock"])
    assert {"cloth", "metal"} == set(found["received"])
    assert ("", False) == (found["status"], found["unfinished"])
    assert not list(workspace.glob("*/alike*"))
    assert ["Give up alike", "Learn metal, cloth, version 3"] == found["commits"][:2]
    assert ["1", "2", "3"] == found["champions"]
    assert "clean" in evernorm("audit", "--workspace", workspace).stdout


def test_a_run_killed_at_every_step_ends_as_an_undisturbed_one(
    watched, tmp_path, fresh, evernorm, small, open_gate
):
    """Each time it goes on: the same bytes, one run, one version, one commit and one promotion a class."""
    expected = state(watched[0])
    workspace, inbox = with_remote(fresh(tmp_path / "workspace")), tmp_path / "inbox"
    shutil.copytree(watched[1] / "metal", inbox / "metal")
    arguments = ("watch", "--once", "--workspace", workspace, "--inbox", inbox, *small, *open_gate)
    for step in STEPS:
        kill_at(step, *arguments)
    evernorm(*arguments)
    found = state(workspace)
    metal = {stage: record for stage, record in expected["lock"].items() if stage.endswith("@metal")}
    assert metal == found["lock"]
    assert ["Learn metal, version 1", "An empty stream"] == found["commits"]
    assert (["1"], ["1"]) == (found["versions"], found["champions"])
    assert ("", False) == (found["status"], found["unfinished"])
    assert 2 == len(found["runs"])
    assert "are in sync" in dvc(workspace, "status", "--cloud")


def test_a_tracking_database_whose_making_was_killed_is_made_again(tmp_path, evernorm):
    """MLflow makes it in many steps that cannot be taken again."""
    workspace = Workspace.open_or_create(tmp_path / "workspace").root
    arguments = ("history", "--workspace", workspace)
    kill_at("sqlalchemy.engine.default.DefaultDialect.do_execute", *arguments, said="UPDATE alembic_version")
    assert not (workspace / "mlflow.db").exists()
    evernorm(*arguments)
    assert (workspace / "mlflow.db").is_file()


def test_a_person_may_roll_back_and_promote_and_read_what_happened(copy, evernorm):
    """A version taken back is not promoted again by itself; every change is on record with its reason."""
    workspace, _, photos = copy
    options = ("--workspace", workspace, "--reason")
    done = evernorm("rollback", *options, "too many\nalarms", check=False)
    assert "no longer served: cloth\n" in done.stdout
    assert (1, True) == (done.returncode, "nothing was changed; say --yes" in done.stderr)
    assert ["1", "2"] == state(workspace)["champions"]
    done = evernorm("rollback", *options, "too many\nalarms", "--yes")
    assert "champion: version 2 → 1" in done.stdout
    served = {
        line.split()[0]: line.split()[1]
        for line in evernorm("status", "--workspace", workspace).stdout.splitlines()
        if line.split() and line.split()[0] in {"cloth", "metal"}
    }
    assert {"metal": "yes", "cloth": "no"} == served
    done = evernorm("rollback", *options, "further", "--yes", check=False)
    assert (1, True) == (done.returncode, "no champion before version 1" in done.stderr)
    done = evernorm("learn", "--data", photos, "--workspace", workspace, "--order", "metal,cloth")
    assert "version 2 candidate: taken back by" in done.stderr
    assert "champion: version 1, serves metal\n" in evernorm("status", "--workspace", workspace).stdout
    done = evernorm("promote", 2, *options, "it was the lamp", "--yes")
    assert "served from then on: cloth\n" in done.stdout
    assert "champion: version 1 → 2" in done.stdout
    assert "version 2 is champion already" in evernorm("promote", 2, *options, "again").stdout
    done = evernorm("promote", 9, *options, "no such version", check=False)
    assert 1 == done.returncode
    assert "evernorm: continual-bank has no version 9; it has 1, 2\n" == done.stderr
    said = evernorm("history", "--workspace", workspace).stdout
    assert all(word in said for word in ("rollback", "2 → 1", "too many alarms", "1 → 2", "it was the lamp"))
    said = evernorm("history", "cloth", "--workspace", workspace).stdout
    assert git(workspace, "rev-parse", "--short=10", "HEAD").strip() in said
    assert 2 == said.count("gate: keeps all bounds") + said.count("promote: it was the lamp")


def test_an_inbox_that_is_none_is_told_in_a_sentence(tmp_path, evernorm):
    """No inbox named, one that is not there, a schedule without a server."""
    for arguments, said in (
        (("--once",), "no inbox is named"),
        (("--once", "--inbox", tmp_path / "nowhere"), "nowhere"),
        (("--once", "--inbox", "ftp://x/y"), "ftp"),
        (("--once", "--inbox", tmp_path), "overlap"),
    ):
        done = evernorm("watch", *arguments, "--workspace", tmp_path / "w", check=False)
        assert (1, "") == (done.returncode, done.stdout)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert default_params() == Workspace.open(tmp_path / "w").params  # an inbox that never worked is not kept
    environment = {"PREFECT_API_URL": ""}
    named = ("watch", "--inbox", tmp_path / "inbox", "--workspace", tmp_path / "w")
    done = evernorm(*named, env=environment, check=False)
    assert "a schedule is kept by a Prefect server" in done.stderr
    setting = ("--set", "watch.cron=*/15 * *")
    done = evernorm(*named, *setting, check=False)
    assert "watch.cron '*/15 * *' is no cron schedule" in done.stderr
