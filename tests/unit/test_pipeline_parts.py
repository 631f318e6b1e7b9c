"""The floor of tasks: gate, workspace, summary parts; what the end-to-end tests do not reach."""

import base64
import io
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from evernorm.errors import ParamsError, PipelineError, RegistryError
from evernorm.params.model import default_params
from tasks.workspace.workspace import Workspace


def test_a_new_workspace_is_a_git_and_dvc_repository_with_telemetry_off(tmp_path):
    """One commit, no telemetry, nothing left to add; opening it again changes nothing."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    config = (workspace.root / ".dvc/config").read_text().lower()
    assert "analytics = false" in config
    assert "check_update = false" in config
    assert workspace.dirty is False
    assert workspace.git("status", "--porcelain") == ""
    head, identity = workspace.head, workspace.identity
    again = Workspace.open_or_create(tmp_path / "w")
    assert (head, identity) == (again.head, again.identity)
    assert default_params() == again.params


def test_a_workspace_that_was_killed_while_it_was_made_is_finished(tmp_path):
    """A half-made directory is recognised and completed."""
    (tmp_path / "w/.evernorm").mkdir(parents=True)
    (tmp_path / "w/.evernorm/creating").touch()
    assert "An empty stream" == Workspace.open_or_create(tmp_path / "w").git("log", "--format=%s")


def test_git_as_a_person_has_set_it_up_does_not_reach_a_workspace(tmp_path, monkeypatch):
    """Line ends stay as they were hashed, lists of what to ignore and wishes to sign do not stop a commit."""
    (tmp_path / "ignored").write_text("*.json\nbank\n")
    settings = {
        "core.autocrlf": "true",
        "core.excludesFile": str(tmp_path / "ignored"),
        "commit.gpgsign": "true",
    }
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    for key, value in settings.items():
        subprocess.run(["git", "config", "--global", key, value], check=True)
    workspace = Workspace.open_or_create(tmp_path / "w")
    start = workspace.paths.bank("start", "carry") / "carry.json"
    before = start.read_bytes()
    assert "bank/start/carry/carry.json" in workspace.git("ls-files").splitlines()
    start.unlink()
    workspace.restore()
    assert before == start.read_bytes()


def test_a_command_run_from_a_git_hook_commits_into_its_own_workspace(tmp_path, monkeypatch):
    """Git tells its hooks which repository is meant; that is another one."""
    from flows.commands.environment import prepare

    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    prepare()
    assert "An empty stream" == Workspace.open_or_create(tmp_path / "w").git("log", "--format=%s")


@pytest.mark.parametrize(("told", "found"), [(None, "4"), ("26", "26")])
def test_numpy_s_threads_do_not_spin_between_answers_unless_the_user_says_so(monkeypatch, told, found):
    """What a stage learns with is left alone."""
    from flows.commands.environment import SERVING, prepare

    (name,) = SERVING
    for serving in (False, True):
        monkeypatch.setattr("os.environ", {"HOME": "/home", **({name: told} if told else {})})
        prepare(serving=serving)
        assert os.environ.get(name) == (found if serving else told)


def test_a_workspace_whose_path_no_address_can_hold_is_refused(tmp_path):
    """MLflow would cut it at a question mark, and DVC fill in the braces."""
    for name in ("what?", "{x}"):
        with pytest.raises(PipelineError, match="addresses of MLflow and DVC"):
            Workspace.open_or_create(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_foreign_directories_are_refused(tmp_path):
    """Other people's files are not made a workspace, and a plain folder is none."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(PipelineError, match="holds other files"):
        Workspace.open_or_create(tmp_path)
    with pytest.raises(PipelineError, match="is no evernorm workspace"):
        Workspace.open(tmp_path)


