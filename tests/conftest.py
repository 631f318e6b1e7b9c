"""Fixtures that every test may use."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

# Before NumPy and torch are imported. Two workers share two cores, and threads that wait for one another gain nothing
# on images this small.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Graphs of frozen networks are made once for all tests, and apart from those of whoever runs them.
os.environ.setdefault(
    "EVERNORM_CACHE", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "evernorm")
)

# A busy machine is no reason to fail: an example may take the time it needs.
hypothesis.settings.register_profile("evernorm", deadline=None)
hypothesis.settings.load_profile("evernorm")

REPOSITORY = Path(__file__).resolve().parents[1]


class ByWhatIsShared(LoadScopeScheduling):
    """A worker takes all tests that share what is slow to make: those of a file, or the conformance of a method."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        method = re.search(r"\[(\w+)", test) if file.startswith("tests/conformance/") else None
        return method[1] if method else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWhatIsShared:
    """Which worker takes which tests."""
    return ByWhatIsShared(config, log)


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Draw a tiny data set below a fresh folder: ``make_dataset(layout, **options)`` gives its root."""

    from tests.helpers.datasets import draw_dataset

    def make(layout: str = "mvtec", **options: Any) -> Path:
        return draw_dataset(tmp_path / layout, layout, **options)

    return make


@pytest.fixture(scope="session")
def draw_photos() -> Callable[..., Path]:
    """``draw_photos(root, names)``: a folder of small drawn classes with exact masks."""
    from tests.helpers import photos

    return photos.draw_photos


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Seven real classes in MVTec's layout."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real images are not beside this repository (../shared/data)")
    return path


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Weights of a real vision transformer."""
    path = REPOSITORY.parent / "shared" / "weights"
    if not path.is_dir():
        pytest.skip("the real weights are not beside this repository (../shared/weights)")
    return path
