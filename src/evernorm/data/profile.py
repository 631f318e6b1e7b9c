"""What a bank keeps of the images that a class was learned from, to read others, to question them, and to name it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from evernorm.data.depth import FULL
from evernorm.data.manifest import Manifest
from evernorm.data.sizes import ImageSizes
from evernorm.errors import StateError


@dataclass(frozen=True)
class Profile:
    """Of one class.

    Attributes:
        display: What people call it.
        bit_depth: Bits used by those of its 16-bit files that do not tell them; None where there are none such.
        sizes: Of its training images.
    """

    display: str
    bit_depth: int | None
    sizes: ImageSizes

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Of the class of a manifest with training images."""
        return cls(manifest.display, manifest.bit_depth, ImageSizes.of(manifest))

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return {"display": self.display, "bit_depth": self.bit_depth, "sizes": self.sizes.to_json()}

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """As it was stored.

        Raises:
            StateError: It is nothing that `to_json` gives.
        """
        try:
            display, depth, sizes = stored["display"], stored["bit_depth"], stored["sizes"]
        except (KeyError, TypeError) as error:
            raise StateError(f"{stored!r:.80} is no profile of a class; learn it again") from error
        if not isinstance(display, str) or not (
            depth is None or (isinstance(depth, int) and 8 <= depth <= FULL)
        ):
            raise StateError(f"{stored!r:.80} is no profile of a class; learn it again")
        return cls(display, depth, ImageSizes.from_json(sizes))


def bit_depth_for(profiles: Iterable[Profile]) -> int | None:
    """Bits of a 16-bit file that does not tell them and may show any of these classes.

    Returns:
        What all classes with such files have, 16 where there are none; None where they differ, so that
        `evernorm.data.image.read_image` refuses what cannot be known.
    """
    depths = {profile.bit_depth for profile in profiles} - {None}
    return min((depth for depth in depths if depth), default=FULL) if len(depths) < 2 else None
