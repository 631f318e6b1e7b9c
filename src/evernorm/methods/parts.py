"""Which parts each named method is made of. Imports nothing heavy: every stage reads it."""

from dataclasses import dataclass

from evernorm.params import Method


@dataclass(frozen=True)
class Parts:
    """A method as a choice of parts.

    Attributes:
        structure: What segments the training images, or ``none``.
        prompt: What is trained, or ``none``.
    """

    structure: str = "none"
    prompt: str = "none"


PARTS = {method: Parts() for method in Method}
