"""Deliver a class into an inbox, and say so."""

from pathlib import Path

from rich.filesize import decimal

from evernorm.words import counted
from flows.commands.environment import prepare
from flows.commands.runner import say


def pack_class(folder: Path, place: str, *, add: bool, description: str | None) -> None:
    """Deliver the class in a folder and say what was sent.

    Args:
        folder: The class.
        place: The inbox.
        add: Whether to add to the delivery that is there; otherwise this one takes its place.
        description: What the class is, in words; None: what its folder says.

    Raises:
        EvernormError: Anything the user can cure; nothing was sent if the class is at fault.
    """
    prepare()
    from tasks.inbox.delivery import pack

    packed = pack(folder, place, add=add, description=description, tell=say)
    files = packed.manifest.files
    size = decimal(sum(file.size for file in files))
    say(
        f"{packed.manifest.display or packed.manifest.name}: {counted(len(files), 'file')}, {size}, in {place}; "
        f"{packed.there} there already"
    )
