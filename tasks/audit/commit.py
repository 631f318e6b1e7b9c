"""A Git commit of a workspace, read without touching index or files."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from evernorm.errors import PipelineError, StateError

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# `Workspace.git` gives text; hashes are of bytes. Without optional locks Git does not refresh its index.
_ENV = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git in a workspace; what it says is in the answer."""
    return subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, check=False, env={**os.environ, **_ENV}
    )


@dataclass(frozen=True)
class Commit:
    """A commit that exists.

    Attributes:
        root: The workspace.
        sha: Its hash.
    """

    root: Path
    sha: str

    @classmethod
    def find(cls, root: Path, name: str) -> "Commit":
        """The commit of this hash, or ``HEAD``.

        Raises:
            PipelineError: There is none.
        """
        # A tag of MLflow's is not to be taken for an option of git's.
        known = name == "HEAD" or _HASH.fullmatch(name)
        done = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") if known else None
        if done is None or done.returncode:
            raise PipelineError(f"commit {name!r} is not in the Git repository of {root}")
        return cls(root, done.stdout.decode().strip())

    def __str__(self) -> str:
        return self.sha[:12]

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            StateError: The commit has no such file, or Git cannot read it.
        """
        done = git(self.root, "cat-file", "blob", f"{self.sha}:{path}")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["unreadable"]
            raise StateError(said[-1].removeprefix("fatal: "))
        return done.stdout

    def files(self, folder: str) -> list[str]:
        """The files below a folder, by their path."""
        done = git(self.root, "ls-tree", "-r", "-z", "--name-only", self.sha, "--", f"{folder}/")
        return [name for name in done.stdout.decode(errors="replace").split("\0") if name]

    def precedes(self, other: "Commit") -> bool:
        """Whether it is the other one or in its history."""
        return git(self.root, "merge-base", "--is-ancestor", self.sha, other.sha).returncode == 0
