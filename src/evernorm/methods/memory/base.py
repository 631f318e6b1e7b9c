"""What PatchCoreCL and the baselines share: a memory of frozen patch features, searched for the nearest.

They differ in which rows of which classes are read (`MemoryLearner.rows_read`) and in what they learn from.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from evernorm.alignment.encoding import of_patches
from evernorm.calibration.evidence import Evidence
from evernorm.calibration.reading import Reading
from evernorm.errors import StateError
from evernorm.features.extract import extract
from evernorm.features.frozen import FrozenBackbone, backbone_kit, elsewhere
from evernorm.features.kit import Kit
from evernorm.files import head, length
from evernorm.memory.candidates import Candidates, descriptors_of
from evernorm.memory.compact import names_in, unpacked
from evernorm.memory.entry import build_memory
from evernorm.memory.params import BudgetParams, MemoryParams, RoutingParams, Score
from evernorm.memory.routing import route, search
from evernorm.memory.scoring import image_scores, top_scores
from evernorm.memory.search import NearestRows
from evernorm.methods.detector import Detector, Found, Seen
from evernorm.methods.learner import NOTHING, ClassState, Eye, Learner
from evernorm.methods.lesson import Lesson, images_of
from evernorm.params.groups import MethodParams, PassEngine
from evernorm.types import Arrays, Floats, Image, Indices, Progress


class MemoryMethodParams(MethodParams):
    """A memory of patch features."""

    knowledge: MemoryParams = MemoryParams()


class BudgetMethodParams(MemoryMethodParams):
    """A memory with a budget of rows."""

    knowledge: BudgetParams = BudgetParams()


class RoutedMethodParams(BudgetMethodParams):
    """A memory a class, and how an image finds its own."""

    evaluate: RoutingParams = RoutingParams()


class MemoryLearner(Learner):
    """Remembers a coreset of the frozen patch features."""

    group: ClassVar[type[MemoryMethodParams]] = BudgetMethodParams
    revisions: ClassVar[Mapping[str, int]] = {**Learner.revisions, "knowledge": 6}
    shrinks: ClassVar[bool] = False  # whether fewer rows of an entry are read as classes arrive

    @property
    def own(self) -> MemoryMethodParams:
        """The method's group of parameters."""
        return self.params.own(MemoryMethodParams)

    @property
    def graph_engine(self) -> PassEngine | None:
        """What graphs that are stored with a bank are made for: what runs them here, or may where torch does not."""
        backbone = self.backbone
        return backbone.engine if isinstance(backbone, FrozenBackbone) else elsewhere(self.params.features)

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """See the images once, keep the coreset.

        Memory: the features (n · P · d · 4 bytes; memory-mapped beyond 2 GiB) and what `build_memory` holds.
        """
        classes = [*lesson.earlier, lesson.experience]
        read, count = images_of(classes)
        features = extract(
            self.backbone, read, count, batch_size=self.params.features.batch_size, progress=progress
        )
        entry, evidence = self.memorise(features, [len(each) for each in classes])
        return entry, self.shown(evidence, {"features": features})

    def memorise(self, features: Floats, counts: Sequence[int]) -> tuple[Arrays, Evidence]:
        """The entry of M rows and its evidence.

        An entry of several classes also has `classes`, int32 ``[M]``: the place in the stream of the class that each row
        is of. One of a class that images must find has `descriptors` (`memory.candidates`).

        Args:
            features: float32 ``[n, P, d]``.
            counts: How many of the images are of each class of the stream.
        """
        knowledge = self.params.own(BudgetMethodParams).knowledge
        beside = {"descriptors": descriptors_of(features)} if self.traits.routes else {}
        entry, images, evidence = build_memory(
            features, knowledge.budget, knowledge, self.params.seed, shrinks=self.shrinks, beside=beside
        )
        if len(counts) == 1:
            return entry, evidence
        places = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        return {**entry, "classes": places[images]}, evidence

    def eye(self, trained: Arrays) -> Eye | None:
        """Frozen features, whatever the class."""
        return lambda images: {"features": self.backbone.features(images)}

    def encoded(self, arrays: Arrays) -> Floats | None:
        """The patches, averaged to fewer."""
        return of_patches(arrays["features"], self.backbone.grid)

    def assemble(self, states: Sequence[ClassState]) -> "MemoryDetector":
        """The detector; reads no more rows than it will search."""
        return MemoryDetector(self, states)

    @abstractmethod
    def rows_read(self, sizes: list[int]) -> list[int]:
        """How many leading rows of each entry are read, 0 for one that is not used.

        Args:
            sizes: Rows each entry has, in order of arrival.
        """


