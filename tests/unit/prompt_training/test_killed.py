"""Training a prompt: what a kill or a foreign checkpoint leads to."""

import pytest

from evernorm import checkpoint
from evernorm.errors import StateError
from evernorm.files import read_arrays, write_arrays
from evernorm.prompts.params import Stopping
from tests.unit.prompt_training.conftest import KINDS, PREFIX, KilledError, assert_same, killing


@pytest.mark.parametrize("last", [1, 3])
@pytest.mark.parametrize("stopping", Stopping)
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_training_goes_on_as_if_nothing_had_happened(train, kind, stopping, last, tmp_path):
    """The same prompt and history, bit by bit, as of a training that was left alone."""
    options = {"kind": kind, "stopping": stopping, "learning_rate": 0.3}
    with pytest.raises(KilledError):
        train(**options, checkpoint=tmp_path, progress=killing(last))
    assert_same(train(**options), train(**options, checkpoint=tmp_path))


@pytest.mark.parametrize("stopping", Stopping)
def test_a_kill_while_the_state_is_written_costs_one_epoch(train, stopping, tmp_path, monkeypatch):
    """The arrays of the third epoch were written, the history that names them was not."""
    write, written = checkpoint.write_json, []

    def failing(path, value):
        written.append(path)
        if len(written) == 3:
            raise KilledError
        write(path, value)

    monkeypatch.setattr(checkpoint, "write_json", failing)
    with pytest.raises(KilledError):
        train(stopping=stopping, checkpoint=tmp_path)
    monkeypatch.undo()
    steps = []
    resumed = train(stopping=stopping, checkpoint=tmp_path, progress=lambda *step: steps.append(step))
    assert [(3, 4), (4, 4)] == steps
    assert_same(train(stopping=stopping), resumed)


def test_a_finished_training_is_not_repeated(train, tmp_path):
    """What is there is returned; more epochs go on from it; one state is kept."""
    finished = train(epochs=2, checkpoint=tmp_path)
    assert_same(finished, train(epochs=2, checkpoint=tmp_path, progress=killing(1)))
    assert_same(train(epochs=4), train(epochs=4, checkpoint=tmp_path))
    assert ["epoch-0004.safetensors", "history.json"] == sorted(path.name for path in tmp_path.iterdir())


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forget_a_moment(path):
    write_arrays(
        path, {name: array for name, array in read_arrays(path).items() if name != "exp_avg.block.003"}
    )


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("epoch-0002.safetensors", cut),
        ("epoch-0002.safetensors", forget_a_moment),
        ("epoch-0002.safetensors", lambda path: path.unlink()),
        ("history.json", cut),
        ("history.json", lambda path: path.write_text('{"epochs": 2}')),
        ("history.json", lambda path: path.write_text("[]")),
    ],
    ids=["arrays cut", "a moment lacks", "arrays lack", "history cut", "other history", "no history"],
)
def test_a_damaged_checkpoint_is_an_error(train, tmp_path, file, damage):
    """Neither a crash nor a silent start from nothing."""
    train(epochs=2, checkpoint=tmp_path)
    damage(tmp_path / file)
    with pytest.raises(StateError):
        train(checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ({}, {"first_block": 2}),
        ({"first_block": 2}, {}),
        ({}, {"kind": PREFIX}),
        ({"kind": PREFIX}, {}),
        ({"kind": PREFIX}, {"kind": PREFIX, "length": 1}),
    ],
    ids=str,
)
def test_the_checkpoint_of_other_prompts_is_an_error(train, tmp_path, mine, theirs):
    """Other blocks, fewer or more, or other shapes."""
    train(epochs=1, checkpoint=tmp_path, **theirs)
    with pytest.raises(StateError):
        train(checkpoint=tmp_path, **mine)
