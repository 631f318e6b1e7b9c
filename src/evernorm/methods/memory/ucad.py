"""UCAD: a key, a prompt and knowledge for each class (Liu et al., AAAI 2024), beside its equations."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evernorm.calibration.weibull import calibrate
from evernorm.data.experience import Experience, TestView
from evernorm.errors import StateError
from evernorm.features.backbone import TimmBackbone
from evernorm.features.extract import collect
from evernorm.memory.bank import Entry
from evernorm.memory.keys import key_distances, leave_one_out_key_distances
from evernorm.memory.leave_one_out import TrainingScores
from evernorm.memory.routing import search
from evernorm.memory.unknown import UnknownRule
from evernorm.methods.memory.base import Found, MemoryDetector
from evernorm.methods.memory.entry import build_entry, farthest_points
from evernorm.methods.memory.remembered import Remembered, Settings
from evernorm.methods.memory.seen import Prompted, Seen, StoredSeen
from evernorm.params.groups import Device, Method
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import PromptedBackbone
from evernorm.prompts.training import train_prompt
from evernorm.structure.grid import to_grid
from evernorm.structure.segmenter import build_segmenter
from evernorm.types import Floats, Progress


class Ucad(MemoryDetector):
    """Key-prompt-knowledge memory: a fixed number of rows and keys for each class, and its prompt.

    Args:
        backbone: Frozen.
        settings: Sizes of keys and knowledge, and the prompts.
        remembered: Classes already learned.
    """

    method = Method.UCAD

    def __init__(
        self, backbone: TimmBackbone, settings: Settings, remembered: Sequence[Remembered] = ()
    ) -> None:
        self.network = PromptedBackbone(backbone, settings.prompts, settings.knowledge.key_layers)
        super().__init__(backbone, settings, remembered)

    # -- learning -------------------------------------------------------------------------------------

    def learn(self, experience: Experience) -> None:
        """Find the parts of the images, train the prompt, build keys and knowledge, calibrate, append."""
        self._reserve(experience.name)
        prompt = self.no_prompt
        if self.network.shapes:
            segmenter = build_segmenter(self.settings.masks, Device(self.backbone.device.type))
            labels = [to_grid(segmenter.labels(image), self.backbone.grid) for image in experience.images()]
            seed, size = self.settings.seed, self.settings.batch_size
            prompt, _ = train_prompt(self.network, experience.read, labels, seed, at_once=size)
        entry, training = self.build([experience], experience.name, prompt)
        self.append(Remembered(entry, calibrate(training, self.settings.weibull), prompt))

    def build(
        self,
        experiences: Sequence[Experience],
        name: str,
        prompt: Prompt | None = None,
        progress: Progress | None = None,
    ) -> tuple[Entry, TrainingScores]:
        """Keys over frozen features (Eq. 1), knowledge over prompted ones (Eq. 2); appends nothing.

        Memory: frozen and prompted features (each n · P · d · 4 bytes; memory-mapped beyond 2 GiB) and what
        `build_entry` holds.
        """
        (experience,) = experiences
        chosen_prompt = prompt or self.no_prompt

        def see(images: list[npt.NDArray[np.uint8]]) -> tuple[Floats, ...]:
            seen = self._see(images, [chosen_prompt])
            return seen.frozen, seen.adapted(np.zeros(len(images), np.int64))

        size, device, knowledge = self.settings.batch_size, self.backbone.device, self.settings.knowledge
        frozen, adapted = collect(see, experience.read, len(experience), size, progress=progress)
        flat = frozen.reshape(-1, frozen.shape[2])
        points = farthest_points(flat, knowledge.keys)
        keys = np.ascontiguousarray(flat[points])
        routing = leave_one_out_key_distances(frozen, keys, points // frozen.shape[1], device)
        entry, training = build_entry(adapted, name, knowledge.rows, self.settings, device, shrinks=False)
        return replace(entry, keys=keys), replace(training, routing=routing)

    def append(self, remembered: Remembered) -> None:
        """Append a class that was built elsewhere (a pipeline stage).

        Raises:
            StateError: The class is known already, has no keys, or its prompt does not fit the backbone.
        """
        shapes = (remembered.prompt or self.no_prompt).shapes
        keys = remembered.entry.keys
        if keys is None or keys.shape[1] != self.network.key_dim or shapes != self.network.shapes:
            raise StateError(
                f"entry {remembered.entry.name!r} lacks keys of {self.network.key_dim} columns, or its prompts do not "
                f"fit this backbone and prompts.kind {self.settings.prompts.kind.value}; learn it again with these "
                f"parameters"
            )
        super().append(remembered)
        for derived in ("_keys", "unknown_rule"):
            vars(self).pop(derived, None)

    @property
    def no_prompt(self) -> Prompt:
        """What a class is seen with where ``prompts.kind`` is none."""
        return Prompt(self.settings.prompts.kind, {})

    @staticmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """All rows of each entry: the size of the knowledge is fixed for each class, not in all."""
        return sizes

    def bytes_of(self, place: int) -> int:
        """Bytes of key, prompt and knowledge."""
        known = self.remembered[place]
        prompt = known.prompt.nbytes if known.prompt else 0
        return super().bytes_of(place) + self._keys[place].nbytes + prompt

    @cached_property
    def _keys(self) -> list[Floats]:
        return [known.entry.keys for known in self.remembered if known.entry.keys is not None]

    # -- seeing ---------------------------------------------------------------------------------------

    def see(self, images: Sequence[npt.NDArray[np.uint8]]) -> Seen:
        """Run the backbone over a few images as far as no prompt changes anything."""
        return self._see(images, [known.prompt or self.no_prompt for known in self.remembered])

    def _see(self, images: Sequence[npt.NDArray[np.uint8]], prompts: Sequence[Prompt]) -> Prompted:
        return Prompted(self.network, images, prompts, self.settings.batch_size)

    def store(self, view: TestView, folder: Path, progress: Progress | None = None) -> None:
        """Store frozen features, and those with the prompt of the images' own class."""
        place = self.classes.index(view.name)

        def see(images: list[npt.NDArray[np.uint8]]) -> tuple[Floats, ...]:
            seen = self.see(images)
            return seen.frozen, seen.adapted(np.full(len(images), place))

        outs = (folder / "test.npy", folder / "adapted.npy")
        collect(see, view.read, len(view), self.settings.batch_size, outs=outs, progress=progress)

    def stored(self, view: TestView, folder: Path) -> StoredSeen:
        """What `store` wrote; images that go to another class pass the backbone again."""
        frozen, own = (np.load(folder / name, mmap_mode="r") for name in ("test.npy", "adapted.npy"))
        place = self.classes.index(view.name)
        return StoredSeen(frozen, own, place, lambda chosen: self.see([view.read(int(i)) for i in chosen]))

    # -- judging --------------------------------------------------------------------------------------

    def find(self, seen: Seen, known: Floats | None = None) -> Found:
        """Route by keys (Eq. 4), adapt to the class found, look its knowledge up (Eq. 5).

        Keys never change, so what is known of the statistics is exact and only new classes are measured.
        """
        frozen = seen.frozen
        if known is None:
            known = np.empty((len(frozen), 0), np.float32)
        further = key_distances(frozen, self._keys[known.shape[1] :], self.backbone.device)
        statistics = np.hstack([known, further])
        place = statistics.argmin(axis=1)
        features = seen.adapted(place)
        distances = np.empty(features.shape[:2], np.float32)
        nearest = np.empty(features.shape[:2], np.int64)
        for each in np.unique(place):
            chosen = place == each
            found, rows = search(features[chosen], self.visible[each].memory)
            distances[chosen], nearest[chosen] = (
                part.reshape(-1, features.shape[1]) for part in (found, rows)
            )
        return Found(place, features, distances, nearest, statistics)

    @cached_property
    def unknown_rule(self) -> UnknownRule:
        """The tails of the classes, and how far the classes are from one another."""
        tails = [known.calibrations.routing for known in self.remembered]
        limits = np.array([tail.threshold if tail else np.inf for tail in tails])
        between = [key_distances(keys[None], self._keys, self.backbone.device)[0] for keys in self._keys]
        return UnknownRule(limits, np.array(between).T, self.settings.weibull.unknown_margin)
