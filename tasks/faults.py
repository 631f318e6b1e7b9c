"""Which faults may pass by themselves, and how other packages' faults are told to a user."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect.client.schemas.objects import State

from evernorm.errors import PipelineError, RegistryError


class PassingError(PipelineError):
    """A fault that may pass by itself: a lock held, storage out of reach. Worth a retry."""


def is_passing(_task: object, _run: object, state: State[Any]) -> bool:
    """Prefect's question whether to retry: only for what can pass."""
    return isinstance(state.result(raise_on_failure=False), PassingError)


def causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it, the last one first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def out_of_reach(error: BaseException) -> bool:
    """Whether a connection failed, timed out, or a database was locked."""
    return any(
        isinstance(cause, ConnectionError | TimeoutError)
        or type(cause).__name__ in {"ConnectionError", "ConnectTimeout", "ReadTimeout", "OperationalError"}
        for cause in causes(error)
    )


@contextmanager
def mlflow_faults(uri: str) -> Iterator[None]:
    """Tell MLflow's faults as evernorm's.

    Raises:
        PassingError: The server or its database is out of reach.
        RegistryError: MLflow refuses; with what it said.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if out_of_reach(error) or error.error_code == "TEMPORARILY_UNAVAILABLE":
            raise PassingError(
                f"MLflow at {uri} is out of reach; check MLFLOW_TRACKING_URI and run again"
            ) from error
        raise RegistryError(f"MLflow at {uri} refuses: {error.message}") from error
