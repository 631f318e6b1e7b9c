"""MTRMB: a key, a prompt and multimodal knowledge for each class (Zhou et al., 2025), beside its equations.

Prompts are a prefix of attention (Eq. 1, `prompts.blocks.attend_with_prefix`). Training (section 3.2) is `Multimodal`:
the match of queries and keys (Eq. 2), patches and words fused (Eq. 3 and 4, `prompts.fusion`), refined structure-based
contrast (Eq. 5 and 6, `prompts.contrastive`), patches against words (Eq. 7) and their sum (Eq. 8). Inference (section
3.3) is `MtrmbDetector.find`: the knowledge that fits (Eq. 9), the nearest patches (Eq. 10), the score (Eq. 11).
What the paper leaves open, and how it is read here: docs/decisions/mtrmb-readings.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from evernorm.calibration.evidence import Evidence
from evernorm.errors import ParamsError, StateError
from evernorm.features.extract import collect
from evernorm.features.kit import Kit
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.entry import build_memory
from evernorm.memory.params import MemoryParams
from evernorm.methods.ablation import Tables
from evernorm.methods.detector import Found, Seen
from evernorm.methods.learner import NOTHING, ClassState, Traits
from evernorm.methods.lesson import Lesson
from evernorm.methods.memory.base import MemoryMethodParams
from evernorm.methods.memory.mtrmb_ablations import mtrmb_tables
from evernorm.methods.memory.prompted import ADAPTED, FROZEN, PromptedDetector, PromptedLearner
from evernorm.methods.registry import learner
from evernorm.params.groups import Group, Levels, Params
from evernorm.prompts import prompted
from evernorm.prompts.contrastive import structure_loss
from evernorm.prompts.cross_modal import cross_modal_loss, query_match
from evernorm.prompts.fused import Adapter, FusedBackbone
from evernorm.prompts.fusion import Fused, Text, first_fusion, fuse
from evernorm.prompts.graphs import prompted_kits, prompted_of
from evernorm.prompts.params import PromptKind, PromptParams
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.prompts.trainee import Trainee, first_prompt, spread
from evernorm.text.encoder import TextEncoder, Tokens, encoder_digest, sentences_on
from evernorm.text.params import TextParams
from evernorm.types import Arrays, Floats, Indices, Progress

if TYPE_CHECKING:
    from torch import Tensor

Weight = Annotated[float, Field(ge=0, le=1000)]


class LossWeights(Group):
    """Of the terms of Eq. 8; 0 leaves a term out."""

    structure: Weight = 1.0  # RSCL, Eq. 6
    cross_modal: Weight = 1.0  # Eq. 7
    keys: Weight = 1.0  # λ of Eq. 8, which the paper does not give


class MtrmbPrompts(PromptParams):
    """What is trained for a class, and how."""

    kind: PromptKind = PromptKind.AUTO
    keys: Annotated[int, Field(ge=1, le=10_000)] = 8  # of a class
    key_layers: Levels = ()  # feature levels of queries and keys; empty: features.layers
    text: TextParams = TextParams()
    learning_rate: Annotated[float, Field(gt=0, le=10)] = (
        1e-4  # at UCAD's 5e-4 fusion harms (docs/results.md)
    )
    fusion_width: Annotated[int, Field(ge=0, le=4096)] = 32  # columns of the common space; 0: no fusion
    weights: LossWeights = LossWeights()


class MtrmbKnowledge(MemoryParams):
    """Size of the knowledge of a class."""

    neighbours: Annotated[int, Field(ge=1, le=100)] = 1  # 1: the largest distance as it is (Eq. 11)
    rows: Annotated[int, Field(ge=10, le=10_000_000)] = 196


class MtrmbParams(MemoryMethodParams):
    """MTRMB's parameters."""

    prompts: MtrmbPrompts = MtrmbPrompts()
    knowledge: MtrmbKnowledge = MtrmbKnowledge()


