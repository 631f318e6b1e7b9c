"""What an audit says: one model for the JSON, for the page and for what a person reads."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from evernorm.errors import EvernormError

Verdict = Literal["clean", "findings", "incomplete"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Checked(_Part):
    """How many things of a kind were checked in a place."""

    place: str
    what: str
    number: int


class Finding(_Part):
    """Something that is not what the records say.

    Attributes:
        place: Where: registry, promotions, run, git, dvc.lock, cache, remote NAME, workspace, manifest, lineage, artifact,
            exported.
        what: Which file, object or tag there.
        found: What is there.
        expected: What should be.
        nodes: The nodes of the lineage that it concerns.
    """

    place: str
    what: str
    found: str
    expected: str
    nodes: tuple[str, ...]

    @property
    def line(self) -> str:
        """In one line, without the place."""
        return f"{self.what}: {self.found}; expected {self.expected}"


class Unchecked(_Part):
    """Something that could not be checked, and why."""

    place: str
    why: str


class Output(_Part):
    """A file or folder as a commit describes it; the hash is DVC's."""

    path: str
    md5: str
    size: int | None
    files: int | None


class Node(_Part):
    """A step of the lineage.

    Attributes:
        name: ``data/<class>``, a DVC stage, or ``model``.
        inputs: What it was made from.
        outputs: What it made.
    """

    name: str
    inputs: tuple[Output, ...]
    outputs: tuple[Output, ...]


class Subject(_Part):
    """The version that was audited, as the registry has it; a tag that is missing is empty."""

    name: str
    version: str
    aliases: tuple[str, ...]
    classes: tuple[str, ...]
    run: str
    commit: str
    dvc_lock: str


class ClassFigures(_Part):
    """How good a class is in the bank, as the commit has it; None where it could not be measured."""

    image_auroc: float | None
    pixel_ap: float | None
    false_alarm_rate: float | None
    detection_rate: float | None


class Promotion(_Part):
    """A change of the champion (`tasks.tracking.promotions.Change`)."""

    at: str
    what: str
    before: str
    after: str
    by: str
    why: str


class About(_Part):
    """What is on record of a version beside its bytes.

    Attributes:
        figures: By class.
        promotions: The changes by which it became champion, or another took its place, in order.
        params: params.yaml of its commit, by whole names, without what other methods alone have.
    """

    figures: dict[str, ClassFigures]
    promotions: tuple[Promotion, ...]
    params: dict[str, str]


class Report(_Part):
    """What an audit saw.

    Attributes:
        asked: The version or alias that was asked for.
        subject: What that is; None where there is no such version or MLflow is out of reach.
        about: Figures, promotions, parameters; None where the commit is not to be had.
        lineage: From images to model, in the order of the stream.
        checked: What was checked.
        findings: What is wrong.
        unchecked: What could not be checked.
        verdict: ``clean``; ``findings`` where anything is wrong; ``incomplete`` where nothing is, as far as could be seen.
        at: When, ISO 8601, UTC.
        seconds: How long it took.
    """

    asked: str
    subject: Subject | None
    about: About | None
    lineage: tuple[Node, ...]
    checked: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]
    verdict: Verdict
    at: str
    seconds: float


class Notes:
    """What an audit has seen so far."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.unchecked: list[Unchecked] = []
        self._numbers: Counter[tuple[str, str]] = Counter()

    @property
    def checked(self) -> tuple[Checked, ...]:
        """In the order in which it was begun."""
        return tuple(
            Checked(place=place, what=what, number=number) for (place, what), number in self._numbers.items()
        )

    @property
    def verdict(self) -> Verdict:
        """A finding stands, whatever could not be seen."""
        if self.findings:
            return "findings"
        return "incomplete" if self.unchecked else "clean"

    def count(self, place: str, what: str, number: int = 1) -> None:
        """Something was checked."""
        self._numbers[place, what] += number

    def find(self, place: str, what: str, found: str, expected: str, *nodes: str) -> None:
        """Something is wrong."""
        what, found, expected = map(_readable, (what, found, expected))
        self.findings.append(Finding(place=place, what=what, found=found, expected=expected, nodes=nodes))

    def compare(self, place: str, what: str, found: object, expected: object, *nodes: str) -> bool:
        """Tell whether what was found is what was expected, and note where it is not; None is nothing at all."""
        if found == expected:
            return True
        there = "missing" if found is None else str(found)
        self.find(place, what, there, "none" if expected is None else str(expected), *nodes)
        return False

    def skip(self, place: str, why: str) -> None:
        """Something could not be checked."""
        self.unchecked.append(Unchecked(place=place, why=_readable(why)))

    def add(self, others: "Notes") -> None:
        """Take over what was noted elsewhere."""
        self.findings += others.findings
        self.unchecked += others.unchecked
        self._numbers += others._numbers

    @contextmanager
    def reaching(self, place: str) -> Iterator[None]:
        """Note what could not be reached, and go on after the block."""
        try:
            yield
        except EvernormError as error:
            self.skip(place, " ".join(str(error).split()))


def _readable(text: str) -> str:
    """In one line that can be printed and encoded, whatever is in the name of a file."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
