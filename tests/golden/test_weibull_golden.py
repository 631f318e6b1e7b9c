"""libMR's own answers (compiled), which both engines must give."""

import numpy as np
import pytest

from evernorm.calibration.evt import fit_high
from evernorm.params.groups import Engine

INDEX = np.arange(50)
DATA = 0.5 + 0.37 * INDEX + 0.21 * np.sin(3 * INDEX)

GOLDEN = [
    (5, 1.934620784, 3.502835980, 17.168557424, {18: 0.561906241, 19: 0.977556167}),
    (9, 2.898967321, 2.928347433, 15.573420267, {15: 0.003648460, 18: 0.804409852, 20: 0.998109718}),
    (20, 4.916943552, 2.164659772, 11.770860750, {18: 0.900068737}),
    (50, 11.313650252, 1.926002663, 0.5, {1: 0.020206235, 10: 0.579414344}),
]


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(("tail", "scale", "shape", "minimum", "scores"), GOLDEN)
def test_fits_equal_libmr(engine, tail, scale, shape, minimum, scores):
    """Scale, shape, smallest tail value and w_score, to the digits recorded (the exact maximum of the likelihood: 1e-5)."""
    fitted = fit_high(DATA, tail, engine)
    np.testing.assert_allclose(
        [fitted.scale, fitted.shape], [scale, shape], rtol=1e-9 if engine is Engine.LIBMR else 1e-5
    )
    np.testing.assert_allclose(fitted.minimum, minimum, rtol=1e-9)
    np.testing.assert_allclose(fitted.w_score(list(scores)), list(scores.values()), rtol=1e-5, atol=1e-6)
