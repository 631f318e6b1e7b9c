"""Products that the bank never learned: when an image is called unknown.

An image farther from the keys of its class than the class's own images are (the tail of its leave-one-out
routing distances) is not normal. That alone does not make it another product: where normal images are alike,
every defect lies in that tail. So the limit stands part of the way, on a logarithmic scale, from the tail to
the nearest other class of the bank, which says how far apart products are.
"""

from dataclasses import dataclass

import numpy as np

from evernorm.types import Doubles, Flags, Floats, Indices


@dataclass(frozen=True)
class UnknownRule:
    """The limits of a bank of T classes.

    Attributes:
        tails: ``[T]``, routing distance from which on an image is in the class's tail.
        between: ``[T, T]``, routing distance from the keys of class t (row) to class s; infinite where s is far.
        margin: Part of the way from the tail to the nearest other class; 0: the tail alone.
    """

    tails: Doubles
    between: Floats
    margin: float

    @property
    def limits(self) -> Doubles:
        """Routing distance beyond which an image is none of class t, ``[T]``.

        Infinite for a bank of one class with a margin: nothing tells how far another product would be.
        """
        if self.margin == 0:
            return self.tails
        apart = self.between.astype(np.float64) + np.diag(np.full(len(self.tails), np.inf))
        nearest = apart.min(axis=1, initial=np.inf)
        limits: Doubles = np.maximum(self.tails, self.tails ** (1 - self.margin) * nearest**self.margin)
        return limits

    def without(self, place: int) -> "UnknownRule":
        """The rule of the bank that never learned this class."""
        tails, between = np.delete(self.tails, place), np.delete(np.delete(self.between, place, 0), place, 1)
        return UnknownRule(tails, between, self.margin)

    def applies(self, distances: Floats, place: Indices) -> Flags:
        """Whether each image is unknown, bool ``[n]``, by its routing distances float32 ``[n, T]``.

        Args:
            distances: To each class.
            place: int64 ``[n]``, the class each image goes to.
        """
        beyond: Flags = distances[np.arange(len(distances)), place] > self.limits[place]
        return beyond

    @property
    def tells_left_out(self) -> bool:
        """Whether the bank without one of its classes has a limit: of one class alone, nothing is far with a margin."""
        return len(self.tails) >= (3 if self.margin > 0 else 2)

    def left_out(self, distances: Floats, place: Indices) -> Flags:
        """Whether a bank that never learned the class at ``place[i]`` would call image i unknown.

        Entries are independent, so such a bank is a column less in the routing distances.
        """
        unknown = np.empty(len(distances), np.bool_)
        for each in np.unique(place):
            of, rest = place == each, self.without(each)
            remaining = np.delete(distances[of], each, axis=1)
            unknown[of] = rest.applies(remaining, remaining.argmin(axis=1))
        return unknown
