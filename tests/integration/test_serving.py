"""The champion behind `mlflow models serve`, asked over HTTP by whoever can send JSON."""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from evernorm.data.image import read_image
from evernorm.methods.bank import load_bank
from infra.services.ports import free_ports

CHAMPION = "models:/continual-bank@champion"


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """The champion of a workspace behind a real server; the address to ask."""
    (port,) = free_ports(1)
    log = workspace.parent / "serve.log"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", CHAMPION, "--env-manager", "local"]
    with log.open("wb") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 180
    try:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if httpx.get(f"{url}/ping", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield f"{url}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.fixture(scope="module")
def line(tmp_path_factory, learned):
    """A copy of a workspace, the photos, and the address of the server of its champion."""
    workspace = shutil.copytree(learned[0], tmp_path_factory.mktemp("line") / "workspace", symlinks=True)
    with served(workspace) as url:
        yield workspace, learned[1], url


def ask(url: str, **payload: object) -> httpx.Response:
    """POST a payload."""
    return httpx.post(url, json=payload, timeout=120)


def test_every_payload_form_of_mlflow_gives_the_answers_of_the_bank(line):
    """Four forms of JSON, with rows or with columns, and CSV."""
    workspace, photos, url = line
    paths = [photos / "metal/test/good/000.png", photos / "cloth/test/hole/000.png"]
    texts = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    rows = [{"image": text} for text in texts]
    forms = (
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
        {"dataframe_records": rows},
        {"instances": rows},
        {"instances": texts},
        {"inputs": {"image": texts}},
        {"inputs": texts},
    )
    expected = load_bank(workspace / "models/metal").predict([read_image(path) for path in paths])
    first = ask(url, **forms[0])
    answers = first.json()["predictions"]
    for answer, prediction in zip(answers, expected, strict=True):
        assert (prediction.routed_class, prediction.anomalous) == (answer["class"], answer["anomalous"])
        np.testing.assert_allclose(prediction.score, answer["score"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(prediction.threshold, answer["threshold"], rtol=1e-6)
    for form in forms[1:]:
        assert first.content == ask(url, **form).content
    csv = "image\n" + "\n".join(texts)
    assert first.content == httpx.post(url, content=csv, headers={"Content-Type": "text/csv"}).content


def test_a_map_is_sent_where_it_is_asked_for(line):
    """None of it in a few hundred bytes; a grey picture in which 128 is the threshold; every number."""
    workspace, photos, url = line
    path = photos / "cloth/test/hole/000.png"
    text = base64.b64encode(path.read_bytes()).decode()
    plain = ask(url, inputs=[text])
    assert (None, True) == (plain.json()["predictions"][0]["map"], len(plain.content) < 1000)
    (prediction,) = load_bank(workspace / "models/metal").predict([read_image(path)])
    (answer,) = ask(url, inputs=[text], params={"map": "full"}).json()["predictions"]
    np.testing.assert_allclose(prediction.map, np.array(answer["map"]), rtol=1e-3, atol=1e-3)
    (answer,) = ask(url, inputs=[text], params={"map": "png"}).json()["predictions"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["map"]))))
    wanted = np.clip(prediction.map * (128 / prediction.map_threshold), 0, 255).round()
    assert np.abs(picture - wanted).max() <= 1
    assert list(prediction.region) == answer["region"]


def test_a_fault_of_an_image_is_told_in_its_place_and_of_a_payload_in_a_sentence(line):
    """The other images are answered; no stack trace goes to a client."""
    _, photos, url = line
    text = base64.b64encode((photos / "metal/test/good/000.png").read_bytes()).decode()
    answered = ask(url, inputs=["%%%", text]).json()["predictions"]
    assert ["text that is not base64" in (each["error"] or "") for each in answered] == [True, False]
    assert "metal" == answered[1]["class"]
    (answer,) = ask(url, inputs=[text], params={"map": "big"}).json()["predictions"]
    assert "map 'big': expected none, png, full" == answer["error"]
    for payload in ({"inputs": {"picture": [text]}}, {"pictures": [text]}):
        refused = ask(url, **payload)
        assert 400 == refused.status_code
        assert "stack_trace" not in json.dumps(refused.json())


def test_the_champion_is_exchanged_with_no_request_unanswered(line, evernorm):
    """A server with the new champion comes up beside the old one, which answers until the line asks the new one."""
    workspace, photos, url = line
    text = base64.b64encode((photos / "cloth/test/good/000.png").read_bytes()).decode()
    (before,) = ask(url, inputs=[text]).json()["predictions"]
    evernorm("rollback", "--reason", "x", "--yes", "--workspace", workspace)
    with served(workspace) as new:
        (still,), (after,) = (ask(each, inputs=[text]).json()["predictions"] for each in (url, new))
    assert before == still
    assert before["bank"] != after["bank"]
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    champion = client.get_model_version_by_alias("continual-bank", "champion")
    assert champion.tags["evernorm.bank"] == after["bank"]
