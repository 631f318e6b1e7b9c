"""Who is champion, since when, made so by whom and why: a log in MLflow's registry, as aliases keep no history.

Each change is a version of the registered model `Registry.log`, so MLflow numbers them one after another whoever writes, and
the MLflow UI shows them. A change names the one before it by its hash. Of two that saw the same champion the first
stands and the second is lost, which makes promotion compare-then-set although MLflow's aliases have no such thing.
The alias follows the log.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from evernorm.errors import RegistryError
from evernorm.files import sha256_json
from evernorm.words import minute
from tasks.tracking.ownership import Registry
from tasks.tracking.people import user
from tasks.tracking.registry import CHAMPION, champion_of

NONE = "none"  # no champion, or no change before
_APPLIED = "applied"  # the alias was set; a mark on the record, not part of it
_FIGURES = (
    "mean_image_auroc",
    "forgetting",
    "routing_accuracy",
    "mean_false_alarm_rate",
    "mean_detection_rate",
)
_FIGURE = "figure."  # a tag for each


@dataclass(frozen=True)
class Change:
    """One change of the champion.

    Attributes:
        what: ``gate``, ``promote``, ``rollback``, ``forget`` or ``threshold``.
        before: Version that was champion, or ``none``.
        after: Version that became it.
        by: Who.
        why: The reason, in a line.
        at: When, ISO 8601, UTC.
        metrics: Figures of the new champion, by their names in MLflow.
        previous: `sha256` of the change before, or ``none``.
    """

    what: str
    before: str
    after: str
    by: str
    why: str
    at: str
    metrics: dict[str, float]
    previous: str

    @property
    def sha256(self) -> str:
        """Hash of all of it; the next change names it, so none can be altered or left out unseen."""
        return sha256_json(asdict(self))

    def tags(self) -> dict[str, str]:
        """As MLflow keeps and shows it."""
        fields = {key: value for key, value in asdict(self).items() if key != "metrics"}
        figures = {f"{_FIGURE}{name}": repr(value) for name, value in self.metrics.items()}
        return {**fields, **figures, "sha256": self.sha256}

    @property
    def in_words(self) -> str:
        """For whoever reads MLflow's page, as Markdown."""
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.metrics.items())
        who = f"{self.by}, {minute(self.at)} UTC"
        return "\n\n".join(
            [
                f"**{self.what}**: version {self.before} → {self.after}",
                self.why,
                who,
                *([figures] if figures else []),
            ]
        )

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Change":
        """From the tags of a version of the log.

        Raises:
            RegistryError: They are not those that were written.
        """
        names = ("what", "before", "after", "by", "why", "at", "previous")
        try:
            # Those of before were one tag.
            told = (
                json.loads(tags["metrics"])
                if "metrics" in tags
                else {
                    key.removeprefix(_FIGURE): value for key, value in tags.items() if key.startswith(_FIGURE)
                }
            )
            metrics = {str(key): float(value) for key, value in told.items()}
            change = cls(**{name: tags[name] for name in names}, metrics=metrics)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise RegistryError(f"no record of a promotion ({error!r})") from error
        if tags.get("sha256") != change.sha256:
            raise RegistryError("altered since it was written")
        return change


@dataclass(frozen=True)
class LoggedChange:
    """A version of the log.

    Attributes:
        number: Its place.
        change: What it says.
        stands: Whether it took effect; the second of two that saw the same champion did not.
        applied: Whether the alias was set for it.
    """

    number: int
    change: Change
    stands: bool
    applied: bool


@dataclass(frozen=True)
class Champion:
    """The champion as a decision saw it.

    Attributes:
        version: Its number; None where there is none.
        record: `Change.sha256` of what made it so, or ``none``.
    """

    version: str | None
    record: str


