"""What a bank is made of: its settings, the classes it remembers, and a class as it is read now."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evernorm.calibration.weibull import Calibration, Calibrations
from evernorm.memory.bank import Entry
from evernorm.memory.search import NearestRows
from evernorm.params.groups import KnowledgeParams, MaskParams, Params, PromptParams, Routing, WeibullParams
from evernorm.prompts.prompt import Prompt


@dataclass(frozen=True)
class Settings:
    """What a bank needs of params.yaml, and carries with it."""

    knowledge: KnowledgeParams
    weibull: WeibullParams
    routing: Routing
    seed: int
    batch_size: int
    masks: MaskParams = field(default_factory=MaskParams)
    prompts: PromptParams = field(default_factory=PromptParams)

    @classmethod
    def of(cls, params: Params) -> "Settings":
        """Take them from params.yaml."""
        return cls(
            params.knowledge,
            params.weibull,
            params.evaluate.routing,
            params.seed,
            params.features.batch_size,
            params.masks,
            params.prompts,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for `from_json`."""
        groups = ("knowledge", "weibull", "masks", "prompts")
        return {
            **{name: getattr(self, name).model_dump(mode="json") for name in groups},
            "routing": self.routing.value,
            "seed": self.seed,
            "batch_size": self.batch_size,
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Settings":
        """Rebuild from plain values; a bank of before `masks` and `prompts` had none of their parts."""
        return cls(
            KnowledgeParams(**values["knowledge"]),
            WeibullParams(**values["weibull"]),
            Routing(values["routing"]),
            values["seed"],
            values["batch_size"],
            MaskParams(**values.get("masks", {})),
            PromptParams(**values.get("prompts", {})),
        )


class Remembered(NamedTuple):
    """A class in the bank: UCAD's key, prompt and knowledge, and how to read its scores."""

    entry: Entry
    calibrations: Calibrations
    prompt: Prompt | None = None


class Visible(NamedTuple):
    """A class as it is read now: its rows within the budget and the calibration for that many."""

    name: str
    memory: NearestRows
    calibration: Calibration
