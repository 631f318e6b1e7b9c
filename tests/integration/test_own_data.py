"""Data as a factory has them: a product with a name of its own, a camera of 12 bits, an image in both splits."""

import json
import shutil

import jsonschema
import numpy as np
import pytest
from PIL import Image

from evernorm.data.manifest import Manifest
from evernorm.files import read_json

BLISTER, KEY = "Blister [Ø5 mm]", "Blister-5-mm"


@pytest.fixture(scope="module")
def photos(tmp_path_factory, draw_photos):
    """One such class, whose 16-bit files do not tell how many bits are used."""
    root = draw_photos(tmp_path_factory.mktemp("own") / "photos", names=("cloth",))
    (root / "cloth").rename(root / BLISTER)
    for path in (root / BLISTER).glob("t*/*/*.png"):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint32)
        Image.fromarray((grey * 4095 // 255).astype(np.uint16)).save(path)
    shutil.copy(root / BLISTER / "train/good/001.png", root / BLISTER / "test/good/000.png")
    return root


def test_such_data_are_learned_and_what_is_odd_is_told(
    photos, fresh, evernorm, small, tmp_path, pytestconfig
):
    """Refused at first; then learned without the image at fault, which is listed, and shown by its name."""
    from mlflow import MlflowClient

    workspace, summary = tmp_path / "w", tmp_path / "summary.json"
    command = ("learn", "--data", photos, "--workspace", workspace, *small)
    refused = evernorm(*command, check=False)
    assert refused.returncode == 1
    assert f"{BLISTER}/test/good/000.png: same content as train/good/001.png" in refused.stderr
    assert not workspace.exists()

    fresh(workspace)
    done = evernorm(*command, "--drop-faulty", "--order", BLISTER, "--summary", summary)
    assert f"{BLISTER}: 1 image left out:" in done.stderr
    assert "- test/good/000.png: same content as train/good/001.png\n" in done.stderr
    assert f"--set data.bit_depth_of.{KEY}=12" in done.stderr
    assert f"[1/1] {BLISTER}" in done.stderr
    assert f"1 of {BLISTER}" in done.stdout
    assert f"1 {BLISTER}" in done.stdout
    told = read_json(summary)
    jsonschema.validate(told, read_json(pytestconfig.rootpath / "docs/summary.schema.json"))
    assert told["classes"] == [KEY]
    assert told["display"] == {KEY: BLISTER}
    left = [{"path": "test/good/000.png", "fault": "same content as train/good/001.png"}]
    assert told["dropped"] == {KEY: left}
    assert Manifest.load(workspace / f"data/{KEY}/manifest.json").dropped[0].path == left[0]["path"]
    assert not (workspace / f"data/{KEY}/test/good/000.png").exists()
    assert "dropped" not in json.dumps(read_json(workspace / f"data/{KEY}/train.json")["records"])
    assert BLISTER in evernorm("status", "--workspace", workspace).stdout
    runs = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}").search_runs(["1"])
    assert f"01 {BLISTER} · patchcore_cl" in {run.info.run_name for run in runs}

    # Nothing is left out unasked, and the depth that is named now makes another class of it.
    assert evernorm(*command, check=False).returncode == 1
    again = evernorm(*command, "--drop-faulty", "--set", f"data.bit_depth_of.{KEY}=12")
    assert "of 256 levels" not in again.stderr
    assert "knowledge" in again.stderr
    assert read_json(workspace / f"data/{KEY}/train.json")["bit_depth"] == 12
