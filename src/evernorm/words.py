"""Words as people write them."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun: ``1 class``, ``2 classes``; `many` is `one` with an s where it is not given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
