"""Where things are in a workspace."""

from dataclasses import dataclass
from pathlib import Path

ERROR_FILE = ".evernorm/error.json"
LOCK_FILE = ".evernorm/stage.lock"
PROGRESS_FILE = ".evernorm/progress.txt"


def seconds_file(root: Path, stage: str, name: str) -> Path:
    """Where a stage notes how long it took when it last really ran (not: was restored)."""
    return root / ".evernorm" / "seconds" / f"{stage}@{name}.json"


@dataclass(frozen=True)
class Paths:
    """Where things are in a workspace; each is one DVC output."""

    root: Path

    def data(self, name: str) -> Path:
        """Images and manifest.json of a class."""
        return self.root / "data" / name

    def manifest(self, name: str) -> Path:
        """The manifest of a class."""
        return self.data(name) / "manifest.json"

    def training(self, name: str) -> Path:
        """The manifest of a class's training images alone."""
        return self.data(name) / "train.json"

    def masks(self, name: str) -> Path:
        """Structure of the training images."""
        return self.root / "masks" / name

    def bank(self, name: str, part: str) -> Path:
        """One of prompts, knowledge, weibull, carry, evaluation."""
        return self.root / "bank" / name / part

    def features(self, name: str) -> Path:
        """What the test images are seen as, float32 arrays ``[n, …]``."""
        return self.root / "features" / name

    def training_state(self, name: str) -> Path:
        """Where an unfinished training is kept; no DVC output, as DVC removes those before a stage runs."""
        return self.root / ".evernorm" / "training" / name

    def model(self, name: str) -> Path:
        """The assembled bank after this experience."""
        return self.root / "models" / name

    def metrics(self, name: str) -> Path:
        """R[t, ·] and everything measured with it."""
        return self.root / "metrics" / f"{name}.json"

    @property
    def versions(self) -> Path:
        """What results depend on besides images and parameters (`tasks.workspace.versions`)."""
        return self.root / "versions.json"
