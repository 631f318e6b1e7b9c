"""What each method gives on drawn images, beside the revisions that gave it.

Whoever changes a figure here has changed results that lie in people's caches: raise the revision of the stage in
`Learner.revisions`, so that DVC makes them anew, and write the new figures down.
"""

import json
from pathlib import Path

import numpy as np

from tests.conformance.drawn import CLASSES, draw

GOLDEN = Path(__file__).with_name("golden.json")
RTOL = 2e-3
# What AdamW's first steps make of the last bits, in which the kernels of processors differ: .0036 and .092 between two of them.
ACROSS_PROCESSORS = {"revdist": 0.02, "recontrast": 0.2}


def test_a_changed_result_has_a_raised_revision(learner, states, detector):
    """The figures are those that these revisions gave; other figures need another revision."""
    images = [image for name in CLASSES for image in (*draw(name, 1, seed=7), *draw(name, 1, seed=8))]
    judged = detector.judge(detector.see(images))
    thresholds = [state.calibration.steps[0].threshold for state in states if state.calibration]
    found = {
        "raw": judged.raw.tolist(),
        "entries": [float(np.mean(array)) for state in states for _, array in sorted(state.entry.items())],
        "thresholds": thresholds,
    }
    known = json.loads(GOLDEN.read_text())
    golden = known.get(learner.name)
    advice = f"write into {GOLDEN.name}: " + json.dumps(
        {learner.name: {"revisions": learner.revisions, **found}}
    )
    assert golden is not None, f"{learner.name} has no figures yet; {advice}"
    assert golden.pop("revisions") == dict(learner.revisions), f"a revision was raised; {advice}"
    for what, figures in golden.items():
        np.testing.assert_allclose(
            found[what],
            figures,
            rtol=ACROSS_PROCESSORS.get(learner.name, RTOL),
            err_msg=f"{what}: raise the revision; {advice}",
        )
