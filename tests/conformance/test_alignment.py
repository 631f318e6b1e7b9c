"""What holds of every alignment, for every method that can be aligned so."""

import numpy as np
import pytest

from evernorm.alignment.alignment import MEASURED
from evernorm.errors import StateError
from evernorm.methods.bank import load_bank, save_bank
from evernorm.methods.detector import Detector
from evernorm.methods.registry import learners
from evernorm.params.file import override, parse_params
from evernorm.params.groups import AlignmentKind, Device
from tests.conformance.drawn import CLASSES, draw
from tests.conformance.test_judging import alike

IMAGES = [image for name in CLASSES for image in (*draw(name, 1, seed=7), *draw(name, 1, seed=8))]


def aligned(learner, states, kind: AlignmentKind) -> Detector:
    """The same classes, read so."""
    settings = [f"calibration.alignment={kind}", "calibration.head.iterations=20"]
    params = parse_params(override(learner.params.model_dump(mode="json"), settings))
    return learners()[learner.name](params, learner.backbone).detector_of(states)


@pytest.mark.parametrize("kind", [kind for kind in AlignmentKind if kind is not AlignmentKind.WEIBULL])
def test_an_aligned_bank_answers_alike_wherever_it_is(learner, states, tmp_path, kind):
    """Stored and loaded, alone and together; what a method scores by itself stays, and one threshold may serve all."""
    if kind in MEASURED and not learner.traits.maps:
        with pytest.raises(StateError, match=r"cannot be aligned|without what alignment predicts from"):
            aligned(learner, states, kind)
        return
    detector = aligned(learner, states, kind)
    answers = detector.predict(IMAGES)
    save_bank(detector, tmp_path)
    loaded = load_bank(tmp_path, Device.CPU)
    assert detector.bank_bytes == loaded.bank_bytes
    for image, one, other in zip(IMAGES, answers, loaded.predict(IMAGES), strict=True):
        alike(one, other)
        alike(one, loaded.predict([image])[0], exact=False)
    seen = detector.see(IMAGES)
    judged, before = detector.judge(seen), learner.detector_of(states).judge(seen)
    np.testing.assert_array_equal(before.raw, judged.raw)
    np.testing.assert_array_equal(before.place, judged.place)
    if kind is not AlignmentKind.CADA_WEIBULL:
        assert 1 == len({reading.threshold for reading in detector.readings})
