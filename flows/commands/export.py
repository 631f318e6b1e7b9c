"""A bank as one graph, for where evernorm is not installed."""

import re
from pathlib import Path

from evernorm.errors import ParamsError
from flows.commands.environment import prepare
from flows.commands.predict import champion_of_workspace
from flows.commands.runner import say


def export(out: Path, root: Path, bank: Path | None, kind: str, size: str | None) -> None:
    """Write the champion, or a stored bank, as one graph, and say what it is.

    Raises:
        EvernormError: It cannot be had, or not be exported; what is wrong.
    """
    prepare(root)
    from evernorm.export.file import Format, about_exported, export_bank

    if kind not in list(Format):
        raise ParamsError(f"--format is {kind!r}, expected {' or '.join(Format)}")
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size) if size is not None else None
    if size is not None and sides is None:
        raise ParamsError(f"--size is {size!r}, expected WIDTHxHEIGHT in pixels, such as 640x480")
    shape = (int(sides[2]), int(sides[1])) if sides else None
    files, registered = (bank, None) if bank else champion_of_workspace(root)
    written = export_bank(files, out, Format(kind), shape, registered)
    about = about_exported(written[0])
    model = f"{about['model']} version {about['version']}" if about["model"] else "no registered version"
    for file in written:
        say(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    say(
        f"{len(about['classes'])} classes, images of {about['width']} x {about['height']} pixels, from {model}"
    )
