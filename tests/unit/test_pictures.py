"""Pictures of experiences and answers."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.data.image import read_image
from evernorm.files import write_arrays, write_json
from tasks.tracking.bank_picture import bank_map, in_plane, look_of, some_rows
from tasks.tracking.drawing import draw_bank
from tasks.tracking.matrix import matrix_of
from tasks.tracking.pictures import called, draw_all
from tasks.workspace.paths import Paths


def test_pictures_are_drawn_also_where_little_is_known(tmp_path):
    """A class with good test images only, or none at all, has pictures without curves."""
    outcomes = {
        "a/labels": np.array([False, True]),
        "a/scores": np.array([0.0, 3.0]),
        "a/raw": np.array([0.0, 3.0]),
        "b/labels": np.zeros(1, bool),
        "b/scores": np.array([0.5]),
        "b/raw": np.array([0.5]),
        "c/labels": np.zeros(0, bool),
        "c/scores": np.zeros(0),
        "c/raw": np.zeros(0),
    }
    matrix = [[1.0], [1.0, None], [1.0, None, None]]
    classes = {"a": "A", "b": "Blister Ø5 mm", "c": "5 $ or 6 $"}
    draw_all(tmp_path / "none", classes, matrix, outcomes, {}, {"a": np.array([2.0])})
    pictures = {"accuracy_matrix.png", "roc.png", "scores.png", "alignment.png"}
    assert pictures == {p.name for p in (tmp_path / "none").iterdir()}
    image, spots = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32)
    examples = {
        "0/image": image,
        "0/map": spots,
        "0/score": np.array([1.0]),
        "0/label": np.array([True]),
    }
    draw_all(tmp_path / "one", classes, matrix, outcomes, examples, {"a": np.array([2.0])})
    assert {*pictures, "examples.png"} == {p.name for p in (tmp_path / "one").iterdir()}


def test_the_accuracy_matrix_is_put_together_from_the_rows_of_the_experiences(tmp_path):
    """Row i with the i + 1 classes that were known then, as forgetting is measured."""
    paths = Paths(tmp_path)
    rows = {"b": {"b": 0.9}, "a": {"b": 0.8, "a": None}, "c": {"b": 0.7, "a": 0.6, "c": 1.0}}
    for name, row in rows.items():
        write_json(paths.metrics(name), {"classes": list(row), "row": {"image_auroc": row}})
    assert [[0.9], [0.8, None], [0.7, 0.6, 1.0]] == matrix_of(paths, "c")
    assert [[0.9], [0.8, None]] == matrix_of(paths, "a")


def test_a_picture_names_a_class_as_people_do_where_its_font_can():
    """In letters, not in formulae or boxes."""
    assert "Blister Ø5 mm" == called("Blister-5-mm", "Blister Ø5 mm")
    assert r"5 \$ or 6 \$" == called("key", "5 $ or 6 $")
    assert "key" == called("key", "部品")


def test_a_stream_without_test_images_has_pictures_too(tmp_path):
    """Nothing to tell apart, so no legend, and nothing that matplotlib would warn of."""
    outcomes = {"a/labels": np.zeros(0, bool), "a/scores": np.zeros(0), "a/raw": np.zeros(0)}
    draw_all(tmp_path, {"a": "A"}, [[None]], outcomes, {}, {})
    assert 4 == len(list(tmp_path.iterdir()))


def test_the_overlay_puts_image_and_heat_side_by_side_between_words_and_legend(tmp_path):
    """Cold regions stay grey, hot ones turn red to yellow, and what is above the threshold has an edge."""
    from evernorm.data.image import read_image
    from evernorm.overlay import save_overlay

    image = np.full((300, 600, 3), 100, np.uint8)
    spot = np.zeros((300, 600), np.float32)
    spot[:, 300:] = 9
    save_overlay(tmp_path / "o.png", image, spot, 3.0, ["cloth · DEFECTIVE"])
    picture = read_image(tmp_path / "o.png")
    assert 1200 == picture.shape[1]
    top = int(np.flatnonzero((picture[:, 5] == 100).all(axis=1))[0])
    assert 0 < top < 60  # the words
    assert [100, 100, 100] == picture[top + 150, 605].tolist()
    red, green, blue = picture[top + 150, 1190].tolist()
    assert red > 180
    assert green > 180
    assert blue < 60
    assert [0, 255, 255] in picture[top + 150, 895:905].tolist()
    assert picture.shape[0] > top + 300 + 8  # the legend


def test_an_overlay_is_bounded_unless_it_is_asked_for_in_full(tmp_path):
    """And the words on a small one can be read."""
    from evernorm.data.image import read_image
    from evernorm.overlay import save_overlay

    for side, longest, width in ((3000, 2000, 2000), (1100, None, 2200), (40, 2000, 512)):
        image, spot = np.zeros((side // 2, side, 3), np.uint8), np.zeros((side // 2, side), np.float32)
        save_overlay(tmp_path / "o.png", image, spot, 3.0, ["cloth"], longest)
        assert width == read_image(tmp_path / "o.png").shape[1]


def test_an_overlay_of_a_narrow_image_is_bounded_too(tmp_path):
    """It is not enlarged until it is wide."""
    from evernorm.data.image import read_image
    from evernorm.overlay import LONGEST, save_overlay

    image = np.zeros((3000, 60, 3), np.uint8)
    save_overlay(tmp_path / "o.png", image, np.zeros((3000, 60), np.float32), 3.0, ["cloth"])
    assert read_image(tmp_path / "o.png").shape[0] < LONGEST + 300


def _bank(root, rows=(), classes=None):
    """A workspace as far as the picture of its bank needs it: rows around a centre for each entry.

    `classes`: whose each row of the last entry is, where it holds several classes.
    """
    rng = np.random.default_rng(3)
    names = [f"class-{number}" for number in range(len(rows))]
    entries = {
        f"{name}/rows": (rng.normal(size=(count, 12)) + 9 * rng.normal(size=12)).astype(np.float32)
        for name, count in zip(names, rows, strict=True)
    }
    last = names[-1] if names else "none"
    if classes is not None:
        entries[f"{last}/classes"] = np.array(classes, np.int32)
    write_arrays(
        root / "models" / last / "entries.safetensors", {**entries, f"{last}/keys": np.zeros((3, 12))}
    )
    return SimpleNamespace(
        params=SimpleNamespace(method="patchcore_cl"),
        paths=Paths(root),
        learned=lambda: names,
        display=lambda name: f"Blister Ø{name}",
    )


def test_the_picture_of_a_bank_shows_its_rows_apart_by_class(tmp_path):
    """The same bytes for the same bank; points in each class's colour, on white."""
    workspace = _bank(tmp_path, rows=(30, 30, 9))
    assert draw_bank(tmp_path / "a.png", workspace)
    assert draw_bank(tmp_path / "b.png", workspace)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = read_image(tmp_path / "a.png")[60:, :750].reshape(-1, 3).astype(int)  # below the title
    for place in range(3):
        colour = 255 * np.array(look_of(place)[0][:3])
        assert (np.abs(picture - colour).max(axis=1) < 60).sum() > 100
    assert (picture == 255).all(axis=1).mean() > 0.8


