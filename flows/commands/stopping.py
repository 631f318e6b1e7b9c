"""How a command is ended with everything it has started, in one line: by Ctrl-C and SIGTERM, alike, or where its server is lost."""

import os
import signal
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from evernorm.errors import PipelineError

_SAID = b"\nevernorm: stopped; the same command goes on from the last finished stage\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # a person's, and that of systemd, Kubernetes and `kill`


class LostServerError(PipelineError):
    """The Prefect server was lost amid a run, and will not hear what is left to tell it."""


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


def give_up(sentence: str) -> NoReturn:
    """End at once with a sentence and status 1; Prefect would first try to tell its server everything, for minutes."""
    kill_children()
    os.write(2, f"evernorm: {sentence}\n".encode())
    os._exit(1)


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
