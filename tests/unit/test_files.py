"""State on disk: atomic, hashed, inside its folder."""

import numpy as np
import pytest

from evernorm.errors import DataError, StateError
from evernorm.files import (
    StoredArrays,
    head,
    inside,
    is_plain_name,
    length,
    read_arrays,
    read_json,
    sha256_file,
    write_arrays,
    write_bytes,
    write_json,
)


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch):
    """When the disk gives up in mid-write, a reader still sees the old content."""
    path = tmp_path / "state.json"
    write_json(path, {"a": 1})
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(StateError, match="cannot be written: disk full"):
        write_bytes(path, b"half")
    assert read_json(path) == {"a": 1}
    assert [path] == list(tmp_path.iterdir())


def test_arrays_come_back_and_a_prefix_is_read_alone(tmp_path):
    """Leading rows, whole arrays, shapes; the same as of arrays in memory."""
    arrays = {"rows": np.arange(12, dtype=np.float32).reshape(6, 2), "n": np.array([3])}
    write_arrays(tmp_path / "a.safetensors", arrays)
    stored = StoredArrays(tmp_path / "a.safetensors")
    assert (["n", "rows"], 2) == (list(stored), len(stored))
    assert (6, 2) == stored.shape("rows")
    for back in (read_arrays(tmp_path / "a.safetensors"), stored):
        assert arrays.keys() == back.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, back[name])
            assert array.dtype == back[name].dtype
        np.testing.assert_array_equal(arrays["rows"][:2], head(back, "rows", 2))
        np.testing.assert_array_equal(arrays["rows"], head(back, "rows", 99))
        assert 6 == length(back, "rows")
        with pytest.raises(KeyError):
            back["none"]


def test_stored_arrays_are_read_when_they_are_asked_for(tmp_path, monkeypatch):
    """Names, shapes and what is there are known without reading an array."""
    write_arrays(tmp_path / "a", {"rows": np.zeros((3, 2), np.float32)})
    stored = StoredArrays(tmp_path / "a")
    monkeypatch.setattr(StoredArrays, "head", lambda *_: pytest.fail("an array was read"))
    assert ("rows" in stored, "none" in stored, 3) == (True, False, length(stored, "rows"))


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    """The order in which arrays are named does not matter."""
    a, b = np.ones(3), np.zeros(2, np.float32)
    write_arrays(tmp_path / "1", {"a": a, "b": b})
    write_arrays(tmp_path / "2", {"b": b, "a": a})
    assert sha256_file(tmp_path / "1") == sha256_file(tmp_path / "2")


def test_damaged_and_missing_state_says_what_to_do(tmp_path):
    """Damage is told apart from absence."""
    (tmp_path / "bad").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    for name, said in (("bad", "damaged"), ("none", "missing")):
        with pytest.raises(StateError, match=said):
            read_arrays(tmp_path / name)
        with pytest.raises(StateError, match=said):
            StoredArrays(tmp_path / name)
        with pytest.raises(StateError, match="is"):
            read_json(tmp_path / name)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_paths_stay_in_their_folder(tmp_path, path):
    """A path from data cannot point elsewhere."""
    with pytest.raises(DataError, match="leaves its folder"):
        inside(tmp_path, path)


def test_links_out_of_the_folder_are_refused(tmp_path):
    """Nor can a link."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leaves its folder"):
        inside(tmp_path / "in", "link/x")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("solar_mono", True),
        ("A-1", True),
        ("", False),
        ("a.b", False),
        ("a/b", False),
        ("-a", False),
        ("x" * 65, False),
    ],
)
def test_class_names_are_plain(name, plain):
    """Letters, digits, underscore and hyphen; at most 64."""
    assert plain == is_plain_name(name)
