"""`evernorm predict`: files, folders, and paths that come on standard input."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from PIL import Image
from pydantic import TypeAdapter

from evernorm.errors import DataError, ParamsError
from flows.commands.answers import Answer, Unreadable
from flows.commands.predict import predict_images

ROOT = Path(__file__).parents[2]


@pytest.fixture
def judged(learned, capsys):
    """``judged(*sources, …)``: what the command prints of them."""
    workspace, _ = learned

    def judge(*sources, out=None, **options):
        predict_images(list(sources), out, workspace, workspace / "models/metal", **options)
        return capsys.readouterr().out

    return judge


@pytest.fixture
def folder(learned, tmp_path):
    """A folder of images at two depths, among what is none."""
    photos = learned[1]
    for source, target in (
        ("cloth/train/good/000", "b/000"),
        ("metal/train/good/000", "a/000"),
        ("metal/train/good/001", "a/c/1"),
    ):
        (tmp_path / "in" / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos / f"{source}.png", tmp_path / f"in/{target}.png")
    for name in ("notes.txt", ".hidden.png", "a/list.csv"):
        (tmp_path / "in" / name).write_text("no image")
    return tmp_path / "in"


def test_a_folder_is_all_its_images_in_order(judged, folder, tmp_path):
    """To its depth, in the order of their names, as if each had been named; pictures of one name do not collide."""
    named = [folder / "a/000.png", folder / "a/c/1.png", folder / "b/000.png"]
    answers = json.loads(judged(folder, out=tmp_path / "maps", as_json=True))
    assert list(map(str, named)) == [answer["image"] for answer in answers]
    assert ["metal", "metal", "cloth"] == [answer["class"] for answer in answers]
    assert {"000-0.png", "1.png", "000-2.png"} == {path.name for path in (tmp_path / "maps").iterdir()}
    assert answers == json.loads(judged(*named, out=tmp_path / "maps", as_json=True))
    assert answers == [
        json.loads(line) for line in judged(folder, out=tmp_path / "maps", as_lines=True).splitlines()
    ]


def test_a_folder_without_images_is_refused_and_a_file_that_is_none_ends_nothing(judged, folder, tmp_path):
    """Its fault stands in the place of its answer, in a table, JSON or lines; the status tells of it."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in these folders") as told:
        judged(folder, tmp_path / "empty")
    assert (str(tmp_path / "empty"),) == told.value.faults
    (folder / "a/b.png").write_bytes(b"none")
    answers = [json.loads(line) for line in judged(folder, as_lines=True).splitlines()]
    assert [False, True, False, False] == ["error" in answer for answer in answers]
    assert str(folder / "a/b.png") in answers[1]["error"]
    assert answers == json.loads(judged(folder, as_json=True))
    table = judged(folder)
    assert "cannot be read" in table
    assert all(answer["image"] in table for answer in answers)  # no name is cut where there is no terminal


def test_an_answer_says_what_it_was_decided_on(judged, learned, tmp_path):
    """Score beside threshold, the bytes and the place of the defect; every line keeps the schema file, which is the model's."""
    schema = json.loads((ROOT / "docs/answer.schema.json").read_text())
    assert schema == TypeAdapter(Answer | Unreadable).json_schema(by_alias=True)
    defective = learned[1] / "metal/test/scratch/000.png"
    (tmp_path / "none.png").write_bytes(b"none")
    lines = judged(defective, tmp_path / "none.png", as_lines=True, out=tmp_path / "maps").splitlines()
    for line in lines:
        jsonschema.validate(json.loads(line), schema)
    answer = json.loads(lines[0])
    assert hashlib.sha256(defective.read_bytes()).hexdigest() == answer["sha256"]
    assert answer["anomalous"] is (answer["score"] > answer["threshold"]) is True
    assert (answer["map_max"] > answer["map_threshold"]) is (answer["region"] is not None)
    assert (None, None) == (answer["model"], answer["version"])  # a bank that was named
    with Image.open(answer["picture"]) as picture:
        assert 512 == picture.width
        assert picture.height > 256  # words above, a legend below


def test_paths_on_standard_input_are_answered_line_by_line(judged, learned, tmp_path, monkeypatch):
    """Blank lines are none; names that are not UTF-8 are names; the same name twice makes two pictures."""
    image = learned[1] / "metal/train/good/000.png"
    odd = os.fsdecode(bytes(tmp_path) + b"/\xff.png")
    shutil.copyfile(image, odd)
    text = b"\n".join([bytes(image), b"", b"nowhere.png", os.fsencode(odd), bytes(image), b""])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    from flows.commands.predict import COMING

    answers = [json.loads(line) for line in judged(COMING, out=tmp_path / "maps").splitlines()]
    assert [str(image), "nowhere.png", odd, str(image)] == [answer["image"] for answer in answers]
    assert ["error" in answer for answer in answers] == [False, True, False, False]
    assert answers[0]["score"] == answers[2]["score"] == answers[3]["score"]
    assert {"000.png", "000-3.png", Path(odd).name} == {path.name for path in (tmp_path / "maps").iterdir()}
    with pytest.raises(ParamsError, match="stands alone"):
        judged(COMING, image)


def test_an_answer_comes_before_the_next_question(learned):
    """A line asks for one image at a time: nothing waits in a buffer, and a bad image ends nothing."""
    workspace, photos = learned
    image = photos / "metal/train/good/000.png"
    command = [
        sys.executable,
        "-m",
        "flows.commands.cli",
        "predict",
        "-",
        "--bank",
        str(workspace / "models/metal"),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        for asked, key in ((image, "class"), ("nowhere.png", "error"), (image, "class")):
            process.stdin.write(f"{asked}\n")
            process.stdin.flush()
            assert key in json.loads(process.stdout.readline())
        process.stdin.close()
        assert ("", "") == (process.stdout.read(), process.stderr.read())
    assert 0 == process.returncode
