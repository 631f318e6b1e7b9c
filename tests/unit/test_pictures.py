"""Pictures of experiences and answers."""

import numpy as np

from evernorm.files import write_json
from tasks.tracking.matrix import matrix_of
from tasks.tracking.pictures import called, draw_all
from tasks.workspace.paths import Paths


def test_pictures_are_drawn_also_where_little_is_known(tmp_path):
    """A class with good test images only, or none at all, has pictures without curves."""
    outcomes = {
        "a/labels": np.array([False, True]),
        "a/scores": np.array([0.0, 3.0]),
        "b/labels": np.zeros(1, bool),
        "b/scores": np.array([0.5]),
        "c/labels": np.zeros(0, bool),
        "c/scores": np.zeros(0),
    }
    matrix = [[1.0], [1.0, None], [1.0, None, None]]
    classes = {"a": "A", "b": "Blister Ø5 mm", "c": "5 $ or 6 $"}
    draw_all(tmp_path / "none", classes, matrix, outcomes, {}, {"a": np.array([2.0])})
    pictures = {"accuracy_matrix.png", "roc.png", "scores.png"}
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
    outcomes = {"a/labels": np.zeros(0, bool), "a/scores": np.zeros(0)}
    draw_all(tmp_path, {"a": "A"}, [[None]], outcomes, {}, {})
    assert 3 == len(list(tmp_path.iterdir()))


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
