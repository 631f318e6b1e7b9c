"""What Ctrl-C and SIGTERM do, alike: end a command with everything it has started, in one line."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_SAID = b"\nevernorm: stopped; the same command goes on from the last finished stage\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a person's, and that of systemd, Kubernetes and `kill`


def leave_on_signals() -> None:
    """From now on a signal ends the command as an exception would; also as the first process of a container."""
    for number in _SIGNALS:
        signal.signal(number, leave)


def stop_on_signals() -> None:
    """From now on a signal ends the command at once with all that was started; a run may be killed at any point."""
    for number in _SIGNALS:
        signal.signal(number, _stop)


def leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Say so, and unwind; a second signal waits for nothing.

    Raises:
        SystemExit: Always, with the status that a shell gives to the signal.
    """
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    os.write(2, _SAID)
    raise SystemExit(128 + number)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    kill_children()
    os.write(2, _SAID)
    os._exit(128 + number)


def kill_children() -> None:
    """Kill whatever this process has started.

    All are halted before the first is killed: so none starts another, and no thread here that waits for one goes on
    because it has died.
    """
    import psutil

    halted: set[psutil.Process] = set()
    while fresh := set(psutil.Process().children(recursive=True)) - halted:
        for child in fresh:
            with suppress(psutil.NoSuchProcess):
                child.suspend()
        halted |= fresh
    for child in halted:
        with suppress(psutil.NoSuchProcess):
            child.kill()
