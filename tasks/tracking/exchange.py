"""What another champion would mean for whoever is served by it: which classes are lost, gained, known by other images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evernorm.errors import RegistryError
from tasks.tracking.ownership import Registry
from tasks.tracking.promotions import NONE, Change, recorded, standing, versions_there
from tasks.tracking.registry import data_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@dataclass(frozen=True)
class Exchange:
    """One champion in the place of another.

    Attributes:
        before: The champion's version; None where there is none.
        after: The version that is to be it.
        lost: Classes that only the one before knows.
        gained: Classes that only the one after knows.
        other: Classes that both know, from different images.
    """

    before: str | None
    after: str
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    other: tuple[str, ...]

    @property
    def matters(self) -> bool:
        """Whether the classes that are served, or the images they are known from, change."""
        return bool(self.lost or self.gained or self.other)


def promotion(registry: Registry, version: str) -> Exchange:
    """What it means to make a version champion.

    Raises:
        RegistryError: There is no such version.
    """
    return _exchange(registry, recorded(registry).version, version)


def rollback(registry: Registry) -> Exchange:
    """What it means to bring the champion before back.

    Raises:
        RegistryError: There is none.
    """
    now = standing_version(registry)
    return _exchange(registry, now, champion_before(registry, now))


def standing_version(registry: Registry) -> str:
    """The champion's version.

    Raises:
        RegistryError: There is none.
    """
    if (version := recorded(registry).version) is None:
        raise RegistryError("no version is champion; nothing was changed")
    return version


def champion_before(registry: Registry, now: str) -> str:
    """The version that a roll-back from the champion leads to.

    Raises:
        RegistryError: There is none.
    """
    there = versions_there(registry)
    line = [each for each in line_of_champions(standing(registry)) if each in there and each != now]
    if not line:
        raise RegistryError(f"there is no champion before version {now}; nothing was changed")
    return line[-1]


def line_of_champions(changes: list[Change]) -> list[str]:
    """The versions that a roll-back would go through, the present champion last."""
    line: list[str] = []
    for change in changes:
        if not line and change.before != NONE:
            line.append(change.before)
        if change.what == "rollback" and change.after in line:
            del line[line.index(change.after) + 1 :]
        else:
            line.append(change.after)
    return line


def existing(registry: Registry, version: str) -> "ModelVersion":
    """A version by its number.

    Raises:
        RegistryError: There is none; with those that there are.
    """
    if version not in (there := versions_there(registry)):
        known = f"it has {', '.join(there)}" if there else "it has none yet"
        raise RegistryError(f"{registry.name} has no version {version}; {known}")
    return registry.version(version)


def _exchange(registry: Registry, before: str | None, after: str) -> Exchange:
    new = data_of(existing(registry, after))
    old = data_of(registry.version(before)) if before in versions_there(registry) and before else {}
    return Exchange(
        before,
        after,
        lost=tuple(name for name in old if name not in new),
        gained=tuple(name for name in new if name not in old),
        other=tuple(name for name in new if name in old and old[name] != new[name]),
    )
