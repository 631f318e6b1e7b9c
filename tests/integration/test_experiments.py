"""An MLflow server that production uses too: experiments and other workspaces leave its champion alone."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.commands import demo
from tasks.tracking.summary import Summary
from tests.helpers.audits import moved
from tests.helpers.warm import python
from tests.helpers.workspaces import MODEL, changes, git

EXPERIMENT = """
import json, sys
from pathlib import Path
from flows.commands.learn import learn_folder
data, workspace, summary, settings = sys.argv[1:]
learn_folder(Path(data), Path(workspace), None, json.loads(settings), Path(summary), published=False)
"""


@dataclass
class Shared:
    """What is there after production learned two classes and someone else tried one, without test images.

    Attributes:
        env: Names the server.
        before: What the server's registry held before that.
        photos: The one class.
        workspace: Of the experiment.
        said: What it printed.
    """

    env: dict[str, str]
    before: dict
    photos: Path
    workspace: Path
    said: str

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(self.env["MLFLOW_TRACKING_URI"])


def registry(client) -> dict:
    """Everything in it."""
    return {
        "models": {each.name: dict(each) for each in client.search_registered_models()},
        "versions": [dict(each) for each in client.search_model_versions("")],
    }


@pytest.fixture(scope="module")
def shared(learned, tmp_path_factory, draw_photos, small):
    folder = tmp_path_factory.mktemp("shared")
    production = shutil.copytree(learned[0], folder / "production", symlinks=True)
    moved(production, str(learned[0]), str(production))
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{production / 'mlflow.db'}"}
    photos = draw_photos(folder / "photos", names=("cloth",), good=0, defective=0)
    found = Shared(env, {}, photos, folder / "workspace", "")
    found.before = registry(found.client)
    settings = json.dumps([each for each in small if each != "--set"])
    command = [python(), "-c", EXPERIMENT, photos, found.workspace, folder / "summary.json", settings]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found.said = " ".join(done.stdout.split())
    return found


def test_an_experiment_is_recorded_and_registers_nothing(shared):
    """Runs with their commit, a summary that says so; versions, aliases and log are as they were."""
    assert shared.before == registry(shared.client)
    assert ["1", "2"] == [each.after for each in changes(shared.client)]
    assert ["Learn cloth", "An empty stream"] == git(shared.workspace, "log", "--format=%s").splitlines()
    head = git(shared.workspace, "rev-parse", "HEAD").strip()
    assert 1 == len(shared.client.search_runs(["1"], f"tags.`evernorm.git_commit` = '{head}'"))
    summary = json.loads((shared.workspace.parent / "summary.json").read_text())
    assert summary["registered"] is None
    assert "registered not registered (an experiment)" in shared.said


def test_what_nobody_measured_is_told_with_what_normal_images_say(shared):
    """Which class, that it has no test images, and how far its own training images get."""
    summary = json.loads((shared.workspace.parent / "summary.json").read_text())
    assert {"cloth": "no test images"} == summary["not_measured"]
    known = summary["normal_images"]["cloth"]
    assert (20, 10) == (known["needed"], known["number"])
    assert "cloth: no test images; of the 10 normal images that calibrate it," in shared.said
    assert "extrapolation of the Weibull tail of 10 normal images" in shared.said
    assert "(20 images are needed)" in shared.said


def test_another_workspace_is_refused_before_it_learns_and_may_have_a_model_of_its_own(shared, evernorm):
    """Whatever it is asked to do; and what it does with its own leaves production alone."""
    workspace = shared.workspace
    arguments = ("learn", "--data", shared.photos, "--workspace", workspace)
    commit = git(workspace, "rev-parse", "HEAD")
    for command in (
        arguments,
        ("promote", "1", "--reason", "mine", "--workspace", workspace),
        ("rollback", "--reason", "mine", "--workspace", workspace),
        ("watch", "--once", "--inbox", shared.photos, "--workspace", workspace),
        ("history", "--workspace", workspace),
    ):
        done = evernorm(*command, check=False, env=shared.env)
        assert (1, "") == (done.returncode, done.stdout)
        assert f"the registered model {MODEL} of" in done.stderr
        assert "belongs to another workspace" in done.stderr
        assert "Set registry.name in params.yaml" in done.stderr
        assert "Traceback" not in done.stderr
    status = evernorm("status", "--workspace", workspace, env=shared.env).stdout
    assert "champion: none, as the registered model" in status
    assert (commit, shared.before) == (git(workspace, "rev-parse", "HEAD"), registry(shared.client))

    done = evernorm(*arguments, "--set", "registry.name=trial", env=shared.env)
    assert "trial version 1 champion: not measured: cloth (no test images)" in done.stderr
    version = shared.client.get_model_version_by_alias("trial", "champion")
    assert ("passed", "cloth") == (version.tags["gate"], version.tags["gate.unmeasured"])
    assert "not measured: cloth (no test images)" == version.tags["gate.reason"]
    (change,) = shared.client.search_model_versions("name = 'trial-promotions'")
    expected = "keeps all bounds on what was measured; not measured: cloth (no test images)"
    assert expected == change.tags["why"]
    image = next((shared.photos / "cloth/train/good").iterdir())
    done = evernorm("predict", image, "--workspace", workspace, "--json", env=shared.env)
    assert '"class": "cloth"' in done.stdout
    after = registry(shared.client)
    assert shared.before["models"] == {name: after["models"][name] for name in shared.before["models"]}


@pytest.fixture
def asked(learned, monkeypatch) -> list[bool]:
    """Whether what a command learns is published; nothing is learned."""
    summary = Summary.model_validate_json((learned[0].parent / "summary.json").read_bytes())
    calls: list[bool] = []

    def learn_folder(_data, _root, _order, _settings, file: Path, *, published: bool = True, **_) -> None:
        calls.append(published)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(summary.model_dump_json())

    monkeypatch.setattr(demo, "learn_folder", learn_folder)
    monkeypatch.setattr("tasks.demo_data.make_demo_data", lambda _: None)
    return calls


def test_a_demo_on_a_server_publishes_nothing(asked, tmp_path, monkeypatch):
    """It does in its own database: there is nobody to be dethroned."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    demo.run_demo(tmp_path / "demo")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    demo.run_demo(tmp_path / "demo")
    assert [True, False] == asked
