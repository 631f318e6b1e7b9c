"""The bank's answers for image files: as JSON, as rows of a table, as pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Column, Table
from rich.text import Text

from evernorm.errors import DataError

if TYPE_CHECKING:
    from evernorm.methods.detector import Detector, Prediction

Answer = dict[str, Any]


@dataclass
class Judge:
    """A detector that answers for files.

    Attributes:
        detector: What judges.
        out: Where pictures go, if anywhere.
        bit_depth: Bits used by 16-bit files that do not tell them; None: such a file cannot be read.
        taken: Names that no picture can have alone: several images have them, or one before had.
        number: How many images there have been.
    """

    detector: "Detector"
    out: Path | None
    taken: set[str]
    bit_depth: int | None
    number: int = 0

    def answers(self, paths: Sequence[Path]) -> list[Answer]:
        """Answers for a few images, in their order; the fault of one that cannot be read."""
        from evernorm.data.image import read_image
        from evernorm.overlay import save_overlay

        answers: dict[int, Answer] = {}
        arrays = {}
        for place, path in enumerate(paths):
            try:
                arrays[place] = read_image(path, self.bit_depth)
            except DataError as error:
                answers[place] = {"image": str(path), "error": error.message}
        predictions = self.detector.predict(list(arrays.values())) if arrays else []
        for (place, array), prediction in zip(arrays.items(), predictions, strict=True):
            picture = self._picture(paths[place], self.number + place, prediction)
            if picture is not None and prediction.map is not None and prediction.map_threshold is not None:
                save_overlay(picture, array, prediction.map, prediction.map_threshold)
            answers[place] = _plain(paths[place], prediction, picture)
        self.number += len(paths)
        return [answers[place] for place in range(len(paths))]

    def _picture(self, path: Path, number: int, prediction: "Prediction") -> Path | None:
        """Where an image's picture goes, if it has a map; one whose name is taken is numbered by its place."""
        if prediction.map is None:
            return None
        name = f"{path.stem}-{number}" if path.stem in self.taken else path.stem
        self.taken.add(path.stem)
        return self.out / f"{name}.png" if self.out else None


def table_of(answers: Sequence[Answer]) -> Table:
    """The answers for people: a row an image."""
    columns = ("class", "score", "outlier\nprobability", "p-value", "decision")
    table = Table(Column("image", overflow="fold"), *columns, box=SIMPLE_HEAD)
    for answer in answers:
        if answer["unknown"]:
            table.add_row(
                Text(answer["image"]), "[bold yellow]unknown class[/]", "–", "–", "–", "[bold red]unknown[/]"
            )
            continue
        decision = "[bold red]defective[/]" if answer["anomalous"] else "good"
        figures = (f"{answer['score']:+.2f}", f"{answer['probability']:.3f}", f"{answer['p_value']:.4f}")
        image = Text(answer["image"])
        if answer["warning"]:
            image.append(f"\n{answer['warning']}", style="yellow")
        table.add_row(image, Text(answer["display"] or "–"), *figures, decision)
    return table


def _plain(path: Path, prediction: "Prediction", picture: Path | None) -> Answer:
    """An answer as JSON has it; null for the figures of an unknown product."""
    apart = {"map", "routed_class", "unknown", "display", "warning"}
    values = {key: value for key, value in asdict(prediction).items() if key not in apart}
    values["map_max"] = None if prediction.map is None else float(prediction.map.max())
    known = not prediction.unknown
    return {
        "image": str(path),
        "class": prediction.routed_class,
        "display": prediction.display or None,
        "unknown": prediction.unknown,
        "warning": prediction.warning,
        **{key: value if known or key == "anomalous" else None for key, value in values.items()},
        "picture": str(picture) if picture else None,
    }
