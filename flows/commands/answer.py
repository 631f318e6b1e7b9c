"""What the bank says: predictions for files, and what it knows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from evernorm.errors import DataError, StateError
from flows.commands.environment import prepare

if TYPE_CHECKING:
    from evernorm.methods.base import Prediction


def predict_files(images: list[Path], out: Path | None, root: Path, bank: Path | None, as_json: bool) -> None:
    """Judge image files and print the answers, one line or one JSON object each.

    Raises:
        DataError: Listing every file that cannot be read; nothing is predicted then.
        StateError: There is no bank.
    """
    prepare(root)
    from evernorm.data.image import read_image
    from evernorm.methods.memory.base import IMAGES_AT_ONCE
    from evernorm.methods.presets import load_bank
    from evernorm.overlay import save_overlay

    faults = []
    for path in images:
        try:
            read_image(path)
        except DataError as error:
            faults.append(error.message)
    if faults:
        raise DataError(
            f"{len(faults)} of {len(images)} images cannot be read; nothing was predicted", faults
        )
    detector = load_bank(bank or _champion(root))
    answers = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        paths = images[start : start + IMAGES_AT_ONCE]
        arrays = [read_image(path) for path in paths]
        for path, array, prediction in zip(paths, arrays, detector.predict(arrays), strict=True):
            known = prediction.routed_class is not None
            picture = _picture(out, path, images) if out is not None and known else None
            if picture is not None:
                save_overlay(picture, array, prediction.map, prediction.map_threshold)
            answers.append(_plain(path, prediction, picture))
    if as_json:
        print(json.dumps(answers, indent=2))  # noqa: T201
        return
    columns = ("class", "score", "outlier\nprobability", "p-value", "decision")
    table = Table(Column("image", overflow="fold"), *columns, box=SIMPLE_HEAD)
    for answer in answers:
        if answer["class"] is None:
            table.add_row(
                Text(answer["image"]), "[bold yellow]unknown class[/]", "–", "–", "–", "[bold red]unknown[/]"
            )
            continue
        decision = "[bold red]defective[/]" if answer["anomalous"] else "good"
        figures = (f"{answer['score']:+.2f}", f"{answer['probability']:.3f}", f"{answer['p_value']:.4f}")
        table.add_row(Text(answer["image"]), answer["class"], *figures, decision)
    Console(highlight=False).print(table)


def show_status(root: Path) -> None:
    """Print what a workspace's bank knows."""
    prepare(root)
    from evernorm.data.manifest import Manifest
    from evernorm.files import read_json
    from tasks.workspace.workspace import Workspace

    console = Console(highlight=False)
    workspace = Workspace.open(root)
    paths, order = workspace.paths, workspace.params.order
    learned = [name for name in order if paths.metrics(name).is_file()]
    if not learned:
        console.print(f"{root} knows no class yet ({len(order)} in the stream)")
        return
    last = read_json(paths.metrics(learned[-1]))
    columns = (
        "training\nimages",
        "image AUROC\nwhen learned",
        "\nnow",
        "\nbytes",
        "false\nalarms",
        "\nfound",
    )
    table = Table("class", *columns, box=SIMPLE_HEAD)
    for place, name in enumerate(learned):
        now = last["per_class"][name]
        then = last["matrix"]["image_auroc"][place][-1]
        figures = [_figure(value) for value in (then, now["image_auroc"])]
        shares = [_figure(now[key]) for key in ("false_alarm_rate", "detection_rate")]
        count = len(Manifest.load(paths.manifest(name)).train)
        table.add_row(name, str(count), *figures, _figure(now["bytes"], 0), *shares)
    console.print(table)
    for name in (name for name in order if name not in learned):
        console.print(f"{name}: in the stream, not learned yet")
    champion = _champion_version(root)
    console.print(f"champion: version {champion.version}" if champion else "champion: none")


def _champion(root: Path) -> Path:
    """The files of the champion, fetched from MLflow."""
    version = _champion_version(root)

    from mlflow.artifacts import download_artifacts

    from tasks.faults import mlflow_faults
    from tasks.tracking.registry import MODEL
    from tasks.tracking.runs import tracking_uri
    from tasks.workspace.workspace import Workspace

    uri = tracking_uri(Workspace.open(root))
    if version is None:
        raise StateError(f"{MODEL} has no champion yet; learn a class, or name a stored bank with --bank")
    with mlflow_faults(uri):
        source = download_artifacts(version.source, tracking_uri=uri)
    return Path(source) / "data" / _data_name(Path(source))


def _data_name(model: Path) -> str:
    """The bank's folder inside a pyfunc model."""
    return next(path.parent.name for path in sorted((model / "data").glob("*/bank.json")))


def _champion_version(root: Path) -> Any:
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there

    from tasks.tracking.registry import champion_of
    from tasks.tracking.runs import connected

    with connected(workspace) as client:
        return champion_of(client)


def _picture(out: Path, image: Path, images: list[Path]) -> Path:
    """Where an image's picture goes; files of the same name get their place in the list."""
    alike = [other for other in images if other.stem == image.stem]
    number = f"-{images.index(image)}" if len(alike) > 1 else ""
    return out / f"{image.stem}{number}.png"


def _plain(path: Path, prediction: "Prediction", picture: Path | None) -> dict[str, Any]:
    """An answer as JSON has it; null for the figures of an unknown product."""
    values = {key: value for key, value in asdict(prediction).items() if key not in {"map", "routed_class"}}
    values["map_max"] = float(prediction.map.max())
    known = prediction.routed_class is not None
    return {
        "image": str(path),
        "class": prediction.routed_class,
        "unknown": not known,
        **{key: value if known or key == "anomalous" else None for key, value in values.items()},
        "picture": str(picture) if picture else None,
    }


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
