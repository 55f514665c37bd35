"""How many bins `numpy.histogram` takes where it is asked by name: by rules for the width of a bin.

The rules are traced, and the number that follows from them is a guard of the path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irgrad.frontend.handlers.core import NP, cast, dtype_of, shape_of, unwrap
from irgrad.frontend.handlers.indexing import mask_positions
from irgrad.frontend.trace import Trace

MOST_TRIED = 100  # bins that the rule of Stone tries at least


def _spread(x: Any) -> Any:
    return NP.subtract(NP.max(x), NP.min(x))


def _by_root(x: Any) -> Any:
    return NP.divide(_spread(x), math.sqrt(shape_of(x)[0]))


def _by_sturges(x: Any) -> Any:
    return NP.divide(_spread(x), math.log2(shape_of(x)[0]) + 1.0)


def _by_rice(x: Any) -> Any:
    return NP.divide(_spread(x), 2.0 * shape_of(x)[0] ** (1.0 / 3))


def _by_scott(x: Any) -> Any:
    return NP.multiply((24.0 * math.pi**0.5 / shape_of(x)[0]) ** (1.0 / 3.0), NP.std(x))


def _by_quartiles(x: Any) -> Any:
    """Freedman and Diaconis 1981."""
    upper, lower = (NP.percentile(x, level) for level in (75, 25))
    return NP.multiply(2.0, NP.multiply(NP.subtract(upper, lower), shape_of(x)[0] ** (-1.0 / 3.0)))


def _by_doane(x: Any) -> Any:
    """Doane 1976: Sturges' rule, corrected by the skewness."""
    n = shape_of(x)[0]
    sigma = NP.std(x) if n > 2 else 0.0
    if n <= 2 or not bool(NP.greater(sigma, 0.0)):
        return 0.0
    skewness = NP.mean(NP.power(NP.divide(NP.subtract(x, NP.mean(x)), sigma), 3))
    error = math.sqrt(6.0 * (n - 2) / ((n + 1.0) * (n + 3)))
    return NP.divide(_spread(x), NP.add(1.0 + math.log2(n), NP.log2(NP.add(1.0, NP.divide(NP.absolute(skewness), error)))))


def _by_all(x: Any) -> Any:
    relaxed = NP.maximum(_by_quartiles(x), NP.divide(_by_root(x), 2))
    return NP.minimum(relaxed, _by_sturges(x))


def _by_stone(x: Any, low: Any, high: Any) -> Any:
    """Stone 1984: the number with the least estimated error of all up to 100, or the root of how many numbers there are."""
    n = shape_of(x)[0]
    spread = _spread(x)
    if n <= 1 or bool(NP.equal(spread, 0)):
        return 0.0
    most = max(MOST_TRIED, int(math.sqrt(n)))
    errors = []
    for count in range(1, most + 1):
        share = NP.divide(NP.histogram(x, bins=count, range=(low, high))[0], n)
        errors.append(NP.divide(NP.subtract(2, NP.multiply(n + 1, NP.dot(share, share))), NP.divide(spread, count)))
    return NP.divide(spread, int(NP.argmin(NP.stack(errors))) + 1)


WIDTHS: dict[str, Callable[..., Any]] = {
    "auto": _by_all, "doane": _by_doane, "fd": _by_quartiles, "rice": _by_rice, "scott": _by_scott, "sqrt": _by_root,
    "stone": _by_stone, "sturges": _by_sturges,
}  # fmt: skip


def estimated(trace: Trace, x: Any, rule: str, low: Any, high: Any, cut: bool) -> int:
    """The number of bins between `low` and `high` for the numbers `x` (n,); `cut` says that some of these may lie outside."""
    if cut:
        inside = NP.logical_and(NP.greater_equal(x, low), NP.less_equal(x, high))
        if not bool(NP.all(inside)):
            x = NP.take(x, mask_positions(trace, inside))
    if not shape_of(x)[0]:
        return 1
    x = x if dtype_of(x).kind == "f" else cast(trace, x, np.float64)
    width = WIDTHS[rule](x, low, high) if rule == "stone" else WIDTHS[rule](x)
    if not bool(NP.not_equal(width, 0)):
        return 1
    if np.asarray(unwrap(low)).dtype.kind in "iu" and bool(NP.less(width, 1)):
        width = 1
    return int(NP.ceil(NP.divide(NP.subtract(high, low), width)))
