"""Weibull tails: libMR's semantics, refusals, invariants."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evernorm.calibration.evt import WeibullTail, fit_high
from evernorm.errors import FitError, MachineError
from evernorm.params.groups import Engine

TAIL = WeibullTail(scale=1.2, shape=3.0, minimum=1.4, size=10)


@pytest.mark.parametrize("engine", Engine)
@pytest.mark.parametrize(
    ("data", "tail", "said"),
    [
        ([1.0, 2.0, 3.0], 4, "a tail of 4 cannot be taken from 3 values"),
        ([1.0, 2.0, 3.0], 1, "it needs 2 to 3"),
        ([1.0, 2.0, 2.0, 2.0], 3, "all equal 2"),
        ([1.0, np.nan, 3.0], 2, "1 of 3 values are not finite"),
    ],
)
def test_data_without_a_tail_is_refused(engine, data, tail, said):
    """libMR answers some of these with an invalid fit and a score of -9999."""
    with pytest.raises(FitError, match=said):
        fit_high(data, tail, engine)


def test_both_engines_agree_on_any_scale_of_spread():
    """libmr and SciPy agree on normalised scores like those of a class."""
    rng = np.random.default_rng(0)
    for spread in (0.02, 0.1, 0.5):
        scores = 1 + spread * rng.standard_normal(100)
        libmr, scipy = (fit_high(scores, 25, engine) for engine in Engine)
        np.testing.assert_allclose([libmr.scale, libmr.shape], [scipy.scale, scipy.shape], rtol=2e-5)


def test_the_fit_equals_scipys_own():
    """scipy.stats.weibull_min.fit with location 0 gives the same parameters to its own tolerance."""
    from scipy.stats import weibull_min

    data = 1 + 0.2 * np.random.default_rng(3).random(60)
    fitted = fit_high(data, 20, Engine.SCIPY)
    kept = np.sort(data)[-20:]
    shape, _, scale = weibull_min.fit(kept + 1 - kept[0], floc=0)
    np.testing.assert_allclose([fitted.scale, fitted.shape], [scale, shape], rtol=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=20))
def test_w_score_never_decreases_and_stays_a_probability(values):
    """Further out is never less of an outlier; far below the tail is 0."""
    scores = TAIL.w_score(np.sort(values))
    assert (np.diff(scores) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert TAIL.w_score(TAIL.minimum - 1.0) == 0


@given(st.floats(0.001, 0.999))
def test_quantile_inverts_w_score(probability):
    """The value at a probability has that probability."""
    np.testing.assert_allclose(TAIL.w_score(TAIL.quantile(probability)), probability, rtol=1e-9)


def test_a_missing_libmr_says_how_to_install_it_and_what_else_to_do():
    """Without libmr the error names the command and the other engine; a stored tail still answers."""
    code = (
        "import sys; sys.modules['libmr'] = None\n"
        "from evernorm.calibration.evt import WeibullTail, fit_high\n"
        "print(WeibullTail(1.2, 3.0, 1.4, 10).w_score(1.5))\n"
        "fit_high([1.0, 2.0, 3.0], 2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("0.")
    assert "--no-build-isolation libmr==0.1.9" in done.stderr
    assert "set weibull.engine to scipy" in done.stderr


def test_a_missing_libmr_is_a_fault_of_the_machine(monkeypatch):
    """And not of the data: another machine fits the same tail."""
    monkeypatch.setitem(sys.modules, "libmr", None)
    with pytest.raises(MachineError):
        fit_high([1.0, 2.0, 3.0], 2)
