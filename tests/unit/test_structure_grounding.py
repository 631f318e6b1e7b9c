"""Phrases, what is made of Grounding DINO's answer, and the parts of an image that come of it."""

import numpy as np
import pytest
import torch

from evernorm.errors import ParamsError
from evernorm.params.file import parse_params
from evernorm.params.groups import GroundingParams, StructureKind
from evernorm.structure.grounded_sam import GroundedSegmenter
from evernorm.structure.grounding.detector import Answer, choose_boxes
from evernorm.structure.grounding.inputs import owners_of, pixels
from evernorm.structure.report import Regions, flagged, report, warnings
from tests.helpers.grounding import save_tiny_bert

OWNERS = np.array([-1, 0, 0, -1, 1, -1, -1])  # [CLS] metal nut . screw . [SEP]
PARAMS = GroundingParams(box_threshold=0.35, text_threshold=0.25, nms=0.8)


def answer(*queries):
    """An answer from centre, size and the seven probabilities of each query."""
    boxes = torch.tensor([query[0] for query in queries])
    return Answer(boxes, torch.tensor([query[1] for query in queries]))


# -- phrases ------------------------------------------------------------------------------------------


def test_the_class_is_put_into_its_phrases_in_words():
    """Lower-case, each phrase once; a class may have phrases of its own."""
    params = GroundingParams(
        phrases=("{class}", "a Part of a {class}", "metal nut"), phrases_of={"Cable-Gland": ("thread",)}
    )
    assert ("metal nut", "a part of a metal nut") == params.phrases_for("Metal_nut")
    assert ("thread",) == params.phrases_for("Cable-Gland")
    assert ("cable gland",) == GroundingParams().phrases_for("Cable-Gland")


