"""The code blocks of the documents, run as they stand, one after the other in a folder that holds `photos/`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.warm import python

ROOT = Path(__file__).parents[2]
# The last one ends with a class that is forgotten.
DOCUMENTS = ("README.md", "docs/threshold.md", "docs/serving.md", "docs/backup.md", "docs/learn.md")
# Small, so that a block takes seconds.
SMALL = (
    "features.image_size=64",
    "patchcore_cl.knowledge.budget=200",
    "ucad.prompts.epochs=1",
    "gate.min_image_auroc=0",
    "gate.min_routing_accuracy=0",
    "gate.max_false_alarm_rate=1",
    "gate.min_detection_rate=0",
)
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What these do is the matter of targets and tests of their own.
_ELSEWHERE = re.compile(r"^\s*(make|pip|git|docker|mlflow|prefect)\b", re.MULTILINE)


def blocks() -> list:
    """Language and code of every block that can be run here, with its place for a name."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            if block[1] == "python" or not _ELSEWHERE.search(block[2]):
                place = f"{name}:{text[: block.start()].count(chr(10)) + 1}"
                found.append(pytest.param(block[1], block[2], id=place))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw_photos) -> Path:
    """Where a newcomer reads one document after the other."""
    return draw_photos(tmp_path_factory.mktemp("documents") / "photos").parent


@pytest.mark.parametrize(("language", "code"), blocks())
def test_what_a_document_shows_can_be_done(language, code, folder):
    """Commands and code end well; a block may need those before it."""
    command = [python(), "-c", code]
    if language == "bash":
        small = " ".join(f"--set {setting}" for setting in SMALL)
        code = re.sub(r"^(evernorm learn .*)$", rf"\1 {small}", code, flags=re.MULTILINE)
        # These learn the stream several times over: one class and two methods will do.
        one = f"--order cloth {small}"
        code = re.sub(r"^(evernorm ablate .*)$", rf"\1 {one}", code, flags=re.MULTILINE)
        two = f"--methods replay,patchcore_cl {one}"
        code = re.sub(r"^(evernorm compare .*)$", rf"\1 {two}", code, flags=re.MULTILINE)
        command = ["bash", "-euo", "pipefail", "-c", code]
    places = (str(Path(each).parent) for each in (python(), sys.executable))
    env = {**os.environ, "PATH": os.pathsep.join([*places, os.environ["PATH"]])}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
