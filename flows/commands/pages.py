"""Where the pages of MLflow and Prefect are that show what was learned."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.tracking.view import View
    from tasks.workspace.workspace import Workspace


def pages_of(workspace: "Workspace", experiment: str | None = None, view: "View | None" = None) -> list[str]:
    """A line each: the address where a server runs, the command that starts one where none does.

    Args:
        workspace: Whose.
        experiment: Name of the experiment in MLflow; that of the streams where None.
        view: Its saved view.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    from prefect.settings import PREFECT_UI_URL

    from tasks.faults import without_secrets
    from tasks.tracking.keyed import experiment_of
    from tasks.tracking.server import EXPERIMENT, connected, tracking_uri
    from tasks.tracking.view import STREAMS, address

    scripts = Path(sys.executable).parent
    uri = without_secrets(tracking_uri(workspace))
    if uri.startswith(("http://", "https://")):
        with connected(workspace) as client:
            mlflow = address(uri, experiment_of(client, workspace, experiment or EXPERIMENT), view or STREAMS)
    else:
        mlflow = f"{scripts / 'mlflow'} ui --backend-store-uri {shlex.quote(uri)}"
    if os.environ.get("PREFECT_API_URL"):
        prefect = f"{without_secrets(str(PREFECT_UI_URL.value()))}/runs"
    else:
        home = shlex.quote(os.environ.get("PREFECT_HOME", str(Path.home() / ".prefect")))
        prefect = f"PREFECT_HOME={home} {scripts / 'prefect'} server start"
    return [f"MLflow:  {mlflow}", f"Prefect: {prefect}"]
