"""Which parts each named method is made of. Imports nothing heavy: every stage reads it."""

from dataclasses import dataclass

from evernorm.params.groups import Method


@dataclass(frozen=True)
class Parts:
    """A method as a choice of parts.

    Attributes:
        structured: Whether it asks where the parts of its training images are (`masks.structure`).
        prompted: Whether it trains prompts (`prompts.kind`).
    """

    structured: bool = False
    prompted: bool = False


PARTS = {method: Parts() for method in Method} | {Method.UCAD: Parts(structured=True, prompted=True)}
