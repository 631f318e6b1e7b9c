"""Settings of the command line: what is added to them, and paths named from where the command runs."""

from pathlib import Path

import pytest

from evernorm.errors import ParamsError
from evernorm.params.groups import Params
from flows.commands.run import with_defaults_of_backbone, with_whole_paths

VIT = "features.backbone=vit_base_patch16_224"


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ([VIT], ["method=ucad", "prompts.stopping=last"]),
        ([VIT, "method=ucad"], ["prompts.stopping=last"]),
        ([VIT, "prompts.stopping=loss"], ["method=ucad"]),
        ([VIT, "method=patchcore_cl"], []),
        (["features.backbone=wide_resnet50_2", "method=ucad"], []),
        ([], []),
    ],
)
def test_a_vision_transformer_learns_with_ucad_unless_told_otherwise(settings, added):
    """What the user says stands; the rest is the paper's."""
    assert [*added, *settings] == with_defaults_of_backbone(Params(), settings)


def test_a_slip_is_an_error_of_the_users():
    """A group named as if it were a value is told, not a traceback."""
    with pytest.raises(ParamsError, match="features"):
        with_defaults_of_backbone(Params(), ["features=vit_base_patch16_224"])


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
