"""UCAD: a key, a prompt and knowledge for each class (Liu et al., AAAI 2024), beside its equations.

A class is learned in three steps (paper, section 3): its prompt is trained with the structure of its images
(Eq. 3, `prompts.contrastive`), its keys are the farthest points of the frozen features (Eq. 1), its knowledge
the coreset of the prompted ones (Eq. 2). An image goes to the class with the nearest keys (Eq. 4), is adapted
with that class's prompt, and scored by its knowledge (Eq. 5 and 6).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from evernorm.calibration.evidence import Evidence
from evernorm.errors import StateError
from evernorm.features.extract import collect
from evernorm.features.kit import Kit
from evernorm.memory.candidates import Candidates, descriptors_of
from evernorm.memory.compact import packed, unpacked
from evernorm.memory.entry import build_memory, farthest_points
from evernorm.memory.keys import key_distances, leave_one_out_key_distances
from evernorm.memory.params import CandidateParams, MemoryParams
from evernorm.memory.unknown import UnknownRule
from evernorm.methods.ablation import Tables
from evernorm.methods.detector import Found, Seen
from evernorm.methods.learner import NOTHING, ClassState, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import MemoryMethodParams, candidates_of
from evernorm.methods.memory.prompted import ADAPTED, FROZEN, PromptedDetector, PromptedLearner
from evernorm.methods.memory.ucad_ablations import ucad_tables
from evernorm.methods.registry import learner
from evernorm.params.groups import Levels
from evernorm.prompts.graphs import Prompted, prompted_kits, prompted_of
from evernorm.prompts.params import PromptParams
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.trainee import PromptTrainee
from evernorm.types import Arrays, Flags, Floats, Indices, Progress


class UcadKnowledge(MemoryParams):
    """Sizes of keys and knowledge of a class."""

    rows: Annotated[int, Field(ge=10, le=10_000_000)] = 196  # Table 7: 196, 392, 784
    keys: Annotated[int, Field(ge=1, le=1_000_000)] = 196
    key_layers: Levels = ()  # feature levels of the keys; empty: features.layers


class UcadEvaluate(CandidateParams):
    """How an image finds its class, and when it shows none that the bank knows."""

    unknown_margin: Annotated[float, Field(ge=0, le=1)] = 0.5  # from the tail to the nearest other class


class UcadParams(MemoryMethodParams):
    """UCAD's parameters."""

    prompts: PromptParams = PromptParams()
    knowledge: UcadKnowledge = UcadKnowledge()
    evaluate: UcadEvaluate = UcadEvaluate()


