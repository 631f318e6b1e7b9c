"""What PatchCoreCL, its comparisons and UCAD share: entries in a bank, routing, scoring, calibration.

PatchCoreCL and its comparisons differ only in which rows of which entries they read (`visible`) and in what
an entry is made from (`learn`); UCAD also in how an image finds its class and in what it is seen with.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from evernorm.calibration.weibull import Calibrations, calibrate
from evernorm.data.experience import Experience, TestView
from evernorm.errors import StateError
from evernorm.features.backbone import Architecture, TimmBackbone, rebuild_backbone
from evernorm.features.extract import extract
from evernorm.files import check_schema, read_arrays, read_json, write_arrays, write_json
from evernorm.memory.bank import Entry
from evernorm.memory.leave_one_out import TrainingScores
from evernorm.memory.routing import route, search
from evernorm.memory.scoring import anomaly_map, image_scores
from evernorm.memory.search import NearestRows
from evernorm.memory.unknown import UnknownRule
from evernorm.methods.base import ContinualDetector, Prediction
from evernorm.methods.memory.entry import build_entry
from evernorm.methods.memory.remembered import Remembered, Settings, Visible
from evernorm.methods.memory.seen import Seen, StoredSeen, Unprompted
from evernorm.params.groups import Device, Method
from evernorm.prompts.prompt import Prompt
from evernorm.types import Floats, Indices, Progress

SCHEMA = 1
IMAGES_AT_ONCE = 16  # images routed together; bounds the memory of a prediction


@dataclass(frozen=True)
class Found:
    """Where n images were sent, and how their patches lie to that memory.

    Attributes:
        place: int64 ``[n]``, which visible class.
        features: float32 ``[n, P, d]``, adapted to that class.
        distances: float32 ``[n, P]``, patch distances to its memory.
        nearest: int64 ``[n, P]``, nearest rows in it.
        statistics: float32 ``[n, T]``, routing statistic, exact or a lower bound.
    """

    place: Indices
    features: Floats
    distances: Floats
    nearest: Indices
    statistics: Floats


@dataclass(frozen=True)
class Scored:
    """Scores of n images in the memory each was sent to.

    Attributes:
        place: int64 ``[n]``, which visible class.
        unknown: bool ``[n]``, whether the image shows no class that the bank knows.
        raw: float32 ``[n]``, re-weighted image score.
        distances: float32 ``[n, P]``.
        statistics: float32 ``[n, T]``, routing statistic, exact or a lower bound.
    """

    place: Indices
    unknown: npt.NDArray[np.bool_]
    raw: Floats
    distances: Floats
    statistics: Floats


class MemoryDetector(ContinualDetector):
    """A bank of coresets over patch features of a frozen backbone."""

    method: ClassVar[Method]
    routes: ClassVar[bool] = True  # whether the class of an image is a question at all
    only_shrinks: ClassVar[bool] = True  # memories never grow, so routing statistics bound later ones
    cumulative: ClassVar[bool] = False  # the newest entry holds all classes

    def __init__(
        self, backbone: TimmBackbone, settings: Settings, remembered: Sequence[Remembered] = ()
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.remembered: list[Remembered] = []
        for known in remembered:
            self.append(known)

    # -- learning -------------------------------------------------------------------------------------

    def learn(self, experience: Experience) -> None:
        """Build the class's entry, calibrate it, append both."""
        self._reserve(experience.name)
        entry, training = self.build([experience], experience.name)
        self.append(Remembered(entry, calibrate(training, self.settings.weibull)))

    def build(
        self,
        experiences: Sequence[Experience],
        name: str,
        prompt: Prompt | None = None,
        progress: Progress | None = None,
    ) -> tuple[Entry, TrainingScores]:
        """Features, coreset, and the training images' scores; appends nothing.

        Memory: the features (n · P · d · 4 bytes; memory-mapped beyond 2 GiB) and what `build_entry` holds.

        Args:
            experiences: The images; more than one only for joint training.
            name: The entry's name.
            prompt: What the class was trained to be seen with.
            progress: Called with (images seen, images in all) while features are extracted.
        """
        images = [(experience, i) for experience in experiences for i in range(len(experience))]
        features = extract(
            self.backbone,
            lambda i: images[i][0].read(images[i][1]),
            len(images),
            batch_size=self.settings.batch_size,
            progress=progress,
        )
        budget = self.settings.knowledge.budget
        return build_entry(features, name, budget, self.settings, self.backbone.device, shrinks=True)

    def append(self, remembered: Remembered) -> None:
        """Append a class that was built elsewhere (a pipeline stage).

        Raises:
            StateError: The class is known already, or its features do not fit the backbone.
        """
        self._reserve(remembered.entry.name)
        if remembered.entry.rows.shape[1] != self.backbone.dim:
            raise StateError(
                f"entry {remembered.entry.name!r} has {remembered.entry.rows.shape[1]} columns, the backbone gives "
                f"{self.backbone.dim}; learn it again with these features"
            )
        self.remembered.append(remembered)
        vars(self).pop("visible", None)

    def _reserve(self, name: str) -> None:
        if name in self.classes:
            raise StateError(f"class {name!r} is in the bank already; a bank is append-only")

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes known, in the order in which they were learned."""
        return tuple(known.entry.name for known in self.remembered)

    @staticmethod
    @abstractmethod
    def rows_read(budget: int, sizes: list[int]) -> list[int]:
        """How many leading rows of each entry are read, 0 for an entry that is not used.

        Args:
            budget: M.
            sizes: Rows each entry has, in order of arrival.
        """

    @property
    def _rows(self) -> list[int]:
        return self.rows_read(
            self.settings.knowledge.budget, [len(known.entry.rows) for known in self.remembered]
        )

    @cached_property
    def visible(self) -> list[Visible]:
        """The classes as they are read now."""
        return [
            Visible(known.entry.name, NearestRows(known.entry.rows[:rows]), known.calibrations.at(rows))
            for known, rows in zip(self.remembered, self._rows, strict=True)
            if rows
        ]

    def bytes_of(self, place: int) -> int:
        """Bytes kept for one visible class."""
        return self.visible[place].memory.rows.nbytes

    @property
    def memory_bytes(self) -> int:
        """Bytes kept for all classes, without the backbone."""
        return sum(self.bytes_of(place) for place in range(len(self.visible)))

    # -- seeing ---------------------------------------------------------------------------------------

    def see(self, images: Sequence[npt.NDArray[np.uint8]]) -> Seen:
        """Run the backbone over a few images (uint8 ``[H, W, 3]`` each)."""
        return Unprompted(
            extract(self.backbone, images.__getitem__, len(images), batch_size=self.settings.batch_size)
        )

    def store(self, view: TestView, folder: Path, progress: Progress | None = None) -> None:
        """Run the backbone over the test images of a class that is remembered and store the features."""
        size = self.settings.batch_size
        out = folder / "test.npy"
        extract(self.backbone, view.read, len(view), batch_size=size, out=out, progress=progress)

    def stored(self, view: TestView, folder: Path) -> StoredSeen:
        """What `store` wrote."""
        return StoredSeen(np.load(folder / "test.npy", mmap_mode="r"))

    # -- judging --------------------------------------------------------------------------------------

    def score(self, seen: Seen, known: Floats | None = None) -> Scored:
        """Route images and score them.

        Args:
            seen: n images.
            known: float32 ``[n, t]``, the routing statistics for the first t of T classes from an earlier bank:
                lower bounds now, as memories only shrink (exact for keys, which never change).
        """
        found = self.find(seen, known)
        raw = np.empty(len(found.place), np.float32)
        for place in np.unique(found.place):
            chosen = found.place == place
            raw[chosen] = self._image_scores(
                found.features[chosen], found.distances[chosen], found.nearest[chosen], place
            )
        rule = self.unknown_rule
        unknown = rule.applies(found.statistics) if rule else np.zeros(len(raw), np.bool_)
        return Scored(found.place, unknown, raw, found.distances, found.statistics)

    def find(self, seen: Seen, known: Floats | None = None) -> Found:
        """Send each image to the memory that explains it best."""
        memories = [visible.memory for visible in self.visible]
        bounds = np.zeros((len(seen.frozen), len(memories)), np.float32)
        if known is not None:
            bounds[:, : known.shape[1]] = known
        routed = route(seen.frozen, memories, self.settings.routing, bounds)
        return Found(routed.place, seen.frozen, routed.distances, routed.nearest, routed.bounds)

    @property
    def unknown_rule(self) -> UnknownRule | None:
        """When an image shows no class that the bank knows; a bank without keys does not ask."""
        return None

    def score_in(self, seen: Seen, place: int) -> tuple[Floats, Floats]:
        """Score images in a given class's memory ("oracle"): raw scores ``[n]`` and patch distances ``[n, P]``."""
        features = seen.adapted(np.full(len(seen.frozen), place))
        found, rows = search(features, self.visible[place].memory)
        distances, nearest = found.reshape(features.shape[:2]), rows.reshape(features.shape[:2])
        return self._image_scores(features, distances, nearest, place), distances

    def _image_scores(self, features: Floats, distances: Floats, nearest: Indices, place: int) -> Floats:
        neighbours = self.settings.knowledge.neighbours
        return image_scores(features, distances, nearest, self.visible[place].memory, neighbours)

    def map_of(self, distances: Floats, place: int, shape: tuple[int, int]) -> Floats:
        """Standardised anomaly map ``[H, W]`` from patch distances ``[P]``."""
        standardised = self.visible[place].calibration.standardise_map(distances)
        return anomaly_map(standardised, self.backbone.grid, self.backbone.preprocess.size, shape)

    def predict(self, images: Sequence[npt.NDArray[np.uint8]]) -> list[Prediction]:
        """Judge images of any size; bounded memory whatever their number.

        Raises:
            StateError: The bank knows no class yet.
        """
        if not self.visible:
            raise StateError("the bank is empty: learn a class before predicting")
        predictions: list[Prediction] = []
        for start in range(0, len(images), IMAGES_AT_ONCE):
            batch = images[start : start + IMAGES_AT_ONCE]
            scored = self.score(self.see(batch))
            predictions += [self._prediction(scored, i, image.shape[:2]) for i, image in enumerate(batch)]
        return predictions

    def _prediction(self, scored: Scored, number: int, shape: tuple[int, ...]) -> Prediction:
        height, width = shape
        if scored.unknown[number]:
            return Prediction.of_unknown((height, width))
        place, raw = int(scored.place[number]), float(scored.raw[number])
        name, _, calibration = self.visible[place]
        return Prediction(
            routed_class=name,
            score=float(calibration.standardise(raw)),
            probability=float(calibration.probability(raw)),
            p_value=float(calibration.p_value(raw)),
            anomalous=raw > calibration.threshold,
            map=self.map_of(scored.distances[number], place, (height, width)),
            map_threshold=calibration.standardise_map(np.array([calibration.threshold], np.float32)).item(),
        )

    # -- state ----------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the bank as it is read now, with its backbone: bank.json and safetensors.

        Only rows within the budget are stored; later classes need no more of them.
        """
        rows_read = self._rows
        write_arrays(folder / "backbone.safetensors", self.backbone.weights())
        write_arrays(
            folder / "memory.safetensors",
            {k.entry.name: k.entry.rows[:n] for k, n in zip(self.remembered, rows_read, strict=True)},
        )
        keys = {k.entry.name: k.entry.keys for k in self.remembered if k.entry.keys is not None}
        if keys:
            write_arrays(folder / "keys.safetensors", keys)
        for known, rows in zip(self.remembered, rows_read, strict=True):
            steps = known.calibrations.steps
            within = [step for step in steps if step.size <= rows] or steps[-1:]
            Calibrations(within, known.calibrations.routing).save(folder / "calibration" / known.entry.name)
            if known.prompt is not None:
                known.prompt.save(folder / "prompts" / known.entry.name)
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "method": self.method.value,
            "classes": list(self.classes),
            "architecture": self.backbone.architecture.to_json(),
            **self.settings.to_json(),
        }
        write_json(folder / "bank.json", record)

    @classmethod
    def load(cls, folder: Path, device: Device = Device.AUTO) -> Self:
        """Read a bank.

        Raises:
            StateError: The bank is missing, damaged, of another method or schema.
        """
        record = check_schema(read_json(folder / "bank.json"), SCHEMA, folder)
        if record["method"] != cls.method:
            raise StateError(f"{folder} holds a {record['method']} bank, not {cls.method.value}")
        architecture = Architecture.from_json(record["architecture"])
        backbone = rebuild_backbone(architecture, read_arrays(folder / "backbone.safetensors"), device)
        rows = read_arrays(folder / "memory.safetensors")
        stored_keys = folder / "keys.safetensors"
        keys = read_arrays(stored_keys) if stored_keys.is_file() else {}
        remembered = [
            Remembered(
                Entry(name, rows[name], keys.get(name)),
                Calibrations.load(folder / "calibration" / name),
                Prompt.load(prompt) if (prompt := folder / "prompts" / name).is_dir() else None,
            )
            for name in record["classes"]
        ]
        return cls(backbone, Settings.from_json(record), remembered)
