"""PatchCoreCL: one memory a class, M rows in all (Barusco et al., Algorithm 1)."""

from evernorm.memory.bank import shares
from evernorm.methods.memory.base import MemoryDetector
from evernorm.params.groups import Method


class PatchCoreCL(MemoryDetector):
    """Each of T classes keeps M // T rows; the M mod T left-over rows go to the first classes.

    Greedy k-centre is nested, so re-running the coreset on a stored memory with a smaller k is reading
    fewer of its rows.
    """

    method = Method.PATCHCORE_CL

    @staticmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """M / T rows of each entry."""
        return shares(budget, sizes)
