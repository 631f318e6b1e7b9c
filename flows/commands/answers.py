"""The bank's answers for image files: as JSON, as rows of a table, as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from evernorm.errors import DataError
from evernorm.files import sha256_file

if TYPE_CHECKING:
    from evernorm.methods.detector import Detector, Prediction


class Answer(BaseModel):
    """What the bank says of an image, and what it said so on; null for the figures of an unknown product.

    Attributes:
        image: The file.
        sha256: Of its bytes.
        model: The registered model; null for a bank that was named with --bank.
        version: Its version.
        class_: The class that the image was sent to, by its key; null for an unknown product, and for a method that
            does not ask.
        display: What people call it.
        unknown: Whether the image shows no class that the bank knows.
        anomalous: The decision; true for an unknown product.
        score: Standard deviations above the class's normal images.
        threshold: The score beyond which an image of the class is called anomalous.
        p_value: How often a normal image of the class scores at least this high.
        probability: Outlier probability, from the Weibull tail.
        map_max: The highest value of the anomaly map.
        map_threshold: The value of the map at which a spot alone makes an image anomalous.
        region: Where the defect is: left, top, right, bottom in pixels, of the spot around the highest value of the
            map, above its threshold; null where nothing is.
        warning: What is odd about the image.
        picture: Where its heat map was written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    image: str
    sha256: str
    model: str | None
    version: str | None
    class_: str | None = Field(alias="class")
    display: str | None
    unknown: bool
    anomalous: bool
    score: float | None
    threshold: float | None
    p_value: float | None
    probability: float | None
    map_max: float | None
    map_threshold: float | None
    region: tuple[int, int, int, int] | None
    warning: str | None
    picture: str | None


class Unreadable(BaseModel):
    """An image that cannot be read.

    Attributes:
        image: The file.
        error: What is wrong with it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    error: str


@dataclass
class Judge:
    """A detector that answers for files.

    Attributes:
        detector: What judges.
        model: Name and version of the registered model it is; None for a bank that is in no registry.
        out: Where pictures go, if anywhere.
        bit_depth: Bits used by 16-bit files that do not tell them; None: such a file cannot be read.
        taken: Names that no picture can have alone: several images have them, or one before had.
        full_size: Whether pictures are as large as the images.
        number: How many images there have been.
    """

    detector: "Detector"
    model: tuple[str, str] | None
    out: Path | None
    taken: set[str]
    bit_depth: int | None
    full_size: bool = False
    number: int = 0

    def answers(self, paths: Sequence[Path]) -> list[Answer | Unreadable]:
        """Answers for a few images, in their order; the fault of one that cannot be read."""
        from evernorm.data.image import read_image
        from evernorm.overlay import LONGEST, save_overlay

        answers: dict[int, Answer | Unreadable] = {}
        arrays, hashes = {}, {}
        for place, path in enumerate(paths):
            try:
                array = read_image(path, self.bit_depth)
                hashes[place] = sha256_file(path)
            except DataError as error:
                answers[place] = Unreadable(image=str(path), error=error.message)
            except FileNotFoundError:
                answers[place] = Unreadable(image=str(path), error="it was removed while it was read")
            else:
                arrays[place] = array
        predictions = self.detector.predict(list(arrays.values())) if arrays else []
        for (place, array), prediction in zip(arrays.items(), predictions, strict=True):
            picture = self._picture(paths[place], self.number + place, prediction)
            if picture is not None and prediction.map is not None and prediction.map_threshold is not None:
                longest = None if self.full_size else LONGEST
                save_overlay(
                    picture, array, prediction.map, prediction.map_threshold, said(prediction), longest
                )
            answers[place] = self._answer(paths[place], hashes[place], prediction, picture)
        self.number += len(paths)
        return [answers[place] for place in range(len(paths))]

    def _picture(self, path: Path, number: int, prediction: "Prediction") -> Path | None:
        """Where an image's picture goes, if it has a map; one whose name is taken is numbered by its place."""
        if prediction.map is None:
            return None
        name = f"{path.stem}-{number}" if path.stem in self.taken else path.stem
        self.taken.add(path.stem)
        return self.out / f"{name}.png" if self.out else None

    def _answer(self, path: Path, digest: str, prediction: "Prediction", picture: Path | None) -> Answer:
        model, version = self.model or (None, None)
        return Answer(
            **prediction.to_json(),
            image=str(path),
            sha256=digest,
            model=model,
            version=version,
            map_max=None if prediction.map is None else float(prediction.map.max()),
            map_threshold=prediction.map_threshold,
            picture=str(picture) if picture else None,
        )


def said(prediction: "Prediction") -> list[str]:
    """Class, decision and figures, as a picture says them: the class by its key where the letters are no Latin ones."""
    name = prediction.display if prediction.display.isascii() else prediction.routed_class or ""
    decision = "DEFECTIVE" if prediction.anomalous else "good"
    figures = f"score {prediction.score:+.2f}, threshold {prediction.threshold:+.2f}, p-value {_share(prediction.p_value)}"
    return [" · ".join(filter(None, [name, decision])), figures]


def _share(p_value: float | None) -> str:
    return "–" if p_value is None else "< 0.0001" if p_value < 1e-4 else f"{p_value:.4f}"


def table_of(answers: Sequence[Answer | Unreadable]) -> Table:
    """The answers for people: a row an image."""
    columns = ("class", "score", "threshold", "p-value", "decision")
    table = Table(Column("image", overflow="fold"), *columns, box=SIMPLE_HEAD)
    for answer in answers:
        image = Text(answer.image)
        if isinstance(answer, Unreadable):
            image.append(f"\n{answer.error}", style="red")
            table.add_row(image, "–", "–", "–", "–", "[bold red]cannot be read[/]")
            continue
        if answer.unknown:
            table.add_row(image, "[bold yellow]unknown class[/]", "–", "–", "–", "[bold red]unknown[/]")
            continue
        if answer.warning:
            image.append(f"\n{answer.warning}", style="yellow")
        decision = "[bold red]defective[/]" if answer.anomalous else "good"
        figures = (f"{answer.score:+.2f}", f"{answer.threshold:+.2f}", _share(answer.p_value))
        table.add_row(image, Text(answer.display or "–"), *figures, decision)
    return table
