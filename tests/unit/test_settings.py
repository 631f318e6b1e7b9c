"""Settings before they are written: what they make, paths named from where the command runs, the order."""

from pathlib import Path

import pytest

from evernorm.errors import ParamsError
from evernorm.params.model import default_params
from tasks.workspace.settings import stream_with, with_settings, with_whole_paths


def test_a_slip_is_an_error_of_the_users():
    """A group named as if it were a value is told, not a traceback."""
    with pytest.raises(ParamsError, match="features"):
        with_settings(default_params(), ["features=vit_base_patch16_224"])


def test_files_are_named_in_full(tmp_path, monkeypatch):
    """Stages run elsewhere; names that are no files here stay as they are."""
    monkeypatch.chdir(tmp_path)
    Path("vit.safetensors").touch()
    Path("random").mkdir()
    Path("random-dino").mkdir()
    settings = [
        "features.weights=vit.safetensors",
        "masks.sam.checkpoint=none.pth",
        "features.weights=random",
    ]
    expected = [f'features.weights="{tmp_path.resolve()}/vit.safetensors"', *settings[1:]]
    assert expected == with_whole_paths(settings)
    for key in (
        "masks.grounding.checkpoint",
        "masks.grounding.text_encoder",
        "mtrmb.prompts.text.encoder",
    ):
        assert [f'{key}="{tmp_path.resolve()}/random-dino"'] == with_whole_paths([f"{key}=random-dino"])


def test_learned_classes_keep_their_place():
    """New classes go to the end; another order of old ones needs another workspace."""
    assert ["b", "a", "c"] == stream_with(("b", "a"), ["c", "b"])
    with pytest.raises(ParamsError, match="was learned in the order b, a"):
        stream_with(("b", "a"), ["a", "b"])
    with pytest.raises(ParamsError, match="names c more than once"):
        stream_with((), ["c", "c"])
    with pytest.raises(ParamsError, match="Cat and cat differ only by case"):
        stream_with(("Cat",), ["cat"])
