"""Metrics of a workspace for Prometheus: at an address, or printed once."""

import sys
from pathlib import Path
from threading import Event

from evernorm.errors import PipelineError
from flows.commands.environment import prepare
from flows.commands.runner import say


def show_metrics(root: Path, host: str, port: int, *, once: bool) -> None:
    """Answer Prometheus until stopped, or print what it would be answered.

    Args:
        root: The workspace.
        host: Address to listen at.
        port: Of it.
        once: Only print (for node_exporter's textfile collector, or a look).

    Raises:
        EvernormError: There is no workspace.
        PipelineError: The port is taken.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from tasks.fleet.metrics import WorkspaceCollector

    registry = CollectorRegistry(auto_describe=False)
    registry.register(WorkspaceCollector(workspace))
    if once:
        sys.stdout.write(generate_latest(registry).decode())
        return
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise PipelineError(
            f"nothing can listen at {host}:{port} ({error.strerror}); choose another --port"
        ) from error
    say(f"metrics of {workspace.root} at http://{host}:{port}/metrics; Ctrl-C ends it")
    Event().wait()
