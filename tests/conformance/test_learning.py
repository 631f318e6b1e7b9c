"""What holds of learning, for every method."""

from dataclasses import fields, is_dataclass, replace
from itertools import islice

import numpy as np
import pytest

from evernorm.data.experience import TestView
from evernorm.errors import EvernormError, StateError
from evernorm.methods.learner import NOTHING, StateKind


def same(one, other) -> None:
    """The same arrays, to the last bit."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_the_same_lesson_gives_the_same_state(learner, lessons, states):
    """Learned again, to the last bit."""
    again = learner.learn(lessons[0])
    for part in ("entry", "trained", "carry"):
        same(getattr(states[0], part), getattr(again, part))
    assert states[0].weights == again.weights
    assert vars(states[0].calibration.steps[0]).keys() == vars(again.calibration.steps[0]).keys()
    np.testing.assert_array_equal(states[0].calibration.steps[0].scores, again.calibration.steps[0].scores)


def test_an_independent_state_takes_nothing_from_the_class_before(learner, lessons, states):
    """Whatever was carried, and nothing is handed on; other states hand something on."""
    if learner.traits.state is not StateKind.INDEPENDENT:
        assert states[0].carry or learner.traits.state is StateKind.CUMULATIVE
        return
    assert [{}, {}, {}] == [state.carry for state in states]
    alone = learner.learn(lessons[1])
    same(states[1].entry, alone.entry)
    same(states[1].trained, alone.trained)


def test_a_chained_state_goes_on_from_the_one_before(learner, lessons, states):
    """Its state after a class depends on what was learned before."""
    if learner.traits.state is not StateKind.CHAINED:
        pytest.skip(f"{learner.name} is {learner.traits.state}")
    alone = learner.learn(lessons[1], NOTHING)
    parts = [{**state.entry, **state.trained, **state.carry} for state in (states[1], alone)]
    assert any(not np.array_equal(parts[0][name], parts[1][name]) for name in parts[0])


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(learner, lessons, states, tmp_path):
    """Killed between two epochs, then run again with the same checkpoint: the same bits, and no epoch anew."""
    if not learner.traits.trained:
        assert learner.train(lessons[0]) == {}
        return

    class KilledError(Exception):
        pass

    def kill(done: int, _total: int) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        learner.train(lessons[0], checkpoint=tmp_path / "state", progress=kill)
    seen: list[int] = []
    resumed = learner.train(
        lessons[0], checkpoint=tmp_path / "state", progress=lambda done, _total: seen.append(done)
    )
    same(states[0].trained, resumed)
    assert [1, 2] != seen[:2]


def test_no_test_image_can_be_reached_from_a_lesson(lessons):
    """Walked to its leaves, a lesson holds no view of the test split and no path of it."""
    reached, queue = [], [*lessons]
    while queue:
        each = queue.pop()
        reached.append(each)
        if is_dataclass(each):
            queue += [getattr(each, field.name) for field in fields(each)]
        elif isinstance(each, tuple | list):
            queue += each
        elif callable(each) and getattr(each, "__closure__", None):
            queue += [cell.cell_contents for cell in each.__closure__ if not callable(cell.cell_contents)]
    assert len(reached) > len(lessons)
    assert not any(isinstance(each, TestView) for each in reached)
    assert not [each for each in reached if isinstance(each, str) and each.startswith("test/")]


def test_what_was_learned_with_other_weights_is_refused(learner, states):
    """A bank of two kinds of features is never assembled."""
    odd = replace(states[1], weights="0" * 64)
    with pytest.raises(StateError, match="one backbone") as refused:
        learner.detector_of([states[0], odd])
    assert any(states[1].name in fault for fault in refused.value.faults)


def test_a_class_cannot_be_in_a_bank_twice(learner, states):
    """A bank is append-only."""
    with pytest.raises(StateError) as refused:
        learner.detector_of([states[0], states[0]])
    assert any("more than once" in fault for fault in refused.value.faults)


def test_a_class_of_too_few_images_is_refused(learner, lessons):
    """By an error of ours that says what is needed."""
    experience = lessons[0].experience
    few = replace(
        experience,
        paths=tuple(islice(experience.paths, 3)),
        sha256s=tuple(islice(experience.sha256s, 3)),
    )
    with pytest.raises(EvernormError, match="images"):
        learner.learn(replace(lessons[0], experience=few))