def test_settings_are_written_without_losing_comments(tmp_path):
    """params.yaml stays a file for people."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    comments = (workspace.root / "params.yaml").read_text().count("#")
    workspace.configure(
        ["patchcore_cl.knowledge.budget=500", "patchcore_cl.evaluate.routing=max"], ["b", "a"]
    )
    text = (workspace.root / "params.yaml").read_text()
    assert comments == text.count("#")
    expected = {"b": {"after": "start", "needs": "start"}, "a": {"after": "b", "needs": "start"}}
    assert expected == yaml.safe_load(text)["stream"]
    assert 500 == workspace.params.patchcore_cl.knowledge.budget
    before = text
    with pytest.raises(ParamsError, match=r"did you mean patchcore_cl\.knowledge\.budget"):
        workspace.configure(["patchcore_cl.knowledge.budge=9"])
    assert before == (workspace.root / "params.yaml").read_text()


@pytest.fixture(scope="module")
def changing(tmp_path_factory):
    """A workspace whose parameters are changed again and again."""
    return Workspace.open_or_create(tmp_path_factory.mktemp("changing") / "w")


levels = st.lists(st.integers(0, 4), unique=True, max_size=3).map(sorted)
one_setting = st.one_of(
    levels.map("features.layers={}".format),
    levels.map("ucad.knowledge.key_layers={}".format),
    st.integers(1, 999).map("patchcore_cl.knowledge.budget={}".format),
    st.sampled_from(["ucad", "joint", "replay"]).map("method={}".format),
    st.sampled_from(["'*/5 * * * *'", "0 3 * * 1-5"]).map("watch.cron={}".format),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(
        lambda text: f"watch.inbox={json.dumps(text, ensure_ascii=False)}"
    ),
)
# Words and numbers to one reader of YAML and not to the other.
odd_names = ("a", "on", "No", "y", "null", "1e3", "012", "0x1F", "1_000", "True", "NaN", "2026-01-01")
streams = st.none() | st.lists(st.sampled_from(odd_names), unique=True, max_size=4)


@settings(max_examples=30)
@given(changes=st.lists(st.tuples(one_setting, streams), min_size=1, max_size=5))
def test_whatever_is_set_is_what_is_read(changing, changes):
    """One setting after another: the file says what was set, and keeps its comments."""
    for setting, order in changes:
        try:
            said = changing.configure([setting], order)
        except ParamsError as error:
            if "cannot be changed" in str(
                error
            ):  # others are settings that are refused: the file has no fault
                raise
            continue
        assert said == changing.params
        assert said.stream.keys() == YAML().load(changing.root / "params.yaml")["stream"].keys()
    assert (changing.root / "params.yaml").read_text().count("# ") == changing.git(
        "show", "HEAD:params.yaml"
    ).count("# ")


def test_a_machine_without_a_git_identity_can_commit(tmp_path, monkeypatch):
    """A fresh machine has none; a configured one is used."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    workspace = Workspace.open_or_create(tmp_path / "w")
    assert "evernorm" == workspace.git("log", "--format=%an")
    subprocess.run(["git", "config", "user.email", "me@example.org"], cwd=workspace.root, check=True)
    subprocess.run(["git", "config", "user.name", "Me"], cwd=workspace.root, check=True)
    (workspace.root / "params.yaml").write_text("seed: 1\n")
    workspace.commit("change")
    assert "Me" == workspace.git("log", "-1", "--format=%an")


def test_what_cannot_be_served_has_its_fault_in_the_place_of_its_answer():
    """Bytes that are no image, text that is no base64, no text at all; a map that nobody can send."""
    from evernorm.serve import ServedBank

    served = ServedBank(SimpleNamespace(profiles=[], predict=lambda images: []), "abc")
    answers = served.predict({"image": [b"no image", "%%%", 3, "é"]})
    assert ["abc"] * 4 == [each["bank"] for each in answers]
    said = ("not an image", "text that is not base64", "a int; expected an image file as base64 text", "text")
    for answer, fault in zip(answers, said, strict=True):
        assert fault in answer["error"]
        assert {None} == {value for key, value in answer.items() if key not in {"bank", "error"}}
    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(encoded, "PNG")
    (answer,) = served.predict(base64.b64encode(encoded.getvalue()).decode(), {"map": "big"})
    assert "map 'big': expected none, png, full" == answer["error"]


