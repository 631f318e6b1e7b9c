"""DiffCont through the pipeline: what is replayed is shown and counted, and no earlier image is needed."""

import json
import shutil
import subprocess

import pytest
import yaml

from evernorm.files import read_arrays
from tests.helpers.warm import python
from tests.helpers.workspaces import lock

TINY = (
    "method=diffcont",
    "diffcont.prompts.size=8",
    "diffcont.prompts.channels=[8, 16]",
    "diffcont.prompts.epochs=4",
    "diffcont.prompts.replay.per_class=6",
    "diffcont.prompts.replay.steps=3",
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, fresh, draw_photos, evernorm, small, open_gate):
    """Two classes: workspace, photos, what was said."""
    folder = tmp_path_factory.mktemp("diffcont")
    photos, workspace = draw_photos(folder / "photos"), fresh(folder / "workspace")
    tiny = [word for setting in TINY for word in ("--set", setting)]
    done = evernorm("learn", "--data", photos, "--workspace", workspace, *tiny, *small, *open_gate)
    return workspace, photos, done


def test_what_was_replayed_is_in_the_run_of_the_class(learned):
    """A sheet of samples, the share of each class before that passed; nothing of it with the first class."""
    from mlflow import MlflowClient

    workspace, _, said = learned
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    runs = client.search_runs(["1"], "tags.`evernorm.kind` = 'experience'")
    first, second = (
        next(run for run in runs if run.data.tags["evernorm.class"] == name) for name in ("cloth", "metal")
    )
    trained = read_arrays(workspace / "bank/metal/prompts/trained.safetensors")
    accepted, tried = int(trained["replay.accepted"][0]), int(trained["replay.tried"][0])
    assert accepted / tried == second.data.metrics["replay/cloth"]
    assert (accepted < 6) == (f"{accepted} of {tried} samples of cloth passed the gate" in said.stderr)
    assert not [name for name in first.data.metrics if name.startswith("replay/")]
    pictures = {file.path for file in client.list_artifacts(second.info.run_id, "pictures")}
    assert "pictures/replay.png" in pictures
    assert "pictures/replay.png" not in {
        file.path for file in client.list_artifacts(first.info.run_id, "pictures")
    }


def test_the_second_class_is_trained_with_the_images_of_the_first_gone(learned, tmp_path):
    """By the stage itself, to the same bytes; DVC knows of no dependency either.

    In what order params.yaml lists the classes tells nothing of which was learned before which.
    """
    workspace, _, _ = learned
    trained = workspace / "bank/metal/prompts/trained.safetensors"
    before = trained.read_bytes()
    asked = {dependency["path"] for dependency in lock(workspace)["prompts@metal"]["deps"]}
    assert not {path for path in asked if path.startswith("data/cloth")}
    alone = shutil.copytree(workspace, tmp_path / "alone", symlinks=True)
    shutil.rmtree(alone / "data/cloth")
    params = yaml.safe_load((alone / "params.yaml").read_text())
    params["stream"] = dict(reversed(params["stream"].items()))
    (alone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    assert ["metal", "cloth"] == list(params["stream"])
    again = alone / "bank/metal/prompts/trained.safetensors"
    again.unlink()
    done = subprocess.run(
        [python(), "-m", "tasks.stages.prompts", "metal"],
        cwd=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert before == again.read_bytes()


def test_it_is_audited_and_answers_with_a_map(learned, evernorm, tmp_path):
    """Every byte accounted for; an answer names the class, and a picture shows where."""
    workspace, photos, _ = learned
    assert 0 == evernorm("audit", "--workspace", workspace).returncode
    image = photos / "metal/test/good/000.png"
    arguments = ("predict", image, "--workspace", workspace, "--json", "--out", tmp_path / "answers")
    (said,) = json.loads(evernorm(*arguments).stdout)
    assert said["class"] in {"cloth", "metal"}
    assert ["000.png"] == [picture.name for picture in (tmp_path / "answers").glob("*.png")]
