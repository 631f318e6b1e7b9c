"""Deliver a class into an inbox, and say so."""

import os
from pathlib import Path

from rich.filesize import decimal

from evernorm.errors import ParamsError, PipelineError
from evernorm.words import counted
from flows.commands.environment import prepare
from flows.commands.runner import say


def pack_class(folder: Path, place: str, *, add: bool, description: str | None, announce: bool) -> None:
    """Deliver the class in a folder and say what was sent.

    Args:
        folder: The class.
        place: The inbox.
        add: Whether to add to the delivery that is there; otherwise this one takes its place.
        description: What the class is, in words; None: what its folder says.
        announce: Whether to tell the Prefect server of it.

    Raises:
        EvernormError: Anything the user can cure; nothing was sent if the class is at fault.
    """
    prepare()
    if announce and not os.environ.get("PREFECT_API_URL"):
        raise ParamsError("--announce tells a Prefect server: name it in PREFECT_API_URL")
    from tasks.inbox.delivery import pack

    packed = pack(folder, place, add=add, description=description, tell=say)
    files = packed.manifest.files
    size = decimal(sum(file.size for file in files))
    say(
        f"{packed.manifest.display or packed.manifest.name}: {counted(len(files), 'file')}, {size}, in {place}; "
        f"{packed.there} there already"
    )
    if announce:
        _announce(packed.manifest.name, place)
        say("announced")


def _announce(name: str, place: str) -> None:
    """Emit ``evernorm.class.arrived``, and wait until the server has it."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event, Resource

    from tasks.inbox.inbox import place_of

    labels = {"prefect.resource.id": f"evernorm.class.{name}", "evernorm.inbox": place_of(place)}
    event = Event(event="evernorm.class.arrived", resource=Resource.model_validate(labels))
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[event.model_dump(mode="json")])
    except (httpx.HTTPError, RuntimeError) as error:
        raise PipelineError(
            f"{name} is delivered, but no Prefect server takes the news ({error}); it is found at the next look"
        ) from error
