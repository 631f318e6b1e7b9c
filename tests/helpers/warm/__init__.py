"""A `python` for tests that has imported everything already: the same processes, without seconds of imports each.

What is run with `python()` is forked from a warm interpreter (server.py) and sees that `python` as its
`sys.executable`, so that the stages it starts through DVC are forked too. It has its own process group, streams and
exit status; killed, the client takes it along. A command with an environment of its own runs from cold, and what it
starts is asked of the warm interpreter again. What must be a process from its very first instruction (signals of a
terminal, the library alone, hash seeds) is run with `sys.executable`.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = Path(__file__).parent
_python = sys.executable


def python() -> str:
    """The interpreter for commands: the warm one while there is one."""
    return _python


@contextmanager
def warm_interpreter() -> Iterator[None]:
    """Keep an interpreter warm, with the environment as it is now."""
    global _python  # noqa: PLW0603
    home = Path(tempfile.mkdtemp(prefix="warm-"))  # short: the path of a socket has 108 characters at most
    folder = _environment(home)
    client = folder / "python"
    client.write_text(f"#!{sys.executable} -IS\n{(_HERE / 'client.py').read_text()}")
    command = folder / "evernorm"
    command.write_text(f'#!/bin/sh\nexec {client} -m flows.commands.cli "$@"\n')
    for each in (client, command):
        each.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen(64)
        server = subprocess.Popen(
            [sys.executable, _HERE / "server.py", str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for those who run tests: it ends with its standard input
        )
    before, _python = _python, str(client)
    try:
        yield
    finally:
        _python = before
        server.communicate()
        shutil.rmtree(home)


def _environment(home: Path) -> Path:
    """A virtual environment with what this one has: where what is not taken runs, so that what it starts may be."""
    (home / "bin").mkdir()
    (home / "pyvenv.cfg").write_bytes(Path(sys.prefix, "pyvenv.cfg").read_bytes())
    (home / "lib").symlink_to(Path(sys.prefix, "lib"))
    return home / "bin"
