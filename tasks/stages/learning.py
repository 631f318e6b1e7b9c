"""What the stages that learn share: the lesson, what came before, the record of what a result was made from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evernorm.data.experience import Experience
from evernorm.data.manifest import Manifest
from evernorm.files import StoredArrays, read_json, sha256_file, write_arrays, write_json
from evernorm.lineage import write_lineage
from evernorm.methods.learner import Learner, StateKind
from evernorm.methods.lesson import Lesson
from evernorm.params.groups import Params
from evernorm.structure.store import load_labels
from evernorm.types import Arrays, Labels
from tasks.workspace.paths import Paths

CARRY = "carry.safetensors"
BEFORE = "carry.json"


def lesson_of(name: str, learner: Learner, params: Params, paths: Paths) -> Lesson:
    """What the learner may see of a class."""
    experience = experience_of(name, paths)
    folder = paths.masks(name) / "labels"

    def parts(number: int) -> Labels:
        return load_labels(folder, experience.paths[number])

    earlier: tuple[Experience, ...] = ()
    if learner.looks_back:
        earlier = tuple(experience_of(each["class"], paths) for each in classes_before(name, params, paths))
    return Lesson(experience, parts if learner.traits.structured else None, earlier)


def experience_of(name: str, paths: Paths) -> Experience:
    """The normal training images of a class."""
    return Experience.of(Manifest.load(paths.training(name)), paths.data(name))


def carried(name: str, params: Params, paths: Paths) -> Arrays:
    """What the class before carries; nothing where states are independent."""
    stored = paths.bank(params.stream[name].needs, "carry") / CARRY
    return dict(StoredArrays(stored)) if stored.is_file() else {}


def classes_before(name: str, params: Params, paths: Paths) -> list[dict[str, str]]:
    """The classes that a state stands on, in order, each with the hash of its training images."""
    listed: list[dict[str, str]] = read_json(paths.bank(params.stream[name].needs, "carry") / BEFORE)[
        "classes"
    ]
    return listed


def save_carry(name: str, learner: Learner, arrays: Arrays, params: Params, paths: Paths) -> None:
    """Store what the next class is learned with, and which images it stands on."""
    folder = paths.bank(name, "carry")
    classes: list[dict[str, str]] = []
    if learner.traits.state is not StateKind.INDEPENDENT:
        own = {"class": name, "training": sha256_file(paths.training(name))}
        classes = [*classes_before(name, params, paths), own]
    if arrays:
        write_arrays(folder / CARRY, arrays)
    write_json(folder / BEFORE, {"classes": classes})


def trained_of(name: str, paths: Paths) -> Arrays:
    """What was trained for a class, read when it is needed; nothing where a record says so."""
    stored = paths.bank(name, "prompts") / "trained.safetensors"
    return StoredArrays(stored) if stored.is_file() else {}


def record_lineage(
    stage: str,
    revisions: Mapping[str, int],
    folder: Path,
    paths: Paths,
    *,
    inputs: Sequence[Path],
    params: Mapping[str, Any],
    packages: Sequence[str],
    weights: str = "",
) -> None:
    """Write beside a result what it was made from; an input that a method does not have is left out."""
    write_lineage(
        folder / "lineage.json",
        stage=stage,
        inputs=[path for path in inputs if path.is_file()],
        root=paths.root,
        params=params,
        packages=packages,
        revision=revisions[stage],
        weights=weights,
    )
