"""Why a version was made, where it was not a class that was learned: a person's word."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.workspace.forget import Forgotten


@dataclass(frozen=True)
class Occasion:
    """What a person did to a bank.

    Attributes:
        what: As the log of promotions names it.
        told: What was done, in words, as in ``After …``.
        reason: Why, in a line.
        tags: Of the version; they tell it from another one of the same bank.
        concerns: The class whose bounds are to be looked at as if it were new.
    """

    what: str
    told: str
    reason: str
    tags: Mapping[str, str]
    concerns: str | None = None

    @classmethod
    def forgetting(cls, forgot: Forgotten) -> "Occasion":
        """A class was forgotten."""
        tags = {
            "evernorm.forgot": forgot.name,
            "evernorm.reason": forgot.reason,
            "evernorm.forgot_at": forgot.at,
        }
        return cls("forget", f"forgetting {forgot.name}", forgot.reason, tags)

    @classmethod
    def threshold(cls, name: str, rate: float | None, reason: str) -> "Occasion":
        """A class was given a false-alarm rate of its own, or that of all again (None)."""
        told = "that of all classes" if rate is None else f"{rate:g}"
        tags = {"evernorm.threshold": f"{name}={told}", "evernorm.reason": reason}
        return cls("threshold", f"setting the false-alarm rate of {name} to {told}", reason, tags, name)
