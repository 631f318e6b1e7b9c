"""Weibull tails with libMR's semantics (Scheirer et al., meta-recognition; NOTES on Weibull tails)."""

import importlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import FitError, MachineError
from evernorm.params.groups import Engine
from evernorm.types import Doubles


@dataclass(frozen=True)
class WeibullTail:
    """A two-parameter Weibull distribution over the high end of some data.

    A value x is shifted to y = x + 1 − minimum, so that the smallest tail value lies at 1. The fixed
    +1 makes the fit depend on the unit of the data: divide by a typical value first.

    Attributes:
        scale: Weibull scale, in units of the data.
        shape: Weibull shape, dimensionless.
        minimum: Smallest value of the tail, in units of the data.
        size: Number of values in the tail.
    """

    scale: float
    shape: float
    minimum: float
    size: int

    def w_score(self, x: npt.ArrayLike) -> Doubles:
        """Probability that x lies beyond the tail: 1 − exp(−(y / scale)^shape), 0 where y < 0.

        Args:
            x: Values of any shape.

        Returns:
            float64 in [0, 1], of the same shape.
        """
        y = np.maximum(np.asarray(x, np.float64) + 1 - self.minimum, 0)
        return -np.expm1(-((y / self.scale) ** self.shape))

    def quantile(self, probability: npt.ArrayLike) -> Doubles:
        """Inverse of `w_score` for probabilities in [0, 1)."""
        y = self.scale * (-np.log1p(-np.asarray(probability, np.float64))) ** (1 / self.shape)
        shifted: Doubles = y - 1 + self.minimum
        return shifted

    def to_json(self) -> dict[str, Any]:
        """Plain values for the constructor."""
        return asdict(self)


def fit_high(data: npt.ArrayLike, tail: int, engine: Engine = Engine.LIBMR) -> WeibullTail:
    """Fit the `tail` largest values by maximum likelihood with location 0.

    Args:
        data: Values, one-dimensional, in units of a typical value (see `WeibullTail`).
        tail: How many of the largest make the tail.
        engine: libmr's own fit, or the same equations solved by SciPy (libMR's search stops within 1e-5).

    Raises:
        FitError: Too few values, values that are not finite, a tail whose values are all equal, or a fit that
            does not converge.
        MachineError: The engine is not installed.
    """
    values = np.asarray(data, np.float64).ravel()
    if not np.isfinite(values).all():
        raise FitError(
            f"{(~np.isfinite(values)).sum()} of {values.size} values are not finite; a tail needs finite ones"
        )
    if not 2 <= tail <= values.size:
        raise FitError(
            f"a tail of {tail} cannot be taken from {values.size} values; it needs 2 to {values.size}"
        )
    kept = np.sort(values)[-tail:]
    if kept[0] == kept[-1]:
        raise FitError(
            f"the {tail} largest values all equal {kept[0]:g}; a tail without spread has no Weibull fit"
        )
    scale, shape = _ENGINES[engine](kept)
    if not (np.isfinite(scale) and np.isfinite(shape) and scale > 0 and shape > 0):
        raise FitError(
            f"{engine.value} found no Weibull fit for a tail of {tail} values (scale {scale}, shape {shape})"
        )
    return WeibullTail(scale, shape, float(kept[0]), tail)


def _fit_libmr(kept: Doubles) -> tuple[float, float]:
    try:
        libmr: Any = importlib.import_module("libmr")
    except ModuleNotFoundError as error:
        raise MachineError(
            "weibull.engine is libmr, but libmr is not installed: `pip install cython numpy setuptools wheel`, then "
            "`pip install --no-build-isolation libmr==0.1.9`; or set weibull.engine to scipy"
        ) from error
    tail = libmr.MR()
    tail.fit_high(kept, kept.size)
    if not tail.is_valid:
        return float("nan"), float("nan")
    scale, shape, *_ = tail.get_params()
    return float(scale), float(shape)


def _fit_scipy(kept: Doubles) -> tuple[float, float]:
    """The likelihood equation of the shape solved by Brent's method: `weibull_min.fit` stops at 1e-5."""
    from scipy.optimize import brentq

    logs = np.log(kept + 1 - kept[0])

    def equation(shape: float) -> float:
        weights = np.exp(shape * (logs - logs.max()))
        return float((weights * logs).sum() / weights.sum() - 1 / shape - logs.mean())

    # Increasing from −∞ to max(log y) − mean(log y) > 0, so there is one root and doubling finds a bound.
    upper = 1.0
    while equation(upper) < 0:
        upper *= 2
    shape = float(brentq(equation, 1e-9, upper, xtol=1e-12, rtol=1e-12))
    scale = float(np.exp(logs.max() + np.log(np.mean(np.exp(shape * (logs - logs.max())))) / shape))
    return scale, shape


_ENGINES = {Engine.LIBMR: _fit_libmr, Engine.SCIPY: _fit_scipy}
