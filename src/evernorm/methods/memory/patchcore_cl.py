"""PatchCoreCL: one memory a class, M rows in all (Barusco et al., Algorithm 1)."""

from evernorm.memory.budget import shares
from evernorm.methods.memory.base import MemoryLearner, RoutedMethodParams
from evernorm.methods.registry import learner


@learner
class PatchCoreCL(MemoryLearner):
    """Each of T classes keeps M // T rows; the M mod T left-over rows go to the first classes.

    Greedy k-centre is nested, so re-running the coreset on a stored memory with a smaller k is reading
    fewer of its rows.
    """

    name = "patchcore_cl"
    group = RoutedMethodParams
    shrinks = True

    def rows_read(self, sizes: list[int]) -> list[int]:
        """M / T rows of each entry."""
        return shares(self.params.own(RoutedMethodParams).knowledge.budget, sizes)
