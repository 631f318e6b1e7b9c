"""An interpreter that has imported what commands and stages import, and forks to run them.

Nothing but imports, and what comes with them, happens before a fork: no thread is started. A command whose environment
could have changed an import is not taken; its client runs it from cold. Ends when its standard input does.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

IMPORTED = (
    "anyio._backends._asyncio", "boto3", "dulwich.ignore", "dulwich.worktree", "dvc.cli", "dvc.repo", "dvc.repo.datasets",
    "dvc.repo.init", "dvc.repo.plots", "dvc_data.hashfile.status", "dvc_s3", "faiss", "matplotlib.pyplot", "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store", "networkx", "pandas",
    "prefect.flow_engine", "prefect.flows", "prefect.task_engine", "prefect.utilities.visualization", "pygit2", "ruamel.yaml",
    "safetensors.numpy", "scipy.stats", "skimage.segmentation", "sklearn.decomposition", "sklearn.manifold",
    "tabulate", "timm", "torch", "typer", "yaml",
    "flows.commands.learn", "flows.commands.predict", "flows.commands.status", "flows.forget", "flows.learn", "flows.promote",
    "flows.watch", "tasks.workspace.settings",
    "tasks.stages.evaluate", "tasks.stages.features", "tasks.stages.knowledge", "tasks.stages.masks",
    "tasks.stages.prompts", "tasks.stages.weibull",
)  # fmt: skip
# Variables that are read when they are needed, not when something is imported.
_READ_LATE = {
    "COLUMNS", "LINES", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "MLFLOW_TRACKING_URI", "OLDPWD", "PATH", "PWD", "SHLVL", "_",
}  # fmt: skip
_READ_LATE_PREFIXES = ("AWS_", "DVC_", "EVERNORM_", "GIT_", "PYTEST_")
_STAGES = "tasks.stages."  # know nothing of Prefect


def _look_around() -> None:
    """What a process lists once and keeps: what is installed (MLflow, half a second), the methods and their parameters."""
    from mlflow.utils import requirements_utils

    from evernorm.params.model import default_params

    requirements_utils._init_packages_to_modules_map()
    default_params()


def _importable(env: dict[str, str]) -> list[str]:
    """The folders of PYTHONPATH in which there is anything: a worker of Prefect adds an empty one."""
    folders = env.get("PYTHONPATH", "").split(os.pathsep)
    return [each for each in folders if os.path.isdir(each) and os.listdir(each)]


@dataclass(frozen=True)
class Request:
    """A command to run.

    Attributes:
        argv: What an interpreter is told: ``-m module …`` or ``-c code …``.
        cwd: Where.
        env: Its environment.
        python: The client, which is `sys.executable` to the command.
        streams: Its standard input, output and error.
    """

    argv: list[str]
    cwd: str
    env: dict[str, str]
    python: str
    streams: tuple[int, ...]


class Zygote:
    """Accepts commands and forks for each; one thread, one loop."""

    def __init__(self, listener: socket.socket) -> None:
        from flows.commands.environment import prepare

        before = set(os.environ)
        prepare()
        self._quiet = set(os.environ) - before  # every command sets these itself
        self._env = dict(os.environ)
        for name in IMPORTED:
            importlib.import_module(name)
        _look_around()
        self._imported = {name: os.environ[name] for name in set(os.environ) - set(self._env)}
        self._listener = listener
        self._running: dict[int, tuple[int, socket.socket]] = {}  # by process: its descriptor, its client

    def serve(self) -> Request | None:
        """Return in every child with its request, and with None when there is nothing more to do."""
        with selectors.DefaultSelector() as events:
            for source in (self._listener, sys.stdin):
                events.register(source, selectors.EVENT_READ)
            while True:
                for key, _ in events.select():
                    if key.fileobj is sys.stdin:
                        for pid in self._running:
                            os.killpg(pid, signal.SIGKILL)
                        return None
                    if key.fileobj is self._listener:
                        if request := self._accept(events):
                            return request
                    elif key.data in self._running:
                        (self._left if isinstance(key.fileobj, socket.socket) else self._ended)(
                            events, key.data
                        )

    def _accept(self, events: selectors.BaseSelector) -> Request | None:
        client, _ = self._listener.accept()
        head, streams, _, _ = socket.recv_fds(client, 4, 3)
        body = client.recv(*struct.unpack("I", head), socket.MSG_WAITALL)
        request = Request(**json.loads(body), streams=tuple(streams))
        if not self._takes(request):
            client.send(struct.pack("i", -1))
            client.close()
        elif (pid := os.fork()) == 0:
            os.setpgid(0, 0)
            self._become(request, client)
            return request
        else:
            with suppress(ProcessLookupError):  # it has ended already
                os.setpgid(pid, pid)
            self._running[pid] = os.pidfd_open(pid), client
            for source in self._running[pid]:
                events.register(source, selectors.EVENT_READ, pid)
        for stream in streams:
            os.close(stream)
        return None

    def _takes(self, request: Request) -> bool:
        """Whether the command would find what it imports as a process of its own would."""
        kind, what = (*request.argv, "", "")[:2]
        names = {name for name, _ in request.env.items() ^ self._env.items()}
        names -= _READ_LATE | self._imported.keys() | (self._quiet - request.env.keys())
        late = (*_READ_LATE_PREFIXES, *(["PREFECT_"] if what.startswith(_STAGES) else []))
        foreign = {name for name in names if not name.startswith(late)}
        if _importable(request.env) == _importable(self._env):
            foreign.discard("PYTHONPATH")
        return kind in ("-m", "-c") and not foreign

    def _become(self, request: Request, client: socket.socket) -> None:
        """Be the process that the client stands for, and nothing else."""
        for descriptor, other in self._running.values():
            os.close(descriptor)
            other.close()
        client.close()
        self._listener.close()
        for number, stream in enumerate(request.streams):
            os.dup2(stream, number)
            os.close(stream)
        os.environ.clear()
        os.environ.update(self._imported | request.env)
        os.chdir(request.cwd)
        sys.executable = request.python

    def _left(self, events: selectors.BaseSelector, pid: int) -> None:
        """The client was killed: so are the command and what it started."""
        events.unregister(self._running[pid][1])
        os.killpg(pid, signal.SIGKILL)

    def _ended(self, events: selectors.BaseSelector, pid: int) -> None:
        """The command has ended: its client is told how."""
        descriptor, client = self._running.pop(pid)
        _, status = os.waitpid(pid, 0)
        events.unregister(descriptor)
        with suppress(KeyError):  # its client had left
            events.unregister(client)
        os.close(descriptor)
        with suppress(BrokenPipeError):
            client.send(struct.pack("i", status))
        client.close()


def run(kind: str, what: str, *arguments: str) -> None:
    """Do what ``python -m module …`` or ``python -c code …`` does."""
    sys.argv = [kind, *arguments]
    sys.path[0] = os.getcwd() if kind == "-m" else ""
    if kind == "-m":
        if not hasattr(sys.modules.get(what), "__path__"):
            sys.modules.pop(what, None)
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(what, "<string>", "exec"), main.__dict__)  # noqa: S102


def finish(command: Callable[[], None]) -> NoReturn:
    """Run it and end as an interpreter ends, but for taking every imported module to pieces, which is slow."""
    status = 0
    try:
        command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _zygote = Zygote(socket.socket(fileno=int(sys.argv[1])))
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared
    if _request := _zygote.serve():
        finish(partial(run, *_request.argv))