@learner
class Mtrmb(PromptedLearner[Adapter]):
    """Key-prompt-multimodal-knowledge memory."""

    name = "mtrmb"
    group = MtrmbParams
    traits = Traits(structured=True, trained=True)

    @property
    def own(self) -> MtrmbParams:
        """The method's group of parameters."""
        return self.params.own(MtrmbParams)

    @cached_property
    def network(self) -> FusedBackbone:
        """The backbone with room for prompts and words.

        Raises:
            ParamsError: The backbone takes no such prompts.
        """
        return FusedBackbone(prompted_of(self.backbone, self.own.prompts, self.own.prompts.key_layers))

    @cached_property
    def encoder(self) -> TextEncoder:
        """What reads the sentences on a class; asked for while a class is trained, never by a bank.

        Raises:
            WeightsError: There is no such text encoder.
        """
        return TextEncoder.load(self.own.prompts.text.encoder)

    @classmethod
    def sources(cls, params: Params) -> str:
        """The backbone's, and the text encoder's where one is asked."""
        own = params.own(MtrmbParams).prompts
        text = f" {encoder_digest(own.text.encoder)}" if own.fusion_width else ""
        return f"{super().sources(params)}{text}"

    def check(self) -> None:
        """Refuse prompts that the backbone cannot take, a missing text encoder, and prompts that no loss reaches."""
        own, network = self.own.prompts, self.network.network
        if own.fusion_width:
            encoder_digest(own.text.encoder)
        reached = own.weights.structure > 0 or (own.weights.cross_modal > 0 and own.fusion_width > 0)
        if (network.shapes or own.fusion_width) and not reached:
            raise ParamsError(
                f"mtrmb.prompts.weights.structure is {own.weights.structure:g} and cross_modal "
                f"{own.weights.cross_modal:g} with a fusion_width of {own.fusion_width}: nothing trains the prompts; "
                f"raise one of them, or set kind to none and fusion_width to 0"
            )

    def ablations(self) -> Tables:
        """Tables 4 and 5."""
        return mtrmb_tables(self.params, self.network.network.kind)

    # -- learning (sections 3.1 and 3.2) --------------------------------------------------------------

    def train(
        self,
        lesson: Lesson,
        before: Arrays = NOTHING,
        *,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
    ) -> Arrays:
        """Train keys, prompt and fusion (Eq. 8)."""
        own, images, labels = self.own.prompts, lesson.experience, self.parts_of(lesson)
        tokens = self.words_on(lesson) if own.fusion_width else None
        queries = collect(
            lambda images: {FROZEN: self.network.begin(images)[1]},
            images.read,
            len(images),
            self.params.features.batch_size,
        )[FROZEN]
        keys = first_keys(queries, own.keys)
        trainee = Multimodal(
            self.network.network.trainable, own, labels, queries, keys, tokens, self.params.seed
        )
        fitted = self.fit(trainee, lesson, checkpoint, progress)
        # The keys as they began are kept where nothing trains them.
        return {"keys": keys, **fitted, **(tokens.arrays() if tokens else {})}

    def words_on(self, lesson: Lesson) -> Tokens:
        """What is said of a class: the templates with its name, and its description."""
        sentences = sentences_on(lesson.name, self.own.prompts.text.templates, lesson.experience.description)
        return self.encoder.read(sentences)

    def remember(
        self, lesson: Lesson, trained: Arrays, before: Arrays = NOTHING, *, progress: Progress | None = None
    ) -> tuple[Arrays, Evidence]:
        """Multimodal knowledge MK: the coreset of the fused features.

        Memory: the features (n · P · d · 4 bytes; memory-mapped beyond 2 GiB) and what `build_memory` holds.
        """
        images, knowledge, size = lesson.experience, self.own.knowledge, self.params.features.batch_size
        seen = collect(self.eye(trained), images.read, len(images), size, progress=progress)
        memory = build_memory(seen[ADAPTED], knowledge.rows, knowledge, self.params.seed, shrinks=False)
        return memory.entry, self.shown(memory.evidence, seen)

    def adapter_of(self, trained: Arrays) -> Adapter:
        """The prompt of the class, and the words on it with the way in which it is fused with them."""
        return Adapter.of(self.network.network.kind, trained)

    def assemble(self, states: Sequence[ClassState]) -> "MtrmbDetector":
        """The detector of these classes."""
        return MtrmbDetector(self, states)


class Multimodal(Trainee):
    """Keys, a prompt and a fusion, and the loss of Eq. 8.

    Args:
        network: The frozen backbone.
        params: How to train.
        labels: For each image, int64 ``[P]``, the part each patch belongs to.
        queries: float32 ``[n, d]``, q(x) of each image.
        keys: float32 ``[k, d]``, to begin with.
        tokens: The words on the class; None without fusion.
        seed: First values.
    """

    def __init__(
        self,
        network: PromptedBackbone,
        params: MtrmbPrompts,
        labels: Sequence[Indices],
        queries: Floats,
        keys: Floats,
        tokens: Tokens | None,
        seed: int,
    ) -> None:
        import torch

        values = dict(first_prompt(network, seed).arrays())
        if tokens:
            text_dim = tokens.features.shape[1]
            values |= first_fusion(network.backbone.dim, text_dim, params.fusion_width, seed)
        if params.weights.keys:
            values["keys"] = keys
        super().__init__(network, values)
        device = network.backbone.device
        self._params = params
        self._labels = torch.from_numpy(np.stack(labels))
        self._queries = torch.from_numpy(queries)
        self._text = None
        if tokens:
            words = torch.from_numpy(tokens.features)[None].to(device)
            self._text = Text(words, torch.ones((1, 1, words.shape[1]), dtype=torch.bool, device=device))

    def features(self, begun: prompted.Begun) -> "Tensor":
        """Prompted features, fused where there are words."""
        return self._seen(begun)[0]

    def _seen(self, begun: prompted.Begun) -> "tuple[Tensor, Fused | None]":
        patches = self.network.resume(begun, spread(self.network, self.values, len(begun.state)))
        if self._text is None:
            return patches, None
        fused = fuse(patches, self._text, self.values)
        return fused.patches, fused

    def terms(self, images: Indices, begun: prompted.Begun) -> "dict[str, Tensor]":
        """L_all = L_contra + L_cross + λ L_kp (Eq. 8)."""
        params, weights, device = self._params, self._params.weights, self.network.backbone.device
        labels = self._labels[images].to(device)
        terms = {}
        if weights.keys:  # Eq. 2
            match = query_match(self._queries[images].to(device), self.values["keys"])
            terms["keys"] = weights.keys * match
        patches, fused = self._seen(begun)  # Eq. 3 and 4
        if weights.structure:  # Eq. 5 and 6
            contrast = structure_loss(patches, labels, params.loss, params.temperature)
            terms["structure"] = weights.structure * contrast
        if weights.cross_modal and fused:  # Eq. 7
            cross = cross_modal_loss(fused.queries, fused.contexts, labels, params.temperature)
            terms["cross_modal"] = weights.cross_modal * cross
        return terms


