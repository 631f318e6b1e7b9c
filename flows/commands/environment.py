"""Settings of the dependencies that must stand before they are imported: no telemetry, little noise."""

import os
from pathlib import Path

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Of every dependency."""
_QUIET = {
    **NO_TELEMETRY,
    "GIT_TERMINAL_PROMPT": "0",  # nobody is there to be asked for a remote's password
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # the command tells a fault once, in one sentence
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
    # What runs say is for Prefect's page, not for the terminal.
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # a server's answer that has lost its database
    "EVERNORM_TELLS_ERRORS": "true",  # also those of a stage, which does not print them then
    "PYTHONWARNINGS": "ignore",  # a library's words to programmers, in stages and servers that are started
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # The tasks wait for a server that is away, and look before they write again; MLflow's own patience, minutes a
    # call, would send the same record twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Threads that spin while they wait slow a machine down several times when anything else runs on it.
    "OMP_WAIT_POLICY": "PASSIVE",
}


SERVING = {"OPENBLAS_THREAD_TIMEOUT": "4"}
"""Where images come one by one: NumPy's threads spin for 30 ms after a product, in which the engine's have to wait.

With an image each 30 ms an answer takes 13 ms so, and 25 ms without (docs/results.md, "Engines and search").
"""

# Git sets them for its hooks; they would lead a workspace's commits into the repository of the hook.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
)


def mlflow_is_shared() -> bool:
    """Whether MLflow is a server that others may use too, and not the workspace's own database."""
    return any(os.environ.get(name) for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"))


def prepare(workspace: Path | None = None, *, serving: bool = False) -> None:
    """Set what the user has not set; drop what is not meant for us; keep Prefect's state here if it has no server."""
    for name in _FOREIGN:
        os.environ.pop(name, None)
    for name, value in {**_QUIET, **(SERVING if serving else {})}.items():
        os.environ.setdefault(name, value)
    if workspace is not None and workspace.is_dir() and not os.environ.get("PREFECT_API_URL"):
        os.environ.setdefault("PREFECT_HOME", str(workspace.resolve() / ".prefect"))