def test_the_digest_of_a_bank_is_of_every_file_in_it(tmp_path):
    """A threshold alone makes another one."""
    from evernorm.methods.bank import bank_digest

    for name in ("bank.json", "calibration/cloth/weibull.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    before = bank_digest(tmp_path)
    assert before == bank_digest(tmp_path)
    (tmp_path / "calibration/cloth/weibull.json").write_text('{"rate": 0.2}')
    assert before != bank_digest(tmp_path)


def test_lineage_names_what_determines_a_result_and_no_more(tmp_path):
    """Inputs, parameters, versions: the same record for the same result, whatever the commit."""
    from evernorm.lineage import write_lineage

    (tmp_path / "in.txt").write_text("x")
    for name in ("1.json", "2.json"):
        write_lineage(
            tmp_path / name,
            stage="s",
            inputs=[tmp_path / "in.txt"],
            root=tmp_path,
            params={"seed": 0},
            packages=["numpy"],
            revision=3,
            weights="abc",
        )
    record = json.loads((tmp_path / "1.json").read_text())
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert {"in.txt"} == set(record["inputs"])
    assert (2, 3, "abc") == (record["schema"], record["revision"], record["weights"])
    assert np.__version__ == record["versions"]["numpy"]
    assert str(Path.home()) not in json.dumps(record)


def test_faults_that_can_pass_are_told_from_those_that_cannot():
    """A server out of reach is worth a retry, a refusal is not; both are told in a sentence."""
    from mlflow.exceptions import MlflowException

    from tasks.faults import PassingError, mlflow_faults

    unreachable = MlflowException("API request failed")
    unreachable.__cause__ = ConnectionError("refused")
    with pytest.raises(PassingError, match="http://x is out of reach"), mlflow_faults("http://x"):
        raise unreachable
    with pytest.raises(RegistryError, match="refuses: no such thing"), mlflow_faults("http://x"):
        raise MlflowException("no such thing", error_code=1)


def test_data_copied_but_not_added_is_added_by_the_next_run(tmp_path, draw_photos, monkeypatch):
    """A kill between the copy and `dvc add` leaves no stale hash: the class counts as not yet added."""
    from evernorm.data.validate import validate
    from tasks.workspace import data
    from tasks.workspace.pipeline import data_hash

    workspace = Workspace.open_or_create(tmp_path / "w")
    photos = draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    assert ["cloth"] == data.bring_in(workspace, photos, validate(photos, ["cloth"]))
    first = data_hash(workspace.root, "cloth")
    assert [] == data.bring_in(workspace, photos, validate(photos, ["cloth"]))
    (photos / "cloth/test/good/000.png").unlink()
    with monkeypatch.context() as killed:
        killed.setattr(data, "track", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            data.bring_in(workspace, photos, validate(photos, ["cloth"]))
    assert ["cloth"] == data.bring_in(workspace, photos, validate(photos, ["cloth"]))
    assert first != data_hash(workspace.root, "cloth")


LOCK = """schema: '2.0'
stages:
  masks@cloth:
    cmd: python -m tasks.stages.masks cloth
    deps:
    - path: data/cloth/train.json
      hash: md5
      md5: 99914b932bd37a50b983c5e7c90ae93b
      size: 2
    params:
      params.yaml:
        method: ucad
    outs:
    - path: masks/cloth
      hash: md5
      md5: 1d525a6a39d58acf376588a9dcb65438.dir
      size: 2
      nfiles: 1
"""


def test_a_dvc_lock_that_was_cut_short_can_be_read_again(tmp_path):
    """Wherever a kill cut it: it is what was committed, or what DVC can read and make whole by itself."""
    from dvc.dvcfile import Lockfile

    workspace = Workspace.open_or_create(tmp_path / "w")
    path = workspace.root / "dvc.lock"
    path.write_text(LOCK)
    workspace.commit("A stage")
    restored = 0
    with workspace.dvc.ask("a test") as repo:
        for cut in range(0, len(LOCK), 5):
            path.write_text(LOCK[:cut])
            with workspace.locked():
                left = path.read_text()
                Lockfile(repo, str(path)).load()
            assert left in {LOCK, LOCK[:cut]}
            restored += left == LOCK
    assert restored > 10


@pytest.mark.parametrize("left", [b"", b'{"write": {"masks'])
def test_what_a_kill_left_of_dvcs_list_of_readers_stops_nothing(tmp_path, left):
    """DVC writes it in place before and after every stage."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    (workspace.root / "dvc.yaml").write_text("stages: {one: {cmd: touch one, outs: [one]}}\n")
    (workspace.root / ".dvc/tmp/rwlock").write_bytes(left)
    with workspace.locked(), workspace.dvc.ask("one") as repo:
        repo.reproduce(["one"])
    assert (workspace.root / "one").is_file()


def test_commits_leave_other_changes_alone(tmp_path):
    """A user's own modified file neither stops nor enters a commit."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    (workspace.root / "NOTES.md").write_text("mine")
    workspace.git("add", "NOTES.md")
    workspace.git("commit", "-q", "-m", "notes")
    (workspace.root / "NOTES.md").write_text("mine, changed")
    head = workspace.head
    assert head == workspace.commit("nothing to say")
    (workspace.root / "params.yaml").write_text("seed: 3\n")
    with workspace.locked():
        assert head != workspace.commit("a seed")
    assert "M NOTES.md" == workspace.git("status", "--porcelain")


def test_a_workspace_inside_the_data_is_refused(tmp_path, draw_photos):
    """It would be taken for a class by the next run."""
    from flows.commands.learn import learn_folder

    photos = draw_photos(tmp_path / "photos", names=("cloth",), train=5, good=1, defective=1)
    with pytest.raises(ParamsError, match="lies inside"):
        learn_folder(photos, photos / "w", None, [], None)
    assert not (photos / "w").exists()


def test_what_a_killed_run_left_half_written_is_taken_back(tmp_path):
    """A dvc.lock that was cut short is that of the last commit again, or gone if there was none."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    lock = workspace.root / "dvc.lock"
    whole = "schema: '2.0'\nstages:\n  masks@cloth:\n    cmd: python -m tasks.stages.masks cloth\n"
    for short in ("", whole[: whole.index("md:")], whole[: len("schema: '2.0'\nst")]):
        lock.write_text(short)
        with workspace.locked():
            assert not lock.exists()
    lock.write_text(whole)
    with workspace.locked():
        workspace.commit("a lock")
    for short in ("", whole[: whole.index("md:")]):
        lock.write_text(short)
        with workspace.locked():
            assert whole == lock.read_text()


def test_what_is_committed_stays_learned_while_it_is_measured_again(tmp_path):
    """DVC removes a stage's figures before it runs; a run killed then must not take the stream for shorter."""
    workspace = Workspace.open_or_create(tmp_path / "w")
    workspace.configure(order=["cloth", "metal", "blue"])
    for name in ("cloth", "metal"):
        workspace.paths.metrics(name).write_text("{}")
    workspace.commit("two classes")
    workspace.paths.metrics("metal").unlink()
    assert ["cloth", "metal"] == workspace.learned()


def test_no_password_is_told():
    """An address in a message carries neither user nor password."""
    from tasks.faults import mlflow_faults

    uri = "https://user:geheim@mlflow.example"
    with pytest.raises(PipelineError) as told, mlflow_faults(uri):
        raise ConnectionError(f"no route to {uri}")
    assert "geheim" not in str(told.value)
    assert "https://mlflow.example is out of reach" in str(told.value)
