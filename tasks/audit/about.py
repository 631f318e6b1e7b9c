"""What is on record of a version beside its bytes: how good it is, who made it champion, with which parameters."""

import json

from evernorm.methods.registry import learners
from evernorm.params.dotted import flat
from tasks.audit.lock import Described
from tasks.audit.report import About, ClassFigures, Promotion
from tasks.tracking.ownership import Registry
from tasks.tracking.promotions import read_log


def promotions_of(registry: Registry, version: str) -> tuple[Promotion, ...]:
    """The changes by which a version became champion, or another took its place, in order."""
    changes = [entry.change for entry in read_log(registry)[0] if entry.stands]
    return tuple(
        Promotion(at=each.at, what=each.what, before=each.before, after=each.after, by=each.by, why=each.why)
        for each in changes
        if version in {each.before, each.after}
    )


def about(described: Described, promotions: tuple[Promotion, ...]) -> About:
    """Put it together; what the commit does not hold, or not as it should, is left out here and a finding elsewhere."""
    params = described.params or {}
    others = set(learners()) - {params.get("method")}
    return About(
        figures=_figures(described.metrics.get(described.classes[-1])),
        promotions=promotions,
        params=flat({key: value for key, value in params.items() if key not in others}),
    )


def _figures(content: bytes | None) -> dict[str, ClassFigures]:
    try:
        per_class = json.loads(content or b"{}").get("per_class", {})
        return {
            name: ClassFigures(**{key: figures.get(key) for key in ClassFigures.model_fields})
            for name, figures in per_class.items()
        }
    except (ValueError, AttributeError):
        return {}
