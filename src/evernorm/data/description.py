"""What a class is, in the words of whoever supplies it: a sentence or a few."""

from typing import Annotated, Final

from pydantic import AfterValidator

FILE: Final = "class.txt"
"""Where the folder of a class keeps it."""

LONGEST = 1000  # characters


def tidy(text: str) -> str:
    """A description with single spaces between its words, whatever was between them, and none around it.

    Raises:
        ValueError: It holds what cannot be seen, or is too long; says so, and what to do.
    """
    text = " ".join(text.split())
    if unseen := sorted({letter for letter in text if not letter.isprintable()}):
        raise ValueError(f"holds {', '.join(map(ascii, unseen))}, which cannot be seen; remove it")
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters; shorten it to {LONGEST:,} at most")
    return text


def decode(content: bytes) -> str:
    """The description in the bytes of a file; empty where it says nothing.

    Raises:
        ValueError: As `tidy`, or it is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")  # some editors begin a file with a mark
    except UnicodeDecodeError:
        raise ValueError("not UTF-8; save it as UTF-8") from None
    return tidy(text)


Description = Annotated[str, AfterValidator(tidy)]
"""What a class is; empty where nobody has said."""
