"""Discrete families. The argument, and numbers of trials, are whole numbers: no derivative flows to them."""

from __future__ import annotations

import math
from typing import Any

import irgrad.scipy.special as special
from irgrad.frontend.handlers.special import where
from irgrad.numpy import floor, log
from irgrad.scipy.stats._distribution import Family

COUNTS = (0.0, math.inf, 0.0)


def _probability(p: Any) -> Any:
    return (p >= 0.0) & (p <= 1.0)


poisson = Family(
    "poisson",
    ("mu",),
    COUNTS,
    {
        "logpmf": lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1.0) - mu,
        "cdf": lambda k, mu: special.gammaincc(k + 1.0, mu),
        "sf": lambda k, mu: special.gammainc(k + 1.0, mu),
    },
    lambda mu: mu >= 0.0,
    discrete=True,
)
bernoulli = Family(
    "bernoulli",
    ("p",),
    (0.0, 1.0, 0.0),
    {
        "logpmf": lambda k, p: special.xlogy(k, p) + special.xlog1py(1.0 - k, -p),
        "cdf": lambda k, p: 1.0 - p + 0.0 * k,
        "sf": lambda k, p: p + 0.0 * k,
    },
    _probability,
    discrete=True,
)


def _binom_log(k: Any, n: Any, p: Any) -> Any:
    ways = special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0)
    return ways + special.xlogy(k, p) + special.xlog1py(n - k, -p)


def _trials_left(k: Any, n: Any) -> Any:
    """n - k, or 1 where none are left and the value is replaced."""
    left = n - k
    return where(left <= 0.0, 1.0, left)


binom = Family(
    "binom",
    ("n", "p"),
    COUNTS,
    {
        "logpmf": _binom_log,
        "cdf": lambda k, n, p: special.betaincc(k + 1.0, _trials_left(k, n), p),
        "sf": lambda k, n, p: special.betainc(k + 1.0, _trials_left(k, n), p),
    },
    lambda n, p: (n >= 0.0) & (n == floor(n)) & _probability(p),
    discrete=True,
    upper=lambda n, p: n,
    fixed=(0,),
)


def _nbinom_log(k: Any, n: Any, p: Any) -> Any:
    ways = special.gammaln(n + k) - special.gammaln(k + 1.0) - special.gammaln(n)
    return ways + n * log(p) + special.xlog1py(k, -p)


nbinom = Family(
    "nbinom",
    ("n", "p"),
    COUNTS,
    {
        "logpmf": _nbinom_log,
        "cdf": lambda k, n, p: special.betainc(n, k + 1.0, p),
        "sf": lambda k, n, p: special.betaincc(n, k + 1.0, p),
    },
    lambda n, p: (n > 0.0) & (p > 0.0) & (p <= 1.0),
    discrete=True,
)
FAMILIES = (poisson, bernoulli, binom, nbinom)
