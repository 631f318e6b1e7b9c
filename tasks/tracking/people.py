"""Who does it, for the records."""

import getpass
import socket


def user() -> str:
    """The name of this process's user, and of the machine."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container may run as a user without a name
        return f"unknown@{socket.gethostname()}"
