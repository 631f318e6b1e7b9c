"""Which ports of the loopback are free, and who has those that are not."""

import socket
from contextlib import ExitStack

import psutil


def free_ports(count: int = 1) -> range:
    """Ports that nothing listens on, one after the other."""
    while True:
        with ExitStack() as held:
            first = held.enter_context(_listener(0)).getsockname()[1]
            try:
                for port in range(first + 1, first + count):
                    held.enter_context(_listener(port))
            except (OSError, OverflowError):
                continue
            return range(first, first + count)


def is_port(text: str) -> bool:
    """Whether it is the number of a port that anyone may listen on, with room for some above it."""
    return text.isdecimal() and 1024 <= int(text) <= 65000


def is_free(port: int) -> bool:
    """Whether something may listen there."""
    try:
        _listener(port).close()
    except OSError:
        return False
    return True


def owner(port: int) -> str:
    """Who listens there: a program and its process, or that it cannot be seen."""
    try:
        for each in psutil.net_connections("tcp"):
            if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN and each.pid:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
    except psutil.Error:
        pass
    return "another user's process"


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        listener.bind(("127.0.0.1", port))
        listener.listen()  # without, two may bind
    except BaseException:
        listener.close()
        raise
    return listener
