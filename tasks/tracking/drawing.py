"""Which pictures an experience has, from what its stages left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.files import StoredArrays, length, read_arrays, read_json
from evernorm.memory.compact import unpacked
from evernorm.structure.report import REPORT, flagged
from evernorm.structure.store import load_labels
from evernorm.types import Floats
from evernorm.words import counted
from tasks.tracking.matrix import matrix_of
from tasks.workspace.workspace import Workspace


def draw(folder: Path, workspace: Workspace, name: str, metrics: Mapping[str, Any]) -> None:
    """Draw all of them into a folder: figures, examples, structure, training."""
    from tasks.tracking.pictures import called, draw_all, save, training_curve

    classes = {key: called(key, workspace.display(key)) for key in metrics["classes"]}
    evaluation = workspace.paths.bank(name, "evaluation")
    outcomes = read_arrays(evaluation / "outcomes.safetensors")
    thresholds = read_arrays(evaluation / "thresholds.safetensors")
    examples = read_arrays(evaluation / "examples.safetensors")
    draw_all(folder, classes, matrix_of(workspace.paths, name), outcomes, examples, thresholds)
    if (workspace.paths.masks(name) / REPORT).is_file():
        _draw_structure(folder, workspace, name, classes[name])
    history = training_history(workspace, name)
    if "loss" in history:
        save(training_curve(history, classes[name]), folder / "prompt.png")
    trained = trained_arrays(workspace, name)
    if "replay.pictures" in trained:
        from tasks.tracking.replay_pictures import samples_sheet

        before = metrics["classes"][: metrics["classes"].index(name)]
        save(samples_sheet(trained, [classes[each] for each in before]), folder / "replay.png")


def draw_bank(path: Path, workspace: Workspace) -> bool:
    """Draw the rows that the bank reads now, and tell whether there is a picture: a method without rows has none."""
    from tasks.tracking.bank_picture import LEAST, MOST, bank_map, in_plane
    from tasks.tracking.pictures import called, save

    learned = workspace.learned()
    kept, shown = _some_of_each(workspace, learned, MOST)
    if not shown or len(np.unique(np.concatenate([*shown.values()]), axis=0)) < LEAST:
        return False
    points = in_plane(np.concatenate([*shown.values()]))
    parts = np.split(points, np.cumsum([len(rows) for rows in shown.values()])[:-1])
    title = (
        f"{workspace.params.method}: what the bank remembers of {counted(len(shown), 'class', 'classes')}\n"
        f"t-SNE of {len(points):,} of its {kept:,} rows"
    )
    classes = [called(name, workspace.display(name)) for name in learned]
    save(bank_map(dict(zip(shown, parts, strict=True)), classes, title), path)
    return True


def _some_of_each(workspace: Workspace, learned: list[str], most: int) -> tuple[int, dict[int, Floats]]:
    """How many rows the bank has, and so many at most of them, by the place in the stream of their class.

    Memory: the rows of one entry, and those that are given.
    """
    from tasks.tracking.bank_picture import some_rows

    bank = StoredArrays(workspace.paths.model(learned[-1]) / "entries.safetensors") if learned else {}
    places = {
        name: bank[f"{name}/classes"]
        if f"{name}/classes" in bank
        else np.full(length(bank, f"{name}/rows"), at)
        for at, name in enumerate(learned)
        if f"{name}/rows" in bank
    }
    share = max(1, most // max(1, sum(len(np.unique(of)) for of in places.values())))
    shown: dict[int, Floats] = {}
    for name, of in places.items():
        rows = unpacked(bank, f"{name}/rows")
        shown |= {int(place): some_rows(rows[of == place], share) for place in np.unique(of)}
    return sum(map(len, places.values())), shown


def trained_arrays(workspace: Workspace, name: str) -> Mapping[str, Any]:
    """What the training of a class left, by name; empty where nothing was trained."""
    stored = workspace.paths.bank(name, "prompts") / "trained.safetensors"
    return StoredArrays(stored) if stored.is_file() else {}


def training_history(workspace: Workspace, name: str) -> dict[str, Any]:
    """What happened in each epoch, by name; empty where nothing was trained."""
    trained = trained_arrays(workspace, name)
    return {key.removeprefix("history."): trained[key] for key in trained if key.startswith("history.")}


def _draw_structure(folder: Path, workspace: Workspace, name: str, called: str) -> None:
    """A contact sheet of training images beside their parts, those that were reported first."""
    from tasks.tracking.pictures import save
    from tasks.tracking.structure_pictures import SHOWN, contact_sheet

    view = Experience.of(Manifest.load(workspace.paths.training(name)), workspace.paths.data(name))
    reported = flagged(read_json(workspace.paths.masks(name) / REPORT))
    spread = [view.paths[i] for i in range(0, len(view), -(-len(view) // SHOWN))]
    numbers = [view.paths.index(path) for path in dict.fromkeys([*reported, *spread])][:SHOWN]
    labels = workspace.paths.masks(name) / "labels"
    pairs = [(view.read(i), load_labels(labels, view.paths[i])) for i in numbers]
    save(contact_sheet(pairs, called), folder / "structure.png")
