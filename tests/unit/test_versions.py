"""versions.json: what results depend on besides images and parameters."""

import pytest

from evernorm.errors import StateError, WeightsError
from evernorm.files import read_json, sha256_file, write_json
from evernorm.methods.registry import learners
from evernorm.params.file import parse_params
from tasks.stages import STAGES
from tasks.workspace.paths import Paths
from tasks.workspace.versions import check_versions, record_versions, versions_of


def params(method="patchcore_cl", **more):
    return parse_params({"method": method, **more})


def test_a_replaced_weights_file_is_seen(tmp_path):
    """By its hash: stages depend on it, and none runs beside a file that says otherwise."""
    file, paths = tmp_path / "w.safetensors", Paths(tmp_path)
    file.write_bytes(b"old")
    chosen = params(features={"weights": str(file)})
    record_versions(chosen, paths)
    assert sha256_file(file) == read_json(paths.versions)["weights"]["backbone"]
    check_versions(chosen, paths)
    file.write_bytes(b"new")
    with pytest.raises(StateError, match=r"versions\.json does not name the weights and the code"):
        check_versions(chosen, paths)
    record_versions(chosen, paths)
    check_versions(chosen, paths)
    file.unlink()
    with pytest.raises(WeightsError, match="are no file"):
        record_versions(chosen, paths)


def test_an_upgrade_of_a_stage_is_seen(tmp_path, monkeypatch):
    """A revision raised by hand changes what the stages depend on, each its own."""
    paths, chosen = Paths(tmp_path), params()
    record_versions(chosen, paths)
    before = read_json(paths.versions)["revisions"]
    assert set(STAGES) == set(before)
    kind = learners()["patchcore_cl"]
    monkeypatch.setattr(kind, "revisions", {**kind.revisions, "weibull": before["weibull"] + 1})
    with pytest.raises(StateError):
        check_versions(chosen, paths)
    record_versions(chosen, paths)
    assert {"weibull"} == {
        stage for stage, number in read_json(paths.versions)["revisions"].items() if number != before[stage]
    }


def test_nothing_is_written_where_nothing_changed(tmp_path):
    """So that a second run leaves no trace."""
    paths = Paths(tmp_path)
    record_versions(params(), paths)
    stamp = paths.versions.stat().st_mtime_ns
    record_versions(params(), paths)
    assert stamp == paths.versions.stat().st_mtime_ns
    write_json(paths.versions, {})
    record_versions(params(), paths)
    assert versions_of(params()) == read_json(paths.versions)


def test_sams_checkpoint_counts_where_sam_is_asked_and_nowhere_else(tmp_path):
    """A file, a folder of files; a name on the hub has no hash."""
    folder = tmp_path / "sam"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"sam")
    (folder / "README.md").write_bytes(b"sam")
    digest = {"model.safetensors": sha256_file(folder / "model.safetensors")}

    def seen(method, structure, checkpoint):
        masks = {"structure": structure, "sam": {"checkpoint": str(checkpoint)}}
        return versions_of(params(method, masks=masks))["weights"]["sam"]

    assert digest == seen("ucad", "sam", folder) == seen("ucad", "sam", folder / "model.safetensors")
    assert {} == seen("ucad", "superpixels", folder) == seen("patchcore_cl", "sam", folder)
    assert {} == seen("ucad", "sam", "facebook/sam-vit-base")


def test_both_checkpoints_of_grounded_sam_count(tmp_path):
    """And the text encoder where it is apart; a tokenizer counts as weights do."""
    for folder in ("dino", "sam", "bert"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tokenizer.json").write_text(folder)
        (tmp_path / folder / "model.safetensors").write_text(folder)
    (tmp_path / "dino.pth").write_bytes(b"dino")

    def seen(engine, checkpoint, structure="grounded_sam", method="ucad"):
        grounding = {
            "engine": engine,
            "checkpoint": str(checkpoint),
            "text_encoder": str(tmp_path / "bert"),
        }
        sam = {"checkpoint": str(tmp_path / "sam")}
        weights = versions_of(
            params(method, masks={"structure": structure, "sam": sam, "grounding": grounding})
        )["weights"]
        return weights["grounding"], weights["sam"]

    def digests(folder):
        names = ("model.safetensors", "tokenizer.json")
        return {name: sha256_file(tmp_path / folder / name) for name in names}

    assert (digests("dino"), digests("sam")) == seen("transformers", tmp_path / "dino")
    file = {"dino.pth": sha256_file(tmp_path / "dino.pth")}
    assert ({**digests("bert"), **file}, digests("sam")) == seen("groundingdino", tmp_path / "dino.pth")
    assert ({}, digests("sam")) == seen("transformers", "IDEA-Research/grounding-dino-tiny")
    assert ({}, digests("sam")) == seen("transformers", tmp_path / "dino", structure="sam")
    assert ({}, {}) == seen("transformers", tmp_path / "dino", method="patchcore_cl")
