"""A method of another distribution, whose weights evolve from class to class, through the whole pipeline.

No memory, no map, no routing: killed in mid-training, resumed, registered, served, audited.
"""

import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from evernorm.files import read_arrays, write_arrays
from tests.conformance.drawn import PLUGIN
from tests.helpers.warm import python, warm_interpreter
from tests.helpers.workspaces import MODEL, changes, lock, outlive_stages

EPOCHS = 4000  # a few seconds, so that it can be killed between two of them
CHECKPOINT = ".evernorm/training/metal"

_SERVED = """
import base64, json, sys
from pathlib import Path
import pandas as pd
from mlflow import pyfunc
(answer,) = pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame({"image": [base64.b64encode(Path(sys.argv[2]).read_bytes()).decode()]}))
print(json.dumps(answer))
"""


@pytest.fixture(scope="module", autouse=True)
def toy():
    """The distribution is installed, as far as the commands can see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PLUGIN), prepend=os.pathsep)
        with warm_interpreter():
            yield


@pytest.fixture(scope="module")
def chained(tmp_path_factory, fresh, draw_photos, evernorm, small, open_gate):
    """Two classes, the second killed in its training and begun again: workspace, photos, what the checkpoint held."""
    folder = tmp_path_factory.mktemp("chained")
    photos, workspace = draw_photos(folder / "photos"), fresh(folder / "workspace")
    options = ("--set", "method=toy", "--set", f"toy.prompts.epochs={EPOCHS}", *small, *open_gate)
    command = ("learn", "--data", photos, "--workspace", workspace, *options)
    begun = subprocess.Popen(
        [python(), "-m", "flows.commands.cli", *map(str, command)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not (found := list((workspace / CHECKPOINT).glob("*/epoch.safetensors"))) and begun.poll() is None:
        assert time.monotonic() < deadline, "it did not come to the second class's training"
        time.sleep(0.01)
    begun.send_signal(signal.SIGKILL)
    assert -signal.SIGKILL == begun.wait()
    outlive_stages(workspace)
    held = read_arrays(found[0])
    assert 0 < held["done"][0] < EPOCHS
    # Nothing is left to be trained: whoever begins anew ends with other weights.
    write_arrays(found[0], {**held, "done": np.array([EPOCHS])})
    resumed = evernorm(*command)
    assert "up to date" in resumed.stderr
    return workspace, photos, held


def test_it_goes_on_from_the_checkpoint_and_from_the_class_before(chained):
    """The state of the second class is that of the checkpoint, which the state of the first leads to."""
    workspace, _, held = chained
    trained = read_arrays(workspace / "bank/metal/prompts/trained.safetensors")
    np.testing.assert_array_equal(held["weights"], trained["weights"])
    stages = lock(workspace)
    before = {dependency["path"] for dependency in stages["prompts@metal"]["deps"]}
    assert "bank/cloth/carry" in before
    assert not {path for path in before if path.startswith("data/cloth")}


def test_it_is_registered_and_audited(chained, evernorm):
    """A version a class, the last of them champion, every byte accounted for."""
    from mlflow import MlflowClient

    workspace, _, _ = chained
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    assert ["1", "2"] == [each.after for each in changes(client)]
    metrics = json.loads((workspace / "metrics/metal.json").read_text())
    assert metrics["routing_accuracy"] is None
    assert {"cloth", "metal"} == set(metrics["row"]["image_auroc"])
    assert 0 == evernorm("audit", "--workspace", workspace).returncode


def test_it_is_served(chained, evernorm, tmp_path):
    """By the command and by the registry's model: a score and a decision, no map and no class."""
    from mlflow import MlflowClient

    workspace, photos, _ = chained
    image = photos / "metal/test/good/000.png"
    arguments = ("predict", image, "--workspace", workspace, "--json", "--out", tmp_path / "answers")
    (said,) = json.loads(evernorm(*arguments).stdout)
    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    source = client.get_model_version_by_alias(MODEL, "champion").source
    command = [python(), "-c", _SERVED, source, image]  # this process may have asked for the methods before
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (None, None) == (said["class"], answer["class"])
    assert said["anomalous"] == answer["anomalous"]
    np.testing.assert_allclose(said["score"], answer["score"], rtol=1e-4)
    assert answer["map"] is None