@learner
class Ucad(PromptedLearner[Prompt]):
    """Key-prompt-knowledge memory: a fixed number of rows and keys for each class, and its prompt."""

    name = "ucad"
    group = UcadParams
    traits = Traits(structured=True, trained=True, open_set=True)

    @property
    def own(self) -> UcadParams:
        """The method's group of parameters."""
        return self.params.own(UcadParams)

    @cached_property
    def network(self) -> Prompted:
        """The backbone with room for prompts.

        Raises:
            ParamsError: The backbone takes no such prompts.
        """
        return prompted_of(self.backbone, self.own.prompts, self.own.knowledge.key_layers)

    def check(self) -> None:
        """Refuse prompts that the backbone cannot take, before hours of segmentation."""
        _ = self.network

    def ablations(self) -> Tables:
        """Tables 6 to 8, and how the prompts are trained."""
        return ucad_tables(self.params, self.own.prompts, self.own.knowledge.rows)

    # -- learning -------------------------------------------------------------------------------------

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Train the prompt so that patches of one part attract and of different parts repel (Eq. 3)."""
        if not self.network.shapes:
            return {}
        trainee = PromptTrainee(self.network.trainable, self.parts_of(lesson), self.params.seed)
        return self.fit(trainee, lesson, checkpoint, progress)

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """Keys over frozen features (Eq. 1), knowledge over prompted ones (Eq. 2).

        Memory: frozen and prompted features (each n · P · d · 4 bytes; memory-mapped beyond 2 GiB) and what
        `build_memory` holds.
        """
        images, knowledge = lesson.experience, self.own.knowledge
        see, size = self.eye(trained), self.params.features.batch_size
        seen = collect(see, images.read, len(images), size, progress=progress)
        frozen, adapted = seen[FROZEN], seen[ADAPTED]

        flat = frozen.reshape(-1, frozen.shape[2])  # Eq. 1
        points = farthest_points(flat, knowledge.keys)
        kept = {"keys": flat[points], "descriptors": descriptors_of(frozen)}
        found = packed(kept, knowledge.storage, flat)
        keys = unpacked(found, "keys")

        memory = build_memory(adapted, knowledge.rows, knowledge, self.params.seed, shrinks=False)  # Eq. 2
        routing = leave_one_out_key_distances(frozen, keys, points // frozen.shape[1])
        evidence = replace(memory.evidence, routing=routing)
        return {**found, **memory.entry}, self.shown(evidence, seen)

    def adapter_of(self, trained: Arrays) -> Prompt:
        """The prompt of the class; nothing where ``prompts.kind`` is none."""
        return Prompt.of(self.network.kind, trained)

    def assemble(self, states: Sequence[ClassState]) -> "UcadDetector":
        """The detector of these classes."""
        return UcadDetector(self, states)


class UcadDetector(PromptedDetector[Prompt]):
    """Routes by keys, adapts with the prompt, scores by the knowledge."""

    learner: Ucad

    def __init__(self, learner: Ucad, states: Sequence[ClassState]) -> None:
        super().__init__(learner, states)
        self.network = learner.network
        self.keys = [unpacked(state.entry, "keys") for state in states if "keys" in state.entry]
        self.adapters = [learner.adapter_of(state.trained) for state in states]
        fit = [
            len(self.keys) == len(states)
            and keys.shape[1] == self.network.key_dim
            and prompt.shapes == self.network.shapes
            for keys, prompt in zip(self.keys, self.adapters, strict=False)
        ]
        if len(fit) < len(states) or not all(fit):
            raise StateError(
                f"an entry lacks keys of {self.network.key_dim} columns, or its prompts do not fit this backbone and "
                f"prompts.kind {learner.own.prompts.kind.value}; learn the classes again with these parameters"
            )

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of key, prompt, knowledge and descriptors."""
        return {
            state.name: sum(array.nbytes for array in state.entry.values()) + prompt.nbytes
            for state, prompt in zip(self.states, self.adapters, strict=True)
        }

    def kits(self) -> list[Kit]:
        """The pass of the backbone, and those with prompts."""
        own, engine = self.learner.own, self.learner.graph_engine
        return [
            *super().kits(),
            *prompted_kits(self.network, own.prompts, own.knowledge.key_layers, engine),
        ]

    def kept(self) -> list[ClassState]:
        """Everything but how the prompt was trained."""
        return [
            replace(state, trained=prompt.arrays())
            for state, prompt in zip(self.states, self.adapters, strict=True)
        ]

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Route by keys (Eq. 4), adapt to the class found, look its knowledge up (Eq. 5), weigh (Eq. 6)."""
        frozen = seen.arrays[FROZEN]
        asked = self.candidates.of(frozen) if given is None else self._alone(given)
        statistics = self._statistics(frozen, asked, hints)
        place: Indices = np.where(asked, statistics, np.inf).argmin(axis=1)  # Eq. 4
        features = self.adapted(seen, place)
        distances, nearest = self.search(features, place)  # Eq. 5
        raw = self.weigh(features, distances, nearest, place)  # Eq. 6, where knowledge.score is max
        unknown = self.unknown_rule.applies(statistics, place)
        return Found(place, raw, distances, unknown, hints={"statistics": statistics})

    def left_out(self, seen: Seen, home: Indices) -> Flags | None:
        """Entries are independent, so the bank that never learned a class is a column less."""
        if not self.unknown_rule.tells_left_out:
            return None
        frozen = seen.arrays[FROZEN]
        statistics = key_distances(frozen, self.keys, self.candidates.of(frozen, without=home))
        return self.unknown_rule.left_out(statistics, home)

    def _alone(self, given: Indices) -> Flags:
        alone: Flags = np.arange(len(self.keys)) == given[:, None]
        return alone

    def _statistics(self, frozen: Floats, asked: Flags, hints: Arrays) -> Floats:
        """Distances to the keys of the classes asked for, and what is known; keys never change, so that is exact."""
        statistics = np.full(asked.shape, np.inf, np.float32)
        if "statistics" in hints:
            known = hints["statistics"]
            statistics[:, : known.shape[1]] = known
        return np.minimum(statistics, key_distances(frozen, self.keys, asked & np.isinf(statistics)))

    @cached_property
    def unknown_rule(self) -> UnknownRule:
        """The tails of the classes, and how far the classes are from one another."""
        tails = [state.calibration and state.calibration.routing for state in self.states]
        limits = np.array([tail.threshold if tail else np.inf for tail in tails])
        near = np.array([self.candidates.beside(place) for place in range(len(self.keys))])
        between = [
            key_distances(keys[None], self.keys, near[None, :, place])[0]
            for place, keys in enumerate(self.keys)
        ]
        return UnknownRule(limits, np.array(between).T, self.learner.own.evaluate.unknown_margin)

    @cached_property
    def candidates(self) -> Candidates:
        """Which classes are asked for an image."""
        return candidates_of(self.states, self.learner.own.evaluate.candidates, "keys")
