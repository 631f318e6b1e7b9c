"""Another MLflow for a workspace: its history begins anew there."""

from typing import TYPE_CHECKING

from tasks.tracking.champion import drop_copy
from tasks.tracking.ownership import registry_of
from tasks.tracking.registry import champion_of
from tasks.tracking.server import named_server, note
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def move_tracking(workspace: Workspace) -> "ModelVersion | None":
    """Make the MLflow that is named now the one that keeps the history from now on; what the old one has stays there.

    Args:
        workspace: Held by the caller.

    Returns:
        The champion there: of this workspace, if it was there before.

    Raises:
        EvernormError: It is out of reach, or the registered model there is another workspace's; nothing has changed.
    """
    with registry_of(workspace, moving=True) as registry:
        champion = champion_of(registry)
    drop_copy(workspace)
    note(workspace, named_server(workspace))
    return champion
