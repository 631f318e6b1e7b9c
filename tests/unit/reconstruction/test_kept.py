"""What is kept of the classes before."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evernorm.methods.reconstruction.kept import Kept


class Images:
    """Numbered images of a class."""

    def __init__(self, name: int, count: int) -> None:
        self.name, self.count = name, count

    def __len__(self) -> int:
        return self.count

    def read(self, number: int) -> np.ndarray:
        """All of one value: its class and number."""
        return np.full((2, 2, 3), [self.name, number, 0], np.uint8)


def kept(name: int, count: int, size: int) -> Kept:
    """Of a class whose last fifth was held out."""
    learned, held_out = np.split(np.arange(count), [count - max(5, count // 5)])
    return Kept.chosen(
        Images(name, count), learned, held_out, held_out.astype(np.float32), size, lambda each: each
    )


@given(st.lists(st.integers(8, 60), min_size=1, max_size=6), st.integers(1, 100))
def test_the_buffer_is_shared_by_the_classes(counts, size):
    """No more than it holds, but for two a class; images that were trained on are never judged, and keep the scores they had."""
    whole = kept(0, counts[0], size)
    for name, count in enumerate(counts[1:], 1):
        whole = whole.followed_by(kept(name, count, size), size)
    assert len(whole.rehearsed) + len(whole.judged) <= max(size, 2 * len(counts))
    assert len(counts) == len(whole.learned) == len(whole.counts)
    share = size // len(counts)
    for place, count in enumerate(counts):
        judged = whole.judged_of(place)
        assert 1 <= len(judged) <= max(1, share // 4)
        numbers = judged[:, 0, 0, 1]
        assert set(judged[:, 0, 0, 0]) == {place}
        assert (numbers >= count - max(5, count // 5)).all()
        np.testing.assert_array_equal(numbers, whole.scores_by_class()[place])
    learned = np.split(whole.rehearsed, np.cumsum(whole.learned)[:-1])
    for place, count in enumerate(counts):
        assert (learned[place][:, 0, 0, 1] < count - max(5, count // 5)).all()


def test_an_image_that_stays_was_there_before():
    """A smaller share is the beginning of the larger one."""
    first = kept(0, 60, 40)
    both = first.followed_by(kept(1, 60, 40), 40)
    np.testing.assert_array_equal(first.rehearsed[:15], both.rehearsed[:15])
    np.testing.assert_array_equal(first.judged[:5], both.judged_of(0))


def test_scores_alone_are_kept_whole():
    """Where the images stay at hand."""
    whole = Kept.scored(np.arange(7, dtype=np.float32)).followed_by(
        Kept.scored(np.arange(3, dtype=np.float32)), 1
    )
    assert [7, 3] == [len(each) for each in whole.scores_by_class()]
    assert not len(whole.rehearsed)


def test_it_is_stored_among_other_arrays():
    """And read again as it was."""
    one = kept(0, 20, 40)
    again = Kept.of({**one.arrays(), "means": np.zeros(3)})
    for name, value in one.arrays().items():
        np.testing.assert_array_equal(value, again.arrays()[name])