def first_keys(queries: Floats, count: int) -> Floats:
    """The farthest of the queries by direction (the paper's FPS), of length 1: float32 ``[k, d]``, k at most n."""
    unit = _unit(queries)
    middle = int((unit @ unit.mean(axis=0)).argmax())  # the most usual image comes first
    return np.ascontiguousarray(unit[greedy_k_centre(unit, count, start=middle)])


def _unit(rows: Floats) -> Floats:
    """Rows of length 1."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    unit: Floats = (rows / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return unit


# -- inference (section 3.3) --------------------------------------------------------------------------


class MtrmbDetector(PromptedDetector[Adapter]):
    """Routes by keys, adapts with prompt and words, scores by the multimodal knowledge."""

    learner: Mtrmb

    def __init__(self, learner: Mtrmb, states: Sequence[ClassState]) -> None:
        super().__init__(learner, states)
        prompts = learner.network.network
        self.adapters = [learner.adapter_of(state.trained) for state in states]
        keys = [np.asarray(state.trained.get("keys", np.empty((0, 0)))) for state in states]
        fused = {bool(adapter.fusion) for adapter in self.adapters}
        fit = [
            key.shape[1:] == (prompts.key_dim,) and len(key) and adapter.prompt.shapes == prompts.shapes
            for key, adapter in zip(keys, self.adapters, strict=True)
        ]
        if not all(fit) or len(fused) > 1:
            raise StateError(
                f"an entry lacks keys of {prompts.key_dim} columns, its prompts do not fit this backbone, or some are "
                f"fused with words and others are not; learn the classes again with these parameters"
            )
        self._keys = _unit(np.concatenate(keys)) if keys else np.empty((0, prompts.key_dim), np.float32)
        self._starts = np.cumsum([0, *(len(key) for key in keys[:-1])])

    @property
    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of key, prompt, fusion, words and knowledge."""
        return {
            state.name: sum(array.nbytes for array in state.entry.values())
            + np.asarray(state.trained["keys"]).nbytes
            + adapter.nbytes
            for state, adapter in zip(self.states, self.adapters, strict=True)
        }

    def kits(self) -> list[Kit]:
        """The pass of the backbone, those with prompts, and the fusion."""
        learner, engine = self.learner, self.learner.graph_engine
        own, network = learner.own.prompts, learner.network
        kits = [*super().kits(), *prompted_kits(network.network, own, own.key_layers, engine)]
        if engine and self.adapters and self.adapters[0].fusion:
            rows, columns = learner.backbone.grid
            kits.append(network.fusion_kit(self.adapters[0], engine, rows * columns))
        return kits

    def kept(self) -> list[ClassState]:
        """Everything but how it was trained."""
        return [
            replace(state, trained={"keys": np.asarray(state.trained["keys"]), **adapter.arrays()})
            for state, adapter in zip(self.states, self.adapters, strict=True)
        ]

    def find(self, seen: Seen, given: Indices | None, hints: Arrays) -> Found:
        """Find the class, adapt to it, look its knowledge up."""
        place = self._route(seen.arrays[FROZEN]) if given is None else given
        features = self.adapted(seen, place)
        distances, nearest = self.search(features, place)  # Eq. 9 and 10
        raw = self.weigh(features, distances, nearest, place)  # Eq. 11, where knowledge.score is max
        return Found(place, raw, distances, np.zeros(len(place), np.bool_))

    def _route(self, queries: Floats) -> Indices:
        """The class of the key that matches each query best (Eq. 2): int64 ``[n]``."""
        cosines = _unit(queries) @ self._keys.T
        place: Indices = np.maximum.reduceat(cosines, self._starts, axis=1).argmax(axis=1)
        return place
