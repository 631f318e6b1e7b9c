"""Fixtures that every test may use."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

# A busy machine is no reason to fail: an example may take the time it needs.
hypothesis.settings.register_profile("evernorm", deadline=None)
hypothesis.settings.load_profile("evernorm")

REPOSITORY = Path(__file__).resolve().parents[1]


def _helper(name: str) -> Any:
    """Load tests/helpers/<name>.py, wherever pytest was started and however it imports tests."""
    spec = importlib.util.spec_from_file_location(f"helpers_{name}", REPOSITORY / f"tests/helpers/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Draw a tiny data set below a fresh folder: ``make_dataset(layout, **options)`` gives its root."""
    draw = _helper("datasets").draw_dataset

    def make(layout: str = "mvtec", **options: Any) -> Path:
        root: Path = draw(tmp_path / layout, layout, **options)
        return root

    return make


@pytest.fixture(scope="session")
def draw_photos() -> Callable[..., Path]:
    """``draw_photos(root, names)``: a folder of small drawn classes with exact masks."""
    draw: Callable[..., Path] = _helper("photos").draw_photos
    return draw


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Seven real classes in MVTec's layout."""
    path = REPOSITORY.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("the real images are not beside this repository (../shared/data)")
    return path
