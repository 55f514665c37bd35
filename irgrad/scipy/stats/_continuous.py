"""Continuous families: formulas of the standard form, as in scipy; what needs care near an end is a special function of its own."""

from __future__ import annotations

import math
from typing import Any

import irgrad.scipy.special as special
from irgrad.frontend.handlers.special import where
from irgrad.numpy import abs as absolute
from irgrad.numpy import exp, expm1, log, log1p
from irgrad.scipy.stats._distribution import Family

LINE = (-math.inf, math.inf, 0.0)
HALF_LINE = (0.0, math.inf, 1.0)
UNIT = (0.0, 1.0, 0.5)
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
LN2 = math.log(2.0)


def positive(*shapes: Any) -> Any:
    """All shapes are greater than 0."""
    made = shapes[0] > 0
    for shape in shapes[1:]:
        made = made & (shape > 0)
    return made


norm = Family(
    "norm",
    (),
    LINE,
    {
        "logpdf": lambda x: -0.5 * (x * x) - LOG_SQRT_2PI,
        "cdf": special.ndtr,
        "sf": lambda x: special.ndtr(-x),
        "logcdf": special.log_ndtr,
        "logsf": lambda x: special.log_ndtr(-x),
        "ppf": special.ndtri,
        "isf": lambda q: -special.ndtri(q),
    },
)


def _student_quantile(q: Any, df: Any) -> Any:
    end = q == 0.0  # where stdtrit is inf
    return where(end, -math.inf, special.stdtrit(df, where(end, 0.5, q)))


t = Family(
    "t",
    ("df",),
    LINE,
    {
        "logpdf": lambda x, df: -0.5 * (df + 1.0) * log1p(x * x / df) - special.betaln(0.5 * df, 0.5) - 0.5 * log(df),
        "cdf": lambda x, df: special.stdtr(df, x),
        "sf": lambda x, df: special.stdtr(df, -x),
        "ppf": _student_quantile,
        "isf": lambda q, df: -_student_quantile(q, df),
    },
    positive,
)
beta = Family(
    "beta",
    ("a", "b"),
    UNIT,
    {
        "logpdf": lambda x, a, b: special.xlogy(a - 1.0, x) + special.xlog1py(b - 1.0, -x) - special.betaln(a, b),
        "cdf": lambda x, a, b: special.betainc(a, b, x),
        "sf": lambda x, a, b: special.betaincc(a, b, x),
        "ppf": lambda q, a, b: special.betaincinv(a, b, q),
        "isf": lambda q, a, b: 1.0 - special.betaincinv(b, a, q),
    },
    positive,
)
gamma = Family(
    "gamma",
    ("a",),
    HALF_LINE,
    {
        "logpdf": lambda x, a: special.xlogy(a - 1.0, x) - x - special.gammaln(a),
        "cdf": lambda x, a: special.gammainc(a, x),
        "sf": lambda x, a: special.gammaincc(a, x),
        "ppf": lambda q, a: special.gammaincinv(a, q),
        "isf": lambda q, a: special.gammainccinv(a, q),
    },
    positive,
)
chi2 = Family(
    "chi2",
    ("df",),
    HALF_LINE,
    {
        "logpdf": lambda x, df: special.xlogy(0.5 * df - 1.0, x) - 0.5 * x - special.gammaln(0.5 * df) - (0.5 * LN2) * df,
        "cdf": lambda x, df: special.gammainc(0.5 * df, 0.5 * x),
        "sf": lambda x, df: special.gammaincc(0.5 * df, 0.5 * x),
        "ppf": lambda q, df: 2.0 * special.gammaincinv(0.5 * df, q),
        "isf": lambda q, df: 2.0 * special.gammainccinv(0.5 * df, q),
    },
    positive,
)
uniform = Family(
    "uniform",
    (),
    UNIT,
    {"logpdf": lambda x: 0.0 * x, "cdf": lambda x: 1.0 * x, "sf": lambda x: 1.0 - x, "ppf": lambda q: 1.0 * q, "isf": lambda q: 1.0 - q},
)
expon = Family(
    "expon",
    (),
    HALF_LINE,
    {
        "logpdf": lambda x: -x,
        "cdf": lambda x: -expm1(-x),
        "sf": lambda x: exp(-x),
        "logsf": lambda x: -x,
        "ppf": lambda q: -log1p(-q),
        "isf": lambda q: -log(q),
    },
)


def _laplace_log(x: Any) -> Any:
    """The logarithm of the distribution function: x - log 2 below the median, log1p(-exp(-x) / 2) above."""
    low = x < 0.0
    return where(low, x - LN2, log1p(-0.5 * exp(-where(low, 0.0, x))))


def _laplace(x: Any) -> Any:
    low = x < 0.0
    half = 0.5 * exp(-absolute(x))
    return where(low, half, 1.0 - half)


def _laplace_quantile(q: Any) -> Any:
    low = q < 0.5
    return where(low, log(2.0 * where(low, q, 0.5)), -log(2.0 * (1.0 - where(low, 0.5, q))))


laplace = Family(
    "laplace",
    (),
    LINE,
    {
        "logpdf": lambda x: -absolute(x) - LN2,
        "cdf": _laplace,
        "sf": lambda x: _laplace(-x),
        "logcdf": _laplace_log,
        "logsf": lambda x: _laplace_log(-x),
        "ppf": _laplace_quantile,
        "isf": lambda q: -_laplace_quantile(q),
    },
)
logistic = Family(
    "logistic",
    (),
    LINE,
    {
        "logpdf": lambda x: special.log_expit(x) + special.log_expit(-x),
        "cdf": special.expit,
        "sf": lambda x: special.expit(-x),
        "logcdf": special.log_expit,
        "logsf": lambda x: special.log_expit(-x),
        "ppf": special.logit,
        "isf": lambda q: -special.logit(q),
    },
)


def _lognorm_log_density(x: Any, s: Any) -> Any:
    y = log(x)
    return -0.5 * (y / s) ** 2 - y - log(s) - LOG_SQRT_2PI


lognorm = Family(
    "lognorm",
    ("s",),
    HALF_LINE,
    {
        "logpdf": _lognorm_log_density,
        "cdf": lambda x, s: special.ndtr(log(x) / s),
        "sf": lambda x, s: special.ndtr(-log(x) / s),
        "logcdf": lambda x, s: special.log_ndtr(log(x) / s),
        "logsf": lambda x, s: special.log_ndtr(-log(x) / s),
        "ppf": lambda q, s: exp(s * special.ndtri(q)),
        "isf": lambda q, s: exp(-s * special.ndtri(q)),
    },
    positive,
    open_ends=True,
)
FAMILIES = (norm, t, beta, gamma, chi2, uniform, expon, laplace, logistic, lognorm)
