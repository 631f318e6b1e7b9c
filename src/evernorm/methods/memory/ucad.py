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
from evernorm.memory.entry import build_memory, farthest_points
from evernorm.memory.keys import key_distances, leave_one_out_key_distances
from evernorm.memory.params import MemoryParams
from evernorm.memory.unknown import UnknownRule
from evernorm.methods.ablation import Tables
from evernorm.methods.detector import Found, Seen
from evernorm.methods.learner import NOTHING, ClassState, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import MemoryMethodParams
from evernorm.methods.memory.prompted import ADAPTED, FROZEN, PromptedDetector, PromptedLearner
from evernorm.methods.memory.ucad_ablations import ucad_tables
from evernorm.methods.registry import learner
from evernorm.params.groups import Group, Levels
from evernorm.prompts.graphs import Prompted, prompted_kits, prompted_of
from evernorm.prompts.params import PromptParams
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.trainee import PromptTrainee
from evernorm.types import Arrays, Floats, Indices, Progress


class UcadKnowledge(MemoryParams):
    """Sizes of keys and knowledge of a class."""

    rows: Annotated[int, Field(ge=10, le=10_000_000)] = 196  # Table 7: 196, 392, 784
    keys: Annotated[int, Field(ge=1, le=1_000_000)] = 196
    key_layers: Levels = ()  # feature levels of the keys; empty: features.layers


class UcadEvaluate(Group):
    """When an image shows no class that the bank knows."""

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
        keys = np.ascontiguousarray(flat[points])

        memory = build_memory(adapted, knowledge.rows, knowledge, self.params.seed, shrinks=False)  # Eq. 2
        routing = leave_one_out_key_distances(frozen, keys, points // frozen.shape[1])
        evidence = replace(memory.evidence, routing=routing)
        return {"keys": keys, "rows": memory.rows}, self.shown(evidence, seen)

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
        self.keys = [np.asarray(state.entry["keys"]) for state in states if "keys" in state.entry]
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
        """Bytes of key, prompt and knowledge."""
        return {
            state.name: memory.rows.nbytes + keys.nbytes + prompt.nbytes
            for state, memory, keys, prompt in zip(
                self.states, self.memories, self.keys, self.adapters, strict=True
            )
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
        """Route by keys (Eq. 4), adapt to the class found, look its knowledge up (Eq. 5), weigh (Eq. 6).

        Keys never change, so what is known of the statistics is exact and only new classes are measured.
        """
        statistics = self._statistics(seen.arrays[FROZEN], hints)
        place = statistics.argmin(axis=1) if given is None else given  # Eq. 4
        features = self.adapted(seen, place)
        distances, nearest = self.search(features, place)  # Eq. 5
        raw = self.weigh(features, distances, nearest, place)  # Eq. 6, where knowledge.score is max
        rule = self.unknown_rule
        return Found(
            place=place,
            raw=raw,
            patches=distances,
            unknown=rule.applies(statistics, place),
            left_out=rule.left_out(statistics, place),
            hints={"statistics": statistics},
        )

    def _statistics(self, frozen: Floats, hints: Arrays) -> Floats:
        known = hints.get("statistics", np.empty((len(frozen), 0), np.float32))
        further = key_distances(frozen, self.keys[known.shape[1] :])
        return np.hstack([known, further])

    @cached_property
    def unknown_rule(self) -> UnknownRule:
        """The tails of the classes, and how far the classes are from one another."""
        tails = [state.calibration and state.calibration.routing for state in self.states]
        limits = np.array([tail.threshold if tail else np.inf for tail in tails])
        between = [key_distances(keys[None], self.keys)[0] for keys in self.keys]
        return UnknownRule(limits, np.array(between).T, self.learner.own.evaluate.unknown_margin)
