"""Deliver a class into an inbox, and say so."""

from pathlib import Path

from rich.console import Console
from rich.filesize import decimal

from flows.commands.environment import prepare


def pack_class(folder: Path, place: str) -> None:
    """Deliver the class in a folder and say what was sent.

    Raises:
        EvernormError: Anything the user can cure; nothing was sent if the class is at fault.
    """
    prepare()
    from tasks.inbox.delivery import pack

    packed = pack(folder, place)
    files = packed.manifest.files
    size = decimal(sum(file.size for file in files))
    Console(highlight=False, markup=False, soft_wrap=True).print(
        f"{packed.manifest.display or packed.manifest.name}: {len(files)} files, {size}, are in {place}; "
        f"{packed.there} of them were there already"
    )
