"""What the bank says of images: files, folders, or paths as they come on standard input."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from evernorm.errors import DataError, ParamsError, StateError
from flows.commands.answers import Answer, Judge, table_of
from flows.commands.environment import prepare

COMING = Path("-")  # the paths come on standard input


def predict_images(
    sources: list[Path],
    out: Path | None,
    root: Path,
    bank: Path | None,
    *,
    as_json: bool = False,
    as_lines: bool = False,
    bit_depth: int | None = None,
) -> None:
    """Judge images and print the answers: a table, JSON, or JSON lines as they come.

    Args:
        sources: Files and folders, which are searched to their depth; or `COMING` alone, which makes lines.
        out: Where a heat map picture of each image goes.
        root: The workspace whose champion judges.
        bank: A stored bank that judges instead.
        as_json: One JSON list instead of the table.
        bit_depth: Bits used by 16-bit files that do not tell them; None: as the classes of the bank have it.
        as_lines: One line of JSON an image; an image that cannot be read is a line with its ``error``.

    Raises:
        DataError: A folder without images; without lines, every file that cannot be read, and nothing is predicted.
        ParamsError: `COMING` beside other sources.
        StateError: There is no bank.
    """
    prepare(root)
    from evernorm.data.profile import bit_depth_for
    from evernorm.methods.bank import load_bank
    from evernorm.methods.detector import IMAGES_AT_ONCE
    from tasks.stages.stage import progress_bar

    if COMING in sources and len(sources) > 1:
        raise ParamsError("- reads the paths from standard input and stands alone; name the others there too")
    paths = [] if COMING in sources else _images_of(sources)
    lines = as_lines or COMING in sources
    detector = load_bank(bank or _champion(root))
    depth = bit_depth or bit_depth_for(detector.profiles)
    if not lines:
        _check(paths, depth)
    stems = Counter(path.stem for path in paths)
    judge = Judge(detector, out, {stem for stem in stems if stems[stem] > 1}, depth)
    if COMING in sources:
        for path in _coming():
            _print_lines(judge.answers([path]))
        return
    answers = []
    with progress_bar("judging") as progress:
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            some = judge.answers(paths[start : start + IMAGES_AT_ONCE])
            if lines:
                _print_lines(some)
            else:
                answers += some
            progress(min(start + IMAGES_AT_ONCE, len(paths)), len(paths))
    if lines:
        return
    if faults := [answer["error"] for answer in answers if "error" in answer]:  # gone since they were checked
        raise DataError(f"{len(faults)} of {len(paths)} images cannot be read any more", faults)
    if as_json:
        print(json.dumps(answers, indent=2))  # noqa: T201
    else:
        Console(highlight=False).print(table_of(answers))


def _images_of(sources: Sequence[Path]) -> list[Path]:
    """Files as they are named, and the images in folders.

    Raises:
        DataError: Listing the folders without images.
    """
    paths, faults = [], []
    for source in sources:
        found = list(_images_below(source)) if source.is_dir() else [source]
        paths += found
        if not found:
            faults.append(str(source))
    if faults:
        raise DataError("there are no images in these folders", faults)
    return paths


def _images_below(folder: Path) -> Iterator[Path]:
    """Images in a folder and the folders in it, in the order of their names; linked folders are not followed."""
    from evernorm.data.image import SUFFIXES
    from evernorm.data.listing import visible_entries

    for entry in visible_entries(folder):
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _images_below(entry)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry


def _coming() -> Iterator[Path]:
    """The paths on standard input, one a line, as they come."""
    for line in sys.stdin.buffer:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            yield Path(name)


def _check(paths: Sequence[Path], bit_depth: int | None) -> None:
    from evernorm.data.image import read_image
    from tasks.stages.stage import progress_bar

    faults = []
    with progress_bar("checking") as progress:
        for done, path in enumerate(paths, 1):
            try:
                read_image(path, bit_depth)
            except DataError as error:
                faults.append(error.message)
            progress(done, len(paths))
    if faults:
        raise DataError(f"{len(faults)} of {len(paths)} images cannot be read; nothing was predicted", faults)


def _print_lines(answers: Sequence[Answer]) -> None:
    for answer in answers:
        print(json.dumps(answer), flush=True)  # noqa: T201


def _champion(root: Path) -> Path:
    """The files of the champion, fetched from MLflow.

    Raises:
        StateError: There is none.
    """
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there

    from mlflow.artifacts import download_artifacts

    from tasks.tracking.ownership import registry_of
    from tasks.tracking.registry import champion_of
    from tasks.tracking.runs import tracking_uri

    with registry_of(workspace) as registry:
        version = champion_of(registry)
        if version is None:
            raise StateError(
                f"{registry.name} has no champion yet; learn a class, or name a stored bank with --bank (an "
                f"experiment's are in {root / 'models'})"
            )
        source = Path(download_artifacts(version.source, tracking_uri=tracking_uri(workspace)))
    # The bank's folder inside a pyfunc model.
    return next(path.parent for path in sorted((source / "data").glob("*/bank.json")))
