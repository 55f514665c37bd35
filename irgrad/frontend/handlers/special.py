"""`scipy.special`: its ufuncs are primitives (`irgrad.ops.special`), its other functions are composed of them.

Loaded with `irgrad.scipy.special`, or when a function of `scipy.special` first meets a traced value: importing scipy costs time
that programs without it do not pay.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from scipy import special

from irgrad.frontend.handlers.core import (
    PUBLIC,
    apply,
    as_array,
    call,
    cast,
    dtype_of,
    find_tracer,
    handles,
    operand,
    real64,
    scalar_where,
    shape_of,
    unsupported,
    unwrap,
)
from irgrad.frontend.handlers.reduction import reduce
from irgrad.frontend.handlers.ufuncs import Binary, Ufunc, Unary, enter
from irgrad.frontend.trace import Trace
from irgrad.ir.primitive import REGISTRY
from irgrad.ops import special as _ops
from irgrad.ops import special_integrals as _more

# ---- one primitive each ----

_DECLARED = vars(_ops) | vars(_more)
_SAME_NAME = sorted(
    name for name, op in _DECLARED.items() if REGISTRY.get(name) is op and isinstance(getattr(special, name, None), np.ufunc)
)
_CORE_NAMES = ("exp2", "expm1", "log1p", "cbrt")  # scipy's loops, numpy's primitives
_KINDS = {1: Unary, 2: Binary, 3: Ufunc, 4: Ufunc}

for _name in (*_SAME_NAME, *_CORE_NAMES):
    _ufunc: np.ufunc = getattr(special, _name)
    enter(_ufunc, _KINDS[_ufunc.nin](_ufunc, REGISTRY[_name]))


# ---- pieces ----


def where(condition: Any, x: Any, y: Any) -> Any:
    """numpy's where, which answers a scalar for scalars. Needs a traced argument or none at all."""
    found = find_tracer((condition, x, y))
    if found is None:
        return scalar_where(condition, x, y)
    trace = found._trace
    return apply(trace, "where", scalar_where, operand(trace, condition), operand(trace, x), operand(trace, y))


def stopped(x: Any) -> Any:
    """`x` without its derivative."""
    found = find_tracer((x,))
    return x if found is None else call(found._trace, "stop_gradient", x)


def floating(trace: Trace, x: Any, dtype: Any = None) -> Any:
    """`x` as an operand of an inexact dtype."""
    x = operand(trace, x)
    if dtype is None and dtype_of(x).kind in "fc":
        return x
    return cast(trace, x, np.float64 if dtype is None else dtype)


exp, log, log1p, isfinite, equal = (PUBLIC[f] for f in (np.exp, np.log, np.log1p, np.isfinite, np.equal))

# ---- gamma and its relatives ----


@handles(special.zeta)
def zeta(trace: Trace, x: Any, q: Any = None, out: Any = None) -> Any:
    if out is not None:
        unsupported("zeta(out=)", "use the returned array", "scipy.special")
    if q is None:
        unsupported("zeta(x)", "write zeta(x, 1.0), which is the same for x > 1", "scipy.special")
    s, q = floating(trace, x), floating(trace, q)
    return apply(trace, "zeta", special.zeta, s, q)


@handles(special.polygamma)
def polygamma(trace: Trace, n: Any, x: Any) -> Any:
    """(-1)**(n+1) n! zeta(n+1, x), and psi for n = 0 (DLMF 25.11.12)."""
    order, x = operand(trace, n), floating(trace, as_array(trace, x))
    if find_tracer((order,)) is None and np.all(np.asarray(order) == 0):
        return as_array(trace, PUBLIC[special.psi](x))
    up = order + 1.0
    factor = (-1.0) ** up * PUBLIC[special.gamma](up)
    made = factor * zeta(trace, up, x)
    if find_tracer((order,)) is None and np.all(np.asarray(order) != 0):
        return as_array(trace, made)
    return as_array(trace, PUBLIC[np.where](order == 0, PUBLIC[special.psi](x), made))


@handles(special.multigammaln)
def multigammaln(trace: Trace, a: Any, d: Any) -> Any:
    """log pi d (d-1) / 4 + sum of gammaln(a - j/2) for j < d (DLMF 35.3.4)."""
    n = operator.index(d)
    x = real64(trace, a)
    if bool(PUBLIC[np.any](x <= 0.5 * (n - 1))):
        raise ValueError(f"condition a ({unwrap(a)}) > 0.5 * (d-1) ({0.5 * (n - 1)}) not met")
    total: Any = n * (n - 1) * 0.25 * math.log(math.pi)
    for j in range(n):
        total = total + PUBLIC[special.gammaln](x - 0.5 * j)
    return total


