"""DVC in this process, quiet: its faults reach the user through evernorm's errors."""

import json
import logging
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import chdir, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from evernorm.errors import DataError, FitError, PipelineError
from evernorm.files import read_json
from evernorm.params.yaml12 import YAMLError, load
from tasks.faults import PassingError, UnfitError, causes, of_a_server, of_the_machine, out_of_reach
from tasks.workspace.dvc_yaml import quicken
from tasks.workspace.paths import ERROR_FILE

if TYPE_CHECKING:
    from dvc.repo import Repo


class Repository:
    """DVC's repository of a workspace: opened when it is first asked, and then kept open.

    DVC drops what it has read of dvc.yaml, dvc.lock and params.yaml at the end of every operation, so that changed
    files are seen.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _repo(self) -> "Repo":
        from dvc.repo import Repo

        _prepare()
        return Repo(str(self.root))

    @contextmanager
    def ask(self, what: str) -> "Iterator[Repo]":
        """DVC, from inside the workspace, as it takes paths from the current directory; its faults told as evernorm's.

        Args:
            what: What is asked, for messages.

        Raises:
            PassingError: The repository is locked or a remote is out of reach.
            UnfitError: A stage failed, and the images are at fault; with what it said.
            PipelineError: It failed otherwise.
        """
        from dvc.exceptions import DvcException, FileTransferError

        (self.root / ERROR_FILE).unlink(missing_ok=True)
        try:
            with chdir(self.root):
                yield self._repo
        except FileTransferError as error:  # it does not say why; DVC has tried each several times
            raise PassingError(f"{what}: {error}; check the remote and run again") from error
        except DvcException as error:
            raise _explained(error, self.root, what) from error
        except Exception as error:  # of the package that talks to the remote
            if out_of_reach(error):
                raise PassingError(f"{what}: the remote is out of reach; check it and run again") from error
            if isinstance(error, OSError) and (fault := of_the_machine(error)):
                raise PipelineError(f"{what}: {fault}") from error
            if of_a_server(error):
                raise PipelineError(
                    f"{what} failed: {error}; check the remote, its credentials and the disk"
                ) from error
            raise

    def unchanged(self, names: Collection[str]) -> set[str]:
        """Which of these stages DVC has nothing to run and nothing to restore of; dvc.lock is read once.

        Raises:
            PassingError: The repository is locked.
            PipelineError: DVC cannot say.
        """
        with self.ask("dvc status") as repo:
            from dvc.dvcfile import load_file
            from dvc.repo import lock_repo

            with lock_repo(repo):
                stages = load_file(repo, "dvc.yaml").stages
                return {name for name in names if not stages[name].changed()}

    def close(self) -> None:
        """Close it; it is opened again when it is asked again."""
        if (repo := self.__dict__.pop("_repo", None)) is not None:
            repo.close()


def lock_is_whole(path: Path) -> bool:
    """Whether a dvc.lock is missing or can be read; DVC writes it in place, so a kill can cut it short."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if not path.is_file():
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(load(path.read_bytes()))
    except (YAMLError, Invalid):
        return False
    return True


def mend_rwlock(root: Path) -> None:
    """Remove DVC's list of who reads and writes what where a kill cut it short; DVC would stop at it for good."""
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        pass
    except ValueError:
        path.unlink(missing_ok=True)


def init_repo(root: Path) -> None:
    """Make a DVC repository in a Git repository, with telemetry and update checks off."""
    from dvc.repo import Repo

    _prepare()
    if not (root / ".dvc" / "config").is_file():
        Repo.init(str(root)).close()
    with Repo(str(root)) as repo, repo.config.edit("repo") as config:
        config["core"] = {
            **config.get("core", {}),
            "analytics": False,
            "check_update": False,
            "autostage": False,
        }


def _prepare() -> None:
    """Stages run the interpreter of this process, also where its environment is not activated."""
    scripts = str(Path(sys.executable).parent)
    if not os.environ.get("PATH", "").startswith(scripts):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    for package in ("dvc", "dvc_data", "dvc_objects"):  # their faults are told as evernorm's
        logging.getLogger(package).setLevel(logging.CRITICAL)
    quicken()


def _explained(error: Exception, root: Path, what: str) -> PipelineError:
    from dvc.lock import LockError

    chain = causes(error)
    if out_of_reach(error) or any(isinstance(cause, LockError) for cause in chain):
        return PassingError(f"{what} could not start: {chain[-1]}")
    file = root / ERROR_FILE
    if not file.is_file():
        return PipelineError(f"{what} failed: {'; '.join(dict.fromkeys(str(cause) for cause in chain))}")
    told = read_json(file)
    # Images at fault, rather than weights, parameters or the machine.
    kind = UnfitError if told["kind"] in {DataError.__name__, FitError.__name__} else PipelineError
    return kind(f"{what} failed: {told['said']}")
