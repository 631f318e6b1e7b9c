"""Settings before they are written: what is added to them, paths named from where the command runs, the order."""

from pathlib import Path

import pytest

from evernorm.errors import ParamsError
from evernorm.params.model import default_params
from tasks.workspace.settings import stream_with, with_defaults_of_backbone, with_whole_paths

VIT = "features.backbone=vit_base_patch16_224"


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ([VIT], ["method=ucad", "ucad.prompts.stopping=last"]),
        ([VIT, "method=ucad"], ["ucad.prompts.stopping=last"]),
        ([VIT, "ucad.prompts.stopping=loss"], ["method=ucad"]),
        ([VIT, "method=patchcore_cl"], []),
        (["features.backbone=wide_resnet50_2", "method=ucad"], []),
        ([], []),
    ],
)
def test_a_vision_transformer_learns_with_ucad_unless_told_otherwise(settings, added):
    """What the user says stands; the rest is the paper's."""
    assert [*added, *settings] == with_defaults_of_backbone(default_params(), settings)


def test_a_slip_is_an_error_of_the_users():
    """A group named as if it were a value is told, not a traceback."""
    with pytest.raises(ParamsError, match="features"):
        with_defaults_of_backbone(default_params(), ["features=vit_base_patch16_224"])


def test_files_are_named_in_full(tmp_path, monkeypatch):
    """Stages run elsewhere; names that are no files here stay as they are."""
    monkeypatch.chdir(tmp_path)
    Path("vit.safetensors").touch()
    Path("random").mkdir()
    settings = [
        "features.weights=vit.safetensors",
        "masks.sam.checkpoint=none.pth",
        "features.weights=random",
    ]
    expected = [f'features.weights="{tmp_path.resolve()}/vit.safetensors"', *settings[1:]]
    assert expected == with_whole_paths(settings)


def test_learned_classes_keep_their_place():
    """New classes go to the end; another order of old ones needs another workspace."""
    assert ["b", "a", "c"] == stream_with(("b", "a"), ["c", "b"])
    with pytest.raises(ParamsError, match="was learned in the order b, a"):
        stream_with(("b", "a"), ["a", "b"])
    with pytest.raises(ParamsError, match="names c more than once"):
        stream_with((), ["c", "c"])
    with pytest.raises(ParamsError, match="Cat and cat differ only by case"):
        stream_with(("Cat",), ["cat"])