def read_log(registry: Registry) -> tuple[list[LoggedChange], list[str]]:
    """All changes in order, and what is wrong with the log, each with its place."""
    found = {int(each.version): each for each in Registry(registry.client, registry.log).versions()}
    faults = {number: "deleted" for number in range(1, max(found, default=0) + 1) if number not in found}
    entries: list[LoggedChange] = []
    last = NONE
    for number in sorted(found):
        tags = found[number].tags
        try:
            change = Change.of(tags)
        except RegistryError as error:
            faults[number] = error.message
            continue
        stands = change.previous == last
        last = change.sha256 if stands else last
        entries.append(LoggedChange(number, change, stands, tags.get(_APPLIED) == "true"))
    return entries, [f"{registry.log} version {number}: {fault}" for number, fault in sorted(faults.items())]


def standing(registry: Registry) -> list[Change]:
    """The changes that took effect, in order."""
    return [entry.change for entry in read_log(registry)[0] if entry.stands]


def recorded(registry: Registry) -> Champion:
    """The champion by the log; by the alias where there is no log yet."""
    if changes := standing(registry):
        return Champion(changes[-1].after, changes[-1].sha256)
    alias = champion_of(registry)
    return Champion(str(alias.version) if alias is not None else None, NONE)


def versions_there(registry: Registry) -> list[str]:
    """The versions of the bank that nobody has deleted, in order."""
    return [str(each.version) for each in registry.versions()]


def catch_up(registry: Registry) -> None:
    """Let the alias follow the log where a killed run left it behind."""
    last = next((entry for entry in reversed(read_log(registry)[0]) if entry.stands), None)
    if last is not None and not last.applied and last.change.after in versions_there(registry):
        _apply(registry, last)


def settle(registry: Registry) -> Champion:
    """Let the alias follow the log; return the champion that stands.

    Raises:
        RegistryError: The alias names another version than the log: it was set, or its version deleted, by hand.
    """
    catch_up(registry)
    seen, alias = recorded(registry), champion_of(registry)
    named = str(alias.version) if alias is not None else None
    if named != seen.version:
        there = versions_there(registry)
        if seen.version not in there:
            other = named or next(reversed(there), None)
            cure = (
                f"Say which is champion with `evernorm promote {other} --reason TEXT`"
                if other
                else "Learn again"
            )
            raise RegistryError(
                f"version {seen.version}, champion by the last promotion on record, was deleted. {cure}"
            )
        raise RegistryError(
            f"{CHAMPION} is {f'version {named}' if named else 'none'}, but the last promotion on record made version "
            f"{seen.version} champion: it was changed by hand. Say which is right with "
            f"`evernorm promote {named or seen.version} --reason TEXT`"
        )
    return seen


def change_champion(registry: Registry, what: str, version: str, why: str, seen: Champion) -> Change:
    """Make a version champion, if the champion is still the one the decision was made on.

    Args:
        registry: Claimed for this workspace.
        what: See `Change`.
        version: The new champion.
        why: See `Change`.
        seen: The champion that the decision was made on.

    Raises:
        RegistryError: Another change was faster.
    """
    made = registry.version(version)
    figures = registry.client.get_run(made.run_id).data.metrics if made.run_id else {}
    change = Change(
        what=what,
        before=seen.version or NONE,
        after=version,
        by=user(),
        why=why,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        metrics={key: float(figures[key]) for key in _FIGURES if key in figures},
        previous=seen.record,
    )
    written = registry.client.create_model_version(
        registry.log,
        source=str(made.source),
        run_id=made.run_id,
        tags=change.tags(),
        description=change.in_words,
    )
    entry = next(each for each in read_log(registry)[0] if each.number == int(written.version))
    if not entry.stands:
        stands = standing(registry)[-1]
        raise RegistryError(
            f"version {version} was to follow champion {change.before}, but {stands.by} made version {stands.after} "
            f"champion meanwhile ({stands.what}: {stands.why}); look at it and run again"
        )
    _apply(registry, entry)
    return change


def _apply(registry: Registry, entry: LoggedChange) -> None:
    registry.set_alias(CHAMPION, entry.change.after)
    registry.client.set_model_version_tag(registry.log, str(entry.number), _APPLIED, "true")
    # Whoever was faster may have set the alias before it was overwritten here.
    last = standing(registry)[-1]
    if last != entry.change:
        registry.set_alias(CHAMPION, last.after)