class MemoryDetector(Detector):
    """Sends an image to the memory that explains it best and scores it there."""

    learner: MemoryLearner

    def __init__(self, learner: MemoryLearner, states: Sequence[ClassState]) -> None:
        super().__init__(learner, states)
        self._rows = learner.rows_read([length(s.entry, "rows") if "rows" in s.entry else 0 for s in states])
        self._read = [state for state, rows in zip(self.states, self._rows, strict=True) if rows]
        needed = self.classes if self.traits.routes else self.classes[-1:]
        if lost := [name for name in needed if name not in {state.name for state in self._read}]:
            raise StateError(f"nothing is remembered of {', '.join(lost)}; learn them again")
        self.memories = [
            NearestRows(unpacked(state.entry, "rows", rows))
            for state, rows in zip(self.states, self._rows, strict=True)
            if rows
        ]
        dim = learner.backbone.dim
        if wrong := [
            f"{state.name}: {memory.rows.shape[1]} columns, the backbone gives {dim}"
            for state, memory in zip(self._read, self.memories, strict=True)
            if memory.rows.shape[1] != dim
        ]:
            raise StateError("entries of other features; learn them again with these", wrong)

    @cached_property
    def own_readings(self) -> Sequence[Reading]:
        """For the rows that are read."""
        return [
            state.calibration.at(rows)
            for state, rows in zip(self.states, self._rows, strict=True)
            if rows and state.calibration is not None
        ]

    @cached_property
    def candidates(self) -> Candidates:
        """Which classes are asked for an image."""
        return candidates_of(self.states, self.learner.params.own(RoutedMethodParams).evaluate.candidates)

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of what is read, as it is stored; none for a class of which nothing is left."""
        if not self.traits.routes:
            return {}
        return {
            state.name: sum(array.nbytes for array in state.entry.values())
            for state in self.kept()
            if state.entry
        }

    @property
    def shared_bytes(self) -> int:
        """Bytes of the one memory of a method that does not route."""
        if self.traits.routes:
            return 0
        kept = (state.entry[name] for state in self.kept() for name in names_in(state.entry, "rows"))
        return sum(array.nbytes for array in kept)

    def kits(self) -> list[Kit]:
        """The pass of the backbone, for other machines too where torch runs it here."""
        if (kits := super().kits()) or (engine := self.learner.graph_engine) is None:
            return kits
        return [backbone_kit(self.learner.backbone.trainable, engine)]

    def kept(self) -> list[ClassState]:
        """Only rows within the budget."""
        return [
            replace(
                state,
                entry=_leading(state.entry, rows),
                calibration=state.calibration.within(rows) if rows and state.calibration else None,
            )
            for state, rows in zip(self.states, self._rows, strict=True)
        ]

    def see(self, images: Sequence[Image]) -> Seen:
        """Run the backbone over a few images."""
        size = self.learner.params.features.batch_size
        return Seen(
            {"features": extract(self.learner.backbone, images.__getitem__, len(images), batch_size=size)}
        )

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Route by the patch distances, score in the memory found."""
        features = seen.arrays["features"]
        unknown = np.zeros(len(features), np.bool_)
        if not self.traits.routes:
            given = np.zeros(len(features), np.int64)
        if given is not None:
            distances, nearest = self.search(features, given)
            return Found(given, self.weigh(features, distances, nearest, given), distances, unknown)
        bounds = np.zeros((len(features), len(self.memories)), np.float32)
        if "statistics" in hints:
            known = hints["statistics"]
            bounds[:, : known.shape[1]] = known
        statistic = self.learner.params.own(RoutedMethodParams).evaluate.routing
        routed = route(features, self.memories, statistic, bounds, self.candidates.of(features))
        raw = self.weigh(features, routed.distances, routed.nearest, routed.place)
        hints = {"statistics": routed.bounds}
        return Found(routed.place, raw, routed.distances, unknown, hints=hints)

    def search(self, features: Floats, place: Indices) -> tuple[Floats, Indices]:
        """Distance ``[n, P]`` of each patch of image i to its nearest row in memory ``place[i]``, and that row."""
        distances = np.empty(features.shape[:2], np.float32)
        nearest = np.empty(features.shape[:2], np.int64)
        for each in np.unique(place):
            of = place == each
            found, rows = search(features[of], self.memories[each])
            distances[of], nearest[of] = (part.reshape(-1, features.shape[1]) for part in (found, rows))
        return distances, nearest

    def weigh(self, features: Floats, distances: Floats, nearest: Indices, place: Indices) -> Floats:
        """Image scores ``[n]``, each in the memory ``place[i]``: re-weighted (PatchCore Eq. 7), or of its highest patches."""
        if self.learner.own.knowledge.score is Score.TOP:
            return top_scores(distances)
        raw = np.empty(len(features), np.float32)
        neighbours = self.learner.own.knowledge.neighbours
        for each in np.unique(place):
            of = place == each
            raw[of] = image_scores(features[of], distances[of], nearest[of], self.memories[each], neighbours)
        return raw


def candidates_of(states: Sequence[ClassState], most: int, grid: str = "rows") -> Candidates:
    """By what is kept of the classes' images as a whole.

    Args:
        states: The classes.
        most: Classes to be asked for an image, at most; 0: all.
        grid: The array on whose grid it lies.
    """
    descriptors = [
        unpacked(state.entry, "descriptors", grid=grid) if "descriptors" in state.entry else None
        for state in states
    ]
    return Candidates(descriptors, most)


def _leading(entry: Arrays, rows: int) -> Arrays:
    """What is read of an entry of which so many rows are; of one of which none is, nothing."""
    if not rows:
        return {}
    whole = {name: entry[name] for name in ("rows_grid", "descriptors") if name in entry}
    return whole | {name: head(entry, name, rows) for name in ("rows", "classes") if name in entry}
