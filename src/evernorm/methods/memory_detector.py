"""What PatchCoreCL and its comparisons share: entries in a bank, routing, scoring, calibration.

The four differ only in which rows of which entries they read (`visible`) and in what an entry is made
from (`learn`).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from evernorm.calibration import Calibration, Calibrations, calibrate
from evernorm.data.experience import Experience
from evernorm.errors import StateError
from evernorm.features.backbone import Architecture, TimmBackbone, rebuild_backbone
from evernorm.features.extract import Progress, extract
from evernorm.files import read_arrays, read_json, write_arrays, write_json
from evernorm.memory.bank import Entry, check_schema, prefixes
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.leave_one_out import TrainingScores, leave_one_out
from evernorm.memory.projection import project
from evernorm.memory.routing import route, search
from evernorm.memory.search import Floats, Indices, NearestRows
from evernorm.methods.base import ContinualDetector, Prediction
from evernorm.params import Device, KnowledgeParams, Method, Params, Routing, WeibullParams
from evernorm.scoring import anomaly_map, image_scores

SCHEMA = 1
IMAGES_AT_ONCE = 16  # images routed together; bounds the memory of a prediction


@dataclass(frozen=True)
class Settings:
    """What a bank needs of params.yaml, and carries with it."""

    knowledge: KnowledgeParams
    weibull: WeibullParams
    routing: Routing
    seed: int
    batch_size: int

    @classmethod
    def of(cls, params: Params) -> "Settings":
        """Take them from params.yaml."""
        return cls(
            params.knowledge, params.weibull, params.evaluate.routing, params.seed, params.features.batch_size
        )


class Remembered(NamedTuple):
    """A class in the bank."""

    entry: Entry
    calibrations: Calibrations


class Visible(NamedTuple):
    """A class as it is read now: its rows within the budget and the calibration for that many."""

    name: str
    memory: NearestRows
    calibration: Calibration


@dataclass(frozen=True)
class Scored:
    """Scores of n images in the memory each was sent to.

    Attributes:
        place: int64 ``[n]``, which visible class.
        raw: float32 ``[n]``, re-weighted image score.
        distances: float32 ``[n, P]``.
        bounds: float32 ``[n, T]``, routing statistic, exact or a lower bound.
    """

    place: Indices
    raw: Floats
    distances: Floats
    bounds: Floats


class MemoryDetector(ContinualDetector):
    """A bank of coresets over frozen patch features."""

    method: ClassVar[Method]
    routes: ClassVar[bool] = True  # whether the class of an image is a question at all
    only_shrinks: ClassVar[bool] = True  # memories never grow, so routing statistics bound later ones
    cumulative: ClassVar[bool] = False  # the newest entry holds all classes

    def __init__(
        self, backbone: TimmBackbone, settings: Settings, remembered: Sequence[Remembered] = ()
    ) -> None:
        self.backbone = backbone
        self.settings = settings
        self.remembered = list(remembered)

    # -- learning -------------------------------------------------------------------------------------

    def learn(self, experience: Experience) -> None:
        """Build the class's entry, calibrate it, append both."""
        self._reserve(experience.name)
        entry, training = build_entry(self.backbone, [experience], experience.name, self.settings)
        self.append(Remembered(entry, calibrate(training, self.settings.weibull)))

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

    @property
    def memory_bytes(self) -> int:
        """Bytes of the rows that are read, without the backbone."""
        return sum(visible.memory.rows.nbytes for visible in self.visible)

    # -- judging --------------------------------------------------------------------------------------

    def score(self, features: Floats, bounds: Floats | None = None) -> Scored:
        """Route images and score them.

        Args:
            features: float32 ``[n, P, d]``.
            bounds: float32 ``[n, T]``, lower bounds of the routing statistic from an earlier, larger memory.
        """
        routed = route(features, [visible.memory for visible in self.visible], self.settings.routing, bounds)
        raw = np.empty(len(features), np.float32)
        for place in np.unique(routed.place):
            chosen = routed.place == place
            raw[chosen] = self._image_scores(
                features[chosen], routed.distances[chosen], routed.nearest[chosen], place
            )
        return Scored(routed.place, raw, routed.distances, routed.bounds)

    def score_in(self, features: Floats, place: int) -> tuple[Floats, Floats]:
        """Score images in a given class's memory ("oracle"): raw scores ``[n]`` and patch distances ``[n, P]``."""
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
            features = extract(
                self.backbone, batch.__getitem__, len(batch), batch_size=self.settings.batch_size
            )
            scored = self.score(features)
            predictions += [
                self._prediction(float(raw), distances, int(place), image.shape[:2])
                for raw, distances, place, image in zip(
                    scored.raw, scored.distances, scored.place, batch, strict=True
                )
            ]
        return predictions

    def _prediction(self, raw: float, distances: Floats, place: int, shape: tuple[int, ...]) -> Prediction:
        name, _, calibration = self.visible[place]
        return Prediction(
            routed_class=name,
            score=float(calibration.standardise(raw)),
            probability=float(calibration.probability(raw)),
            p_value=float(calibration.p_value(raw)),
            anomalous=raw > calibration.threshold,
            map=self.map_of(distances, place, (shape[0], shape[1])),
            map_threshold=calibration.standardise_map(np.array([calibration.threshold], np.float32)).item(),
        )

    # -- state ----------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write the bank as it is read now, with its backbone: bank.json, three kinds of safetensors.

        Only rows within the budget are stored; later classes need no more of them.
        """
        rows_read = self._rows
        write_arrays(folder / "backbone.safetensors", self.backbone.weights())
        write_arrays(
            folder / "memory.safetensors",
            {k.entry.name: k.entry.rows[:n] for k, n in zip(self.remembered, rows_read, strict=True)},
        )
        for known, rows in zip(self.remembered, rows_read, strict=True):
            steps = known.calibrations.steps
            within = [step for step in steps if step.size <= rows] or steps[-1:]
            Calibrations(within).save(folder / "calibration" / known.entry.name)
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "method": self.method.value,
            "classes": list(self.classes),
            "architecture": self.backbone.architecture.to_json(),
            "knowledge": self.settings.knowledge.model_dump(mode="json"),
            "weibull": self.settings.weibull.model_dump(mode="json"),
            "routing": self.settings.routing.value,
            "seed": self.settings.seed,
            "batch_size": self.settings.batch_size,
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
        settings = Settings(
            KnowledgeParams(**record["knowledge"]),
            WeibullParams(**record["weibull"]),
            Routing(record["routing"]),
            record["seed"],
            record["batch_size"],
        )
        return cls(
            backbone,
            settings,
            [
                Remembered(Entry(name, rows[name]), Calibrations.load(folder / "calibration" / name))
                for name in record["classes"]
            ],
        )


def build_entry(
    backbone: TimmBackbone,
    experiences: Sequence[Experience],
    name: str,
    settings: Settings,
    progress: Progress | None = None,
) -> tuple[Entry, TrainingScores]:
    """Features, coreset, and the training images' leave-one-out scores (PatchCoreCL Algorithm 1).

    The entry holds min(M, n) rows in selection order and so depends on nothing but its own class: a
    smaller share of the budget is a shorter read.

    Memory: the features (n · P · d · 4 bytes; memory-mapped beyond 2 GiB), their projection, the rows.

    Args:
        backbone: Frozen.
        experiences: The images; more than one only for joint training.
        name: The entry's name.
        settings: Budget, projection, neighbours, seed.
        progress: Called with (images seen, images in all) while features are extracted.
    """
    images = [(experience, i) for experience in experiences for i in range(len(experience))]
    features = extract(
        backbone,
        lambda i: images[i][0].read(images[i][1]),
        len(images),
        batch_size=settings.batch_size,
        progress=progress,
    )
    patches, dim = features.shape[1:]
    flat = features.reshape(-1, dim)
    knowledge = settings.knowledge
    projected = project(flat, knowledge.projection, settings.seed)
    chosen = greedy_k_centre(projected, knowledge.budget, start=_outermost(projected))
    rows = np.ascontiguousarray(flat[chosen])
    sizes = prefixes(knowledge.budget, len(rows))
    training = leave_one_out(features, rows, chosen // patches, sizes, knowledge.neighbours, backbone.device)
    return Entry(name, rows), training


def _outermost(rows: Floats) -> int:
    """The row farthest from the mean, where the selection starts (Katsavounidis et al., 1994).

    PatchCore draws the first row; this one depends on the rows alone, not on their order or a seed.
    """
    return int((np.einsum("nd,nd->n", rows, rows) - 2 * (rows @ rows.mean(axis=0))).argmax())