@pytest.mark.parametrize(
    ("phrases", "said"),
    [
        (["{klass}"], "field other than {class} in '{klass}'"),
        (["{}"], "field other than {class}"),
        (["{class[0]}"], "field other than {class}"),
        (["{class"], "expected '}'"),
        ([" "], "must hold a text"),
        (["nut. bolt"], "without '.' and '?'"),
        ([], "at least 1 item"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_templates_that_cannot_be_filled_are_refused_when_params_are_read(phrases, said, own):
    """Also those of a single class."""
    grounding = {"phrases_of": {"nut": phrases}} if own else {"phrases": phrases}
    with pytest.raises(ParamsError) as told:
        parse_params({"masks": {"grounding": grounding}})
    assert said in told.value.faults[0]


def test_tokens_belong_to_phrases(tmp_path):
    """What stands between phrases to none; a word that the encoder does not know is a token too."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_tiny_bert(tmp_path))
    # [CLS] metal nut . screw ##s . [UNK] . [SEP]
    expected = [-1, 0, 0, -1, 1, 1, -1, 2, -1, -1]
    assert expected == owners_of(("metal nut", "screws", "zygote"), tokenizer).tolist()
    with pytest.raises(ParamsError, match="are 302 tokens, Grounding DINO reads at most 256"):
        owners_of(("metal nut",) * 100, tokenizer)
    with pytest.raises(ParamsError, match=r"no token for '\\u200b'"):
        owners_of(("nut", "\u200b", "screw"), tokenizer)


# -- boxes --------------------------------------------------------------------------------------------


def test_a_box_is_kept_above_the_threshold_and_shows_its_best_phrase():
    """Means over the tokens that count, worked by hand; separators do not count, however probable."""
    chosen = choose_boxes(
        answer(
            ([0.2, 0.2, 0.2, 0.2], [0.0, 0.50, 0.40, 0.0, 0.44, 0.0, 0.0]),  # .45 against .44
            (
                [0.5, 0.5, 0.2, 0.2],
                [0.0, 0.60, 0.20, 0.0, 0.36, 0.0, 0.0],
            ),  # .30 against .36: .20 does not count
            ([0.8, 0.8, 0.2, 0.2], [0.9, 0.35, 0.30, 0.9, 0.10, 0.9, 0.9]),  # .35 does not exceed .35
            ([0.8, 0.2, 0.2, 0.2], [0.0, 0.10, 0.10, 0.0, 0.70, 0.0, 0.0]),
        ),
        OWNERS,
        PARAMS,
        (100, 200),
    )
    # The most probable first; the first of these was .70.
    np.testing.assert_allclose(
        [[140, 10, 180, 30], [80, 40, 120, 60], [20, 10, 60, 30]], chosen.corners, atol=1e-4
    )
    assert [1, 1, 0] == chosen.phrases.tolist()
    assert {0, 1} == chosen.found


def test_a_box_of_no_phrase_is_dropped():
    """Where words count less easily than boxes."""
    params = GroundingParams(box_threshold=0.3, text_threshold=0.5)
    chosen = choose_boxes(
        answer(([0.5, 0.5, 0.5, 0.5], [0, 0.4, 0.5, 0, 0.2, 0, 0])), OWNERS, params, (10, 10)
    )
    assert (0, set()) == (len(chosen.corners), chosen.found)


@pytest.mark.parametrize(("nms", "left"), [(0.8, [34, 45]), (0.84, [34, 30, 45])])
def test_of_boxes_that_overlap_the_most_probable_stays(nms, left):
    """9 of 11 tenths overlap: .818; whatever the boxes show. What was shown by one that goes counts as found."""
    queries = [
        ([0.50, 0.5, 0.4, 0.4], [0, 0.7, 0.6, 0, 0.1, 0, 0]),
        ([0.54, 0.5, 0.4, 0.4], [0, 0.1, 0.1, 0, 0.9, 0, 0]),
        ([0.50, 0.9, 0.1, 0.1], [0, 0.1, 0.1, 0, 0.6, 0, 0]),
    ]
    chosen = choose_boxes(answer(*queries), OWNERS, PARAMS.model_copy(update={"nms": nms}), (100, 100))
    assert left == chosen.corners[:, 0].round().tolist()
    assert {0, 1} == chosen.found


def test_boxes_end_where_the_image_ends():
    """A query may look beyond it."""
    chosen = choose_boxes(
        answer(([0.1, 0.9, 0.4, 0.6], [0, 0.9, 0.9, 0, 0, 0, 0])), OWNERS, PARAMS, (50, 100)
    )
    np.testing.assert_allclose([[0, 30, 30, 50]], chosen.corners, atol=1e-4)


# -- images -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((100, 150), (300, 450)),
        ((100, 1000), (133, 1333)),
        ((3000, 2000), (450, 300)),
        ((2, 600), (64, 1333)),
    ],
)
def test_the_shorter_side_is_resized_unless_the_longer_grows_too_long(shape, expected):
    """A sliver is widened: there must be as many patches as queries."""
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 0] = 255
    inputs = pixels(image, 300)
    assert (1, 3, *expected) == inputs.shape
    # ImageNet's mean and deviation of red and blue.
    assert inputs[0, :, 5, 5].tolist() == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])


# -- parts --------------------------------------------------------------------------------------------


class Fixed:
    """A detector that answers the same for every image."""

    owners = OWNERS

    def __init__(self, *queries):
        self.answer = answer(*queries)

    def __call__(self, image):
        return self.answer


def filled(image, boxes):
    """Each box as its own mask."""
    masks = []
    for left, top, right, bottom in boxes.round().astype(int):
        mask = np.zeros(image.shape[:2], bool)
        mask[top:bottom, left:right] = True
        masks.append(mask)
    return masks


def segmenter(*queries):
    return GroundedSegmenter(("metal nut", "screw"), Fixed(*queries), filled, PARAMS, 0.05)


IMAGE = np.zeros((10, 20, 3), np.uint8)
NUT = ([0.5, 0.5, 0.5, 0.8], [0, 0.9, 0.9, 0, 0, 0, 0])  # columns 5 to 15, rows 1 to 9
SCREW = ([0.5, 0.5, 0.2, 0.4], [0, 0, 0, 0, 0.8, 0, 0])  # columns 8 to 12, rows 3 to 7
SPECK = ([0.05, 0.1, 0.1, 0.2], [0, 0.7, 0.7, 0, 0, 0, 0])  # 4 of 200 pixels


def test_masks_are_painted_the_largest_first_and_specks_are_merged():
    """The screw lies on the nut, whatever is more probable; around them is no phrase."""
    parts = segmenter(SCREW, SPECK, NUT).segment(IMAGE)
    expected = np.zeros((10, 20), np.uint16)
    expected[1:9, 5:15], expected[3:7, 8:12] = 1, 2
    np.testing.assert_array_equal(expected, parts.labels)
    assert (np.uint16, ()) == (parts.labels.dtype, parts.missing)


def test_for_a_phrase_that_is_found_nowhere_the_whole_image_stands():
    """Below the others."""
    parts = segmenter(NUT).segment(IMAGE)
    expected = np.ones((10, 20), np.uint16)
    expected[1:9, 5:15] = 2
    np.testing.assert_array_equal(expected, parts.labels)
    assert ("screw",) == parts.missing
    nothing = segmenter(([0.5, 0.5, 0.5, 0.5], [0.9, 0.3, 0.2, 0.9, 0.3, 0.9, 0.9])).segment(IMAGE)
    assert (nothing.labels == 1).all()
    assert ("metal nut", "screw") == nothing.missing


def test_phrases_that_were_found_nowhere_are_reported():
    """With their images, as a sentence, and among those whose picture is shown."""
    images = {
        "a.png": Regions.of(segmenter(NUT).segment(IMAGE)),
        "b.png": Regions.of(segmenter(NUT, SCREW).segment(IMAGE)),
        "c.png": Regions.of(segmenter(SPECK).segment(IMAGE)),
    }
    found = report(StructureKind.GROUNDED_SAM, images, 200)
    assert {"screw": ["a.png", "c.png"]} == found["missing"]
    assert ["c.png", "a.png"] == flagged(found)  # in c.png the speck went
    assert [
        "1 of 3 images has one region that is the whole image: c.png",
        "2 of 3 images have no 'screw', for which the whole image stands: a.png, c.png",
    ] == warnings(found)