@handles(special.factorial)
def factorial(trace: Trace, n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """gamma(n + 1), 0 for n < 0."""
    if exact or extend != "zero":
        unsupported("factorial(exact=, extend=)", "leave them out", "scipy.special")
    x = real64(trace, n)
    negative = x < 0
    return where(negative, 0.0, PUBLIC[special.gamma](where(negative, 0.0, x) + 1.0))


@handles(special.comb)
def comb(trace: Trace, N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    """binom(N, k), 0 outside 0 <= k <= N; with repetition binom(N+k-1, k)."""
    if exact:
        unsupported("comb(exact=True)", "leave exact out", "scipy.special")
    n, k = floating(trace, N), floating(trace, k)
    if repetition:
        return where((k == 0) & (n >= 0), 1.0, PUBLIC[special.binom](n + k - 1.0, k))
    return where((k <= n) & (n >= 0) & (k >= 0), PUBLIC[special.binom](n, k), 0.0)


@handles(special.perm)
def perm(trace: Trace, N: Any, k: Any, exact: bool = False) -> Any:
    """poch(N-k+1, k), 0 outside 0 <= k <= N."""
    if exact:
        unsupported("perm(exact=True)", "leave exact out", "scipy.special")
    n, k = floating(trace, N), floating(trace, k)
    return where((k <= n) & (n >= 0) & (k >= 0), PUBLIC[special.poch](n - k + 1.0, k), 0.0)


# ---- sums of exponentials ----


def _shift(trace: Trace, x: Any, axis: Any) -> tuple[Any, Any]:
    """The maximum along `axis`, without its derivative and with 0 for what is not finite; and whether it is finite."""
    largest = stopped(reduce(trace, "reduce_max", stopped(x), axis, True))
    finite = isfinite(largest)
    return where(finite, largest, 0.0), finite


def _real(name: str, trace: Trace, x: Any) -> Any:
    x = floating(trace, as_array(trace, x))
    if dtype_of(x).kind == "c":
        unsupported(f"{name} of complex numbers", "write it with exp and log", "scipy.special")
    return x


@handles(special.logsumexp)
def logsumexp(trace: Trace, a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """log sum b exp(a), shifted by the largest entry; the derivative is that of the shifted form, the shift being constant.

    Entries of -inf have weight 0, and an infinite result is flat. Without weights the largest entries are left out of the sum and
    added through log1p, so that a result near 0 is exact.
    """
    x = _real("logsumexp", trace, a)
    if not shape_of(x):
        x = call(trace, "reshape", x, shape=(1,))
    if b is not None:
        weights = _real("logsumexp", trace, b)
        x = where(equal(weights, 0.0), -math.inf, x)
    if 0 in shape_of(x):
        nothing = reduce(trace, "reduce_sum", x, axis, keepdims)
        return (nothing - math.inf, nothing - 1.0) if return_sign else nothing - math.inf  # scipy's sign
    largest, finite = _shift(trace, x, axis)
    part = exp(x - largest)
    if b is not None:
        total = reduce(trace, "reduce_sum", weights * part, axis, True)
        sign = PUBLIC[np.sign](total) if return_sign else None
        made = log(PUBLIC[np.absolute](total) if return_sign else total)
    else:
        top = where(equal(stopped(x), largest), 1.0, 0.0)
        top = cast(trace, top, dtype_of(x))
        count = reduce(trace, "reduce_sum", top, axis, True)
        rest = reduce(trace, "reduce_sum", part - top, axis, True)
        if not trace.is_graph and np.all(unwrap(finite)):  # known to an eager trace: no masks
            made = log1p(rest / count) + log(count)
        else:
            sure = where(finite, count, 1.0)
            made = where(finite, log1p(rest / sure) + log(sure), log(stopped(rest + count)))
        sign = PUBLIC[np.sign](rest + count) if return_sign else None
    made = made + largest
    if not keepdims:
        made, sign = (None if v is None else _dropped(trace, v, axis) for v in (made, sign))
    return (made, sign) if return_sign else made


def _dropped(trace: Trace, x: Any, axis: Any) -> Any:
    """`x` without the axes of extent 1 that were reduced; a scalar if none are left."""
    made = PUBLIC[np.squeeze](x, axis=axis)
    return made if shape_of(made) else made[()]


@handles(special.softmax)
def softmax(trace: Trace, x: Any, axis: Any = None) -> Any:
    x = _real("softmax", trace, x)
    part = exp(x - stopped(reduce(trace, "reduce_max", stopped(x), axis, True)))
    return part / reduce(trace, "reduce_sum", part, axis, True)


@handles(special.log_softmax)
def log_softmax(trace: Trace, x: Any, axis: Any = None) -> Any:
    x = _real("log_softmax", trace, x)
    shifted = x - _shift(trace, x, axis)[0]
    return shifted - log(reduce(trace, "reduce_sum", exp(shifted), axis, True))


if hasattr(special, "softplus"):

    @handles(special.softplus)
    def softplus(trace: Trace, x: Any) -> Any:
        """log(1 + exp(x))."""
        return PUBLIC[np.logaddexp](0.0, operand(trace, x))


import irgrad.frontend.handlers.special_functions as _functions  # noqa: E402, F401  (registers its handlers, with the pieces above)
