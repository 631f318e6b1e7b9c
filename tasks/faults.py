"""Which faults may pass by themselves, and how other packages' faults are told to a user."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from evernorm.errors import EvernormError, PipelineError, RegistryError

# Names, so that no package has to be imported to be asked: requests', SQLAlchemy's, botocore's.
_PASSING_NAMES = {
    "ConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "OperationalError",
    "RetryError",
    "EndpointConnectionError",
    "ConnectionClosedError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ResponseStreamingError",
    "IncompleteReadError",
}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "OperationAborted", "NoSuchUpload"}
_PASSING_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}
_OWNER = "give this user the right to it, or work elsewhere"
_ROOM = "make room on the disk and run the same command again"
_CURES = {
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EROFS: _OWNER,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
}
_PASSING_NUMBERS = {errno.EIO, errno.ESTALE, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN}


class PassingError(PipelineError):
    """A fault that may pass by itself: a lock held, storage out of reach. Worth a retry."""


class UnfitError(PipelineError):
    """A class that cannot be learned from the images it has.

    Attributes:
        name: The class.
    """

    name: str = ""


def without_secrets(text: str) -> str:
    """A text whose addresses carry no user and no password."""
    text = re.sub(r"//[^/@\s]*@", "//", text)
    return re.sub(r"(?i)([?&](?:password|passwd|pwd|token|secret|sig)[^=&\s]*=)[^&\s]*", r"\1***", text)


def causes(error: BaseException) -> list[BaseException]:
    """An error and what led to it, the last one first."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    return chain


def out_of_reach(error: BaseException) -> bool:
    """Whether a connection failed, timed out, a server had a fault of its own, or a database was locked."""
    chain = causes(error)
    if (fault := _of_sqlite(chain)) is not None:
        return getattr(fault, "sqlite_errorcode", 0) & 0xFF in _PASSING_SQLITE
    return any(
        isinstance(cause, ConnectionError | TimeoutError)
        or (isinstance(cause, OSError) and cause.errno in _PASSING_NUMBERS)
        or type(cause).__name__ in _PASSING_NAMES
        or _server_fault(cause)
        for cause in chain
    )


def _of_sqlite(chain: list[BaseException]) -> BaseException | None:
    """SQLite's own error, which has one name for everything and a code."""
    return next((cause for cause in chain if isinstance(cause, sqlite3.OperationalError)), None)


def _server_fault(error: BaseException) -> bool:
    """Whether it is an answer of a server's that asks to come again."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):  # requests'; S3's are dictionaries
        return getattr(response, "status_code", 0) >= 500
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or response.get("Error", {}).get("Code") in _PASSING_CODES


@contextmanager
def mlflow_faults(uri: str) -> Iterator[None]:
    """Tell MLflow's faults as evernorm's.

    Raises:
        PassingError: The server or its database is out of reach.
        RegistryError: MLflow refuses; with what it said.
    """
    from mlflow.exceptions import MlflowException, RestException

    try:
        yield
    except EvernormError:
        raise
    except Exception as error:  # also of the packages that carry artifacts
        code = getattr(error, "error_code", "")
        # A server that answers so has lost its database or its artifacts.
        away = (code == "TEMPORARILY_UNAVAILABLE" and _of_sqlite(causes(error)) is None) or (
            isinstance(error, RestException) and code == "INTERNAL_ERROR"
        )
        if away or out_of_reach(error):
            raise PassingError(
                without_secrets(f"MLflow at {uri} is out of reach; check MLFLOW_TRACKING_URI and run again")
            ) from None  # what is behind it names the address with its password, and a traceback goes to Prefect
        if isinstance(error, MlflowException) or of_a_server(error):
            said = str(error).partition("\n")[0]
            raise RegistryError(without_secrets(f"MLflow at {uri} refuses: {said}")) from None
        raise


def of_a_server(error: BaseException) -> bool:
    """Whether it is what a package that talks to servers, or the disk, raises on purpose."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in {
        "botocore",
        "requests",
        "sqlalchemy",
    }


def of_the_machine(error: OSError) -> str | None:
    """What to do about a file that this machine does not let one write or read; None for any other fault."""
    if (cure := _CURES.get(error.errno or 0)) is None:
        return None
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror}; {cure}"


@contextmanager
def storage_faults(place: str) -> Iterator[None]:
    """Tell the faults of a directory or of S3 as evernorm's; no message holds what S3 was sent.

    Raises:
        PassingError: It is out of reach.
        PipelineError: It does not exist or refuses; with what to do.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        if out_of_reach(error):
            what = "AWS_ENDPOINT_URL and the network" if place.startswith("s3://") else "that it is mounted"
            raise PassingError(f"inbox {place} is out of reach; check {what}, and run again") from error
        raise PipelineError(f"inbox {place} {_refusal(error)}") from error


def _refusal(error: Exception) -> str:
    """What a storage says no to, and what to do."""
    from botocore.exceptions import ClientError, NoCredentialsError, PartialCredentialsError

    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return "needs credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case ClientError():
            found, status = error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            if found["Code"] == "NoSuchBucket":
                return "names a bucket that does not exist; make it or name another"
            if status in {401, 403}:
                return (
                    f"refuses the credentials ({found['Code']}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                    f"and what they permit"
                )
            return f"refuses: {found['Code']}, {found.get('Message', 'without a reason')}"
        case OSError():
            return f"refuses: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}"
    return f"cannot be used: {error}"
