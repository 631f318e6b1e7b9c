"""Settings that are kept only if something was learned with them."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from evernorm.errors import EvernormError
from evernorm.params.groups import Params
from tasks.workspace.workspace import Workspace


@contextmanager
def kept_if_it_works(workspace: Workspace, before: Params) -> Iterator[None]:
    """Take new settings back where a run fails before it has committed anything: they would break the next one.

    Args:
        workspace: With the new settings in its params.yaml.
        before: Its parameters without them.

    Raises:
        EvernormError, OSError: What the run raised.
    """
    head = workspace.head
    try:
        yield
    except (EvernormError, OSError):
        if workspace.head == head:
            with workspace.locked():
                changed = workspace.take_back(before)
            if changed:
                Console(stderr=True, highlight=False).print(
                    "nothing was learned with the new settings, so params.yaml is as it was before",
                    markup=False,
                )
        raise
