"""Words as people write them."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun: ``1 class``, ``2 classes``; `many` is `one` with an s where it is not given."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def figure(value: float | None, digits: int = 3, missing: str = "–") -> str:
    """A number with so many digits behind the point; `missing` where it is not known."""
    return missing if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in percent; a dash where it is not known."""
    return "–" if share is None else f"{share:.1%}"


def minute(at: str) -> str:
    """A time in ISO 8601, UTC, to the minute: ``2026-01-31 12:05``."""
    return at[:16].replace("T", " ")
