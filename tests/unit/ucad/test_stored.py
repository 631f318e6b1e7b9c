"""UCAD's bank on disk."""

import pytest

from evernorm.errors import StateError
from evernorm.files import read_arrays, write_arrays
from evernorm.methods.bank import load_bank, save_bank
from evernorm.params.groups import Device, PassEngine
from tests.unit.ucad.banks import NAMES, assert_same, bytes_of


def test_a_stored_bank_answers_the_same_and_can_go_on(learned, lessons, drawn, tmp_path):
    """Save, load: the same predictions and the same files bit by bit; then it learns a third class."""
    save_bank(learned, tmp_path / "a")
    loaded = load_bank(tmp_path / "a", Device.CPU, PassEngine.TORCH)
    assert ("ucad", learned.classes, learned.bank_bytes) == (
        loaded.learner.name,
        loaded.classes,
        loaded.bank_bytes,
    )
    images = [*drawn("textile", 2, seed=9), *drawn("machined_part", 2, seed=9)]
    assert_same(learned.predict(images), loaded.predict(images))
    save_bank(loaded, tmp_path / "b")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    further = loaded.learner.learn(lessons["blue_textile"], loaded.states[-1].carry)
    grown = loaded.learner.detector_of([*loaded.states, further])
    assert [bytes_of(state) for state in learned.states] == [bytes_of(state) for state in grown.states[:2]]
    assert (*NAMES, "blue_textile") == grown.classes


def test_how_a_prompt_was_trained_is_no_part_of_a_bank(learned, tmp_path):
    """Its history is read with the run that recorded it."""
    save_bank(learned, tmp_path)
    kept = read_arrays(tmp_path / "trained.safetensors")
    assert {f"{name}/block.{block:03d}" for name in NAMES for block in learned.network.shapes} == set(kept)
    assert any(name.startswith("history.") for name in learned.states[0].trained)


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("entries.safetensors", None),
        ("trained.safetensors", None),
        ("entries.safetensors", "textile/keys"),
        ("entries.safetensors", "textile/keys_grid"),
        ("entries.safetensors", "textile/rows"),
        ("trained.safetensors", "textile/block.003"),
        ("trained.safetensors", "textile/"),
        ("calibration/textile/weibull.json", None),
    ],
)
def test_a_bank_that_lost_a_part_is_refused(learned, tmp_path, file, part):
    """It is not routed by fewer classes, or seen without a prompt."""
    save_bank(learned, tmp_path)
    path = tmp_path / file
    if part is None:
        path.unlink()
    else:
        arrays = read_arrays(path)
        kept = {name: array for name, array in arrays.items() if not name.startswith(part)}
        assert len(kept) < len(arrays)
        write_arrays(path, kept)
    with pytest.raises(StateError):
        load_bank(tmp_path, Device.CPU, PassEngine.TORCH)
