"""`evernorm export` and `evernorm audit --exported`, on a learned workspace."""

import json

import pytest


def test_the_champion_is_exported_and_the_file_audited(learned, evernorm, tmp_path):
    """What was changed afterwards is found; what no version is behind is said."""
    workspace, _ = learned
    said = evernorm("export", "--out", tmp_path, "--workspace", workspace, "--size", "256x256").stdout
    assert "images of 256 x 256 pixels, from continual-bank version" in said
    file = tmp_path / "detector.onnx"
    report = json.loads(evernorm("audit", "--workspace", workspace, "--exported", file, "--json").stdout)
    assert ("clean", []) == (report["verdict"], report["findings"])
    assert {"place": "exported", "what": "files", "number": 1} in report["checked"]
    content = file.read_bytes()
    at = content.rindex(b"map_columns") - 1000  # amid a table
    file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    done = evernorm("audit", "--workspace", workspace, "--exported", file, "--json", check=False)
    assert ["exported"] == [finding["place"] for finding in json.loads(done.stdout)["findings"]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", "25"), "--size is '25', expected WIDTHxHEIGHT in pixels"),
        (("--format", "tflite"), "--format is 'tflite', expected onnx or openvino"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(learned, evernorm, tmp_path, options, said):
    done = evernorm("export", "--out", tmp_path, "--workspace", learned[0], *options, check=False)
    assert (1, False) == (done.returncode, "Traceback" in done.stderr)
    assert said in done.stderr
    assert [] == [*tmp_path.iterdir()]
