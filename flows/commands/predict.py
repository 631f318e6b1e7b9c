"""What the bank says of images: files, folders, or paths as they come on standard input."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from evernorm.errors import DataError, ParamsError
from flows.commands.answers import Answer, Judge, Unreadable, table_of
from flows.commands.environment import prepare
from flows.commands.runner import table_console

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
    full_size: bool = False,
) -> int:
    """Judge images and print the answers: a table, JSON, or JSON lines as they come.

    An image that cannot be read has its fault in the place of its answer, and ends nothing.

    Args:
        sources: Files and folders, which are searched to their depth; or `COMING` alone, which makes lines.
        out: Where a heat map picture of each image goes.
        root: The workspace whose champion judges.
        bank: A stored bank that judges instead.
        as_json: One JSON list instead of the table.
        as_lines: One line of JSON an image.
        bit_depth: Bits used by 16-bit files that do not tell them; None: as the classes of the bank have it.
        full_size: Whether pictures are as large as the images.

    Returns:
        How many of the images named could not be read; 0 for those that come on standard input.

    Raises:
        DataError: A folder without images.
        ParamsError: `COMING` beside other sources.
        StateError: There is no bank.
    """
    prepare(root, serving=True)
    from evernorm.data.profile import bit_depth_for
    from evernorm.methods.bank import load_bank
    from evernorm.methods.detector import IMAGES_AT_ONCE
    from tasks.stages.stage import progress_bar

    if COMING in sources and len(sources) > 1:
        raise ParamsError("- reads the paths from standard input and stands alone; name the others there too")
    paths = [] if COMING in sources else _images_of(sources)
    lines = as_lines or COMING in sources
    files, model = (bank, None) if bank else champion_of_workspace(root)
    detector = load_bank(files)
    stems = Counter(path.stem for path in paths)
    judge = Judge(
        detector,
        model,
        out,
        taken={stem for stem in stems if stems[stem] > 1},
        bit_depth=bit_depth or bit_depth_for(detector.profiles),
        full_size=full_size,
    )
    if COMING in sources:
        for path in _coming():
            _print_lines(judge.answers([path]))
        return 0
    answers = []
    with progress_bar("judging") as progress:
        for start in range(0, len(paths), IMAGES_AT_ONCE):
            some = judge.answers(paths[start : start + IMAGES_AT_ONCE])
            if lines:
                _print_lines(some)
            answers += some
            progress(min(start + IMAGES_AT_ONCE, len(paths)), len(paths))
    if as_json and not lines:
        print(json.dumps([answer.model_dump(by_alias=True) for answer in answers], indent=2))  # noqa: T201
    elif not lines:
        table_console().print(table_of(answers))
    return sum(isinstance(answer, Unreadable) for answer in answers)


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


def _print_lines(answers: Sequence[Answer | Unreadable]) -> None:
    for answer in answers:
        print(json.dumps(answer.model_dump(by_alias=True)), flush=True)  # noqa: T201


def champion_of_workspace(root: Path) -> tuple[Path, tuple[str, str]]:
    """The files of the champion, and which version of which model it is; says so where it may be champion no more.

    Raises:
        EvernormError: There is none, or it cannot be fetched.
    """
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    from tasks.tracking.champion import champion_files

    champion = champion_files(workspace)
    if champion.fetched:
        Console(stderr=True, highlight=False).print(
            f"MLflow is out of reach: {champion.model} version {champion.version} judges, as fetched at "
            f"{champion.fetched}; another one may be champion by now",
            style="yellow",
            soft_wrap=True,
        )
    return champion.bank, (champion.model, champion.version)
