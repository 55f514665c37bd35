"""Multivariate families: the normal distribution and Dirichlet's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats as _stats

import irgrad.numpy as inp
import irgrad.scipy.special as special
from irgrad.frontend.documented import with_section
from irgrad.frontend.handlers.core import as_array, real64, shape_of, unsupported
from irgrad.frontend.trace import Trace
from irgrad.scipy._wrap import traced_form
from irgrad.scipy.stats._distribution import Named

LOG_2PI = math.log(2.0 * math.pi)


class Multivariate(Named):
    """A multivariate distribution of scipy: the given methods record on traced values, the others refuse them."""

    def __init__(self, original: Any, name: str, **methods: Callable[..., Any]) -> None:
        self.original = original
        self.name = name
        self.__doc__ = with_section(original.__doc__, [f"Traced: {', '.join(methods)}; other methods refuse traced values."])
        for method, impl in methods.items():
            by = ", ".join(p for p in inspect.signature(impl).parameters if p not in ("trace", "allow_singular"))
            note = f"Differentiable in reverse and forward mode, to any order, by {by}. Compiled: every operation has a kernel."
            self.__dict__[method] = traced_form(f"stats.{name}.{method}", getattr(original, method), impl, note)


# ---- normal ----


def _normal_parameters(trace: Trace, mean: Any, cov: Any, points: Any = None) -> tuple[Any, Any]:
    """Mean and covariance as a vector and a matrix: a number is a multiple of the identity, a vector a diagonal."""
    cov = real64(trace, as_array(trace, cov))
    if mean is not None:
        mean = inp.atleast_1d(real64(trace, as_array(trace, mean)))
    if mean is not None:
        count = shape_of(mean)[0]
    elif shape_of(cov):
        count = shape_of(cov)[0]
    else:
        count = shape_of(points)[-1] if points is not None and len(shape_of(points)) > 1 else 1
    if mean is None:
        mean = np.zeros(count)
    if len(shape_of(cov)) < 2:
        cov = inp.diag(inp.broadcast_to(cov, (count,)))
    if len(shape_of(mean)) != 1 or shape_of(cov) != (count, count):
        raise ValueError(f"Array 'mean' must be a vector of length {count}, and 'cov' a {count} by {count} matrix")
    return mean, cov


def _log_density(trace: Trace, x: Any, mean: Any, cov: Any, allow_singular: Any) -> Any:
    """-(k log 2 pi + log det cov + dev cov**-1 dev) / 2, of the points along the last axis."""
    if allow_singular:
        unsupported("stats.multivariate_normal(allow_singular=True)", "leave allow_singular out", "scipy")
    x = real64(trace, as_array(trace, x))
    mean, cov = _normal_parameters(trace, mean, cov, x)
    count = shape_of(mean)[0]
    if not shape_of(x):
        x = inp.reshape(x, (1, 1))
    elif len(shape_of(x)) == 1:
        x = x[:, None] if count == 1 else x[None, :]
    dev = x - mean
    flat = inp.reshape(dev, (-1, count))
    factor = inp.linalg.cholesky(cov)  # LinAlgError where the covariance is not positive definite
    log_det = 2.0 * inp.sum(inp.log(inp.diagonal(factor)))
    white = inp.linalg.solve(factor, flat.T)
    made = -0.5 * (count * LOG_2PI + log_det + inp.sum(white * white, axis=0))
    made = inp.reshape(made, shape_of(dev)[:-1])
    return inp.squeeze(made)[()] if np.prod(shape_of(made)) == 1 else inp.squeeze(made)


def _mvn_logpdf(trace: Trace, x: Any, mean: Any = None, cov: Any = 1, allow_singular: Any = False) -> Any:
    return _log_density(trace, x, mean, cov, allow_singular)


def _mvn_pdf(trace: Trace, x: Any, mean: Any = None, cov: Any = 1, allow_singular: Any = False) -> Any:
    return inp.exp(_log_density(trace, x, mean, cov, allow_singular))


def _mvn_entropy(trace: Trace, mean: Any = None, cov: Any = 1) -> Any:
    _, cov = _normal_parameters(trace, mean, cov)
    log_det = 2.0 * inp.sum(inp.log(inp.diagonal(inp.linalg.cholesky(cov))))
    return 0.5 * (shape_of(cov)[0] * (LOG_2PI + 1.0) + log_det)


# ---- Dirichlet ----


def _dirichlet_point(trace: Trace, x: Any, alpha: Any) -> tuple[Any, Any]:
    """The point, with its last entry if that is left out, and the parameters, both checked as scipy does."""
    x, alpha = (real64(trace, as_array(trace, v)) for v in (x, alpha))
    count = shape_of(alpha)[0] if shape_of(alpha) else 1
    if bool(inp.any(alpha <= 0.0)):
        raise ValueError("All parameters must be greater than 0")
    if len(shape_of(alpha)) != 1:
        raise ValueError(f"Parameter vector 'a' must be one dimensional, but a.shape = {shape_of(alpha)}.")
    if shape_of(x)[0] + 1 == count:
        x = inp.concatenate([x, (1.0 - inp.sum(x, axis=0))[None]])
    if shape_of(x)[0] != count:
        raise ValueError(
            "Vector 'x' must have either the same number of entries as, or one entry fewer than, parameter vector 'a', "
            f"but alpha.shape = {shape_of(alpha)} and x.shape = {shape_of(x)}."
        )
    if bool(inp.any(x < 0.0)):
        raise ValueError("Each entry in 'x' must be greater than or equal to zero.")
    if bool(inp.any(x > 1.0)):
        raise ValueError("Each entry in 'x' must be smaller or equal one.")
    if bool(inp.any(inp.abs(inp.sum(x, axis=0) - 1.0) > 1e-9)):
        raise ValueError("The input vector 'x' must lie within the normal simplex.")
    return x, alpha


def _dirichlet_logpdf(trace: Trace, x: Any, alpha: Any) -> Any:
    x, alpha = _dirichlet_point(trace, x, alpha)
    log_beta = inp.sum(special.gammaln(alpha)) - special.gammaln(inp.sum(alpha))
    return inp.sum(special.xlogy(alpha - 1.0, x.T).T, axis=0) - log_beta


def _dirichlet_pdf(trace: Trace, x: Any, alpha: Any) -> Any:
    return inp.exp(_dirichlet_logpdf(trace, x, alpha))


multivariate_normal = Multivariate(
    _stats.multivariate_normal, "multivariate_normal", pdf=_mvn_pdf, logpdf=_mvn_logpdf, entropy=_mvn_entropy
)
dirichlet = Multivariate(_stats.dirichlet, "dirichlet", pdf=_dirichlet_pdf, logpdf=_dirichlet_logpdf)
