"""What the tests of UCAD ask of a bank."""

from dataclasses import replace

import numpy as np

NAMES = ("textile", "machined_part")


def squeezed(picture):
    """The whole frame on 200 rows: the backbone, which takes squares, sees nearly the same."""
    return picture[np.arange(200) * 256 // 200]


def read_all(view):
    """The images of a test view."""
    return [view.read(number) for number in range(len(view))]


def prompt_of(detector, place):
    """The prompt of a class."""
    return detector.learner.adapter_of(detector.states[place].trained)


def with_swapped_keys(detector):
    """A bank in which every image goes to the other class."""
    one, two = detector.states
    return detector.learner.detector_of(
        [
            replace(
                state,
                entry={
                    **state.entry,
                    **{name: other.entry[name] for name in ("keys", "keys_grid", "descriptors")},
                },
            )
            for state, other in ((one, two), (two, one))
        ]
    )


def bytes_of(state):
    """Everything a class left, byte by byte; but for how its prompt was trained."""
    arrays = {**state.entry, **{name: state.trained[name] for name in state.trained if "block" in name}}
    return (
        {name: np.asarray(array).tobytes() for name, array in arrays.items()},
        [step.to_json() for step in state.calibration.steps],
        state.calibration.routing.to_json(),
    )


def assert_same(one, two):
    """Bit by bit the same predictions, NaN for NaN."""
    for a, b in zip(one, two, strict=True):
        assert (a.routed_class, a.unknown, a.anomalous) == (b.routed_class, b.unknown, b.anomalous)
        for what in ("score", "probability", "p_value"):
            np.testing.assert_array_equal(getattr(a, what), getattr(b, what))
        assert (a.map is None, a.map_threshold) == (b.map is None, b.map_threshold)
        if a.map is not None:
            np.testing.assert_array_equal(a.map, b.map)
