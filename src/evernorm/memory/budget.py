"""A budget that T classes share, each reading a prefix of its rows (PatchCoreCL Algorithm 1)."""

from evernorm.errors import StateError


def shares(budget: int, sizes: list[int]) -> list[int]:
    """Rows each class may keep: M // T, one more for the first M mod T, never more than it has.

    Args:
        budget: M, rows in all.
        sizes: Rows that each of the T classes has, in order of arrival.

    Raises:
        StateError: More classes than rows.
    """
    classes = len(sizes)
    if classes > budget:
        raise StateError(f"{classes} classes cannot share {budget} rows; raise the budget")
    each, left_over = divmod(budget, classes) if classes else (0, 0)
    return [min(size, each + (place < left_over)) for place, size in enumerate(sizes)]


def prefixes(budget: int, size: int) -> list[int]:
    """The sizes that an entry is read at as classes arrive: M, M // 2, M // 3, …, descending, each once.

    Exact for the first 32 classes; beyond that each step is a fifth smaller, down to 10 rows (a reader
    takes the largest that fits).
    """
    steps = [budget // classes for classes in range(1, 33)]
    while steps[-1] > 10:
        steps.append(max(10, steps[-1] * 4 // 5))
    return sorted({min(step, size) for step in steps if step > 0}, reverse=True)