def test_rows_that_are_alike_lie_together_in_the_picture():
    """Every point of three groups far apart is nearest to one of its own group."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(20, 8)) + centre for centre in (0, 50, 100)]).astype(np.float32)
    points = in_plane(rows)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (np.arange(60) // 20 == distances.argmin(axis=1) // 20).all()


@pytest.mark.parametrize(
    ("rows", "classes", "expected"),
    [
        ((0, 40), [0] * 13 + [1] * 27, {0: 13, 1: 27}),  # of both classes as one, as joint training has them
        ((0, 40), [1] * 40, {1: 40}),  # of the first class no row was chosen
        ((0, 40), None, {1: 40}),  # fine-tuning has no other
        ((12, 40), None, {0: 12, 1: 40}),
    ],
)
def test_the_picture_says_whose_a_row_is(tmp_path, monkeypatch, rows, classes, expected):
    """Each row is one of its class, though one memory holds several; a class without rows has no points."""
    drawn = {}
    monkeypatch.setattr(
        "tasks.tracking.bank_picture.bank_map",
        lambda points, names, title: drawn.update(points) or bank_map(points, names, title),
    )
    assert draw_bank(tmp_path / "a.png", _bank(tmp_path, rows, classes))
    assert expected == {place: len(points) for place, points in drawn.items()}


@pytest.mark.parametrize(
    "rows",
    [
        (),  # nothing is learned
        (2, 2),  # nothing to see
        (0, 0),  # no method with rows
    ],
)
def test_a_bank_whose_rows_say_nothing_has_no_picture(tmp_path, rows):
    """It is left out, and nothing is written."""
    assert not draw_bank(tmp_path / "a.png", _bank(tmp_path, rows))
    assert not (tmp_path / "a.png").exists()


def test_the_picture_of_a_large_bank_shows_as_many_rows_of_each_class(tmp_path, monkeypatch):
    """All of a class that has fewer, never more in all than the picture may hold."""
    placed = []
    monkeypatch.setattr("tasks.tracking.bank_picture.MOST", 40)
    monkeypatch.setattr(
        "tasks.tracking.bank_picture.in_plane", lambda rows: placed.append(rows) or rows[:, :2]
    )
    assert draw_bank(tmp_path / "a.png", _bank(tmp_path, rows=(30, 9, 2000)))
    assert 13 + 9 + 13 == len(placed[0])


@given(st.integers(0, 30), st.integers(1, 40))
def test_some_rows_are_rows_of_the_class_each_once(there, wanted):
    """As many as are asked for, or all; in their order, and the same ones again."""
    rows = np.arange(2 * there).reshape(there, 2)
    found = some_rows(rows, wanted)
    assert (min(there, wanted), 2) == found.shape
    assert np.float32 == found.dtype
    assert (np.diff(found[:, 0]) > 0).all()
    assert set(map(tuple, found.tolist())) <= set(map(tuple, rows.tolist()))
    np.testing.assert_array_equal(found, some_rows(rows, wanted))


def test_ninety_classes_look_different_and_are_all_named():
    """In colour or marker, neighbours in both; long names are cut so that points keep their room."""
    looks = [look_of(place) for place in range(90)]
    assert 90 == len(set(looks))
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in pairwise(looks))
    names = [f"{place} {'x' * place}" for place in range(90)]
    figure = bank_map({place: np.eye(2) for place in range(90)}, names, "90 classes")
    figure.draw_without_rendering()
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert (90, "1  0 ") == (len(told), told[0])
    assert max(map(len, told)) <= 36
    (axes,) = figure.axes
    assert axes.get_position().width > 0.25
    assert axes.get_position().x1 < legend.get_window_extent().x0 / figure.bbox.width
