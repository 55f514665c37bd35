"""`scipy.special`: functions with several results, derivatives of Bessel functions, and orthogonal polynomials of whole degree.

Loaded with `irgrad.frontend.handlers.special`. Polynomials are evaluated by their three-term recurrences (DLMF 18.9.1), one step a degree,
as scipy does for whole degrees; the degree is a plain number, the parameters may be traced.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from irgrad.frontend.handlers.core import (
    PUBLIC,
    apply,
    call,
    cast,
    dtype_of,
    find_tracer,
    handles,
    unsupported,
    unwrap,
    weak_of,
)
from irgrad.frontend.handlers.special import floating
from irgrad.frontend.handlers.ufuncs import composes
from irgrad.frontend.trace import Trace

# ---- two results ----


def _pair(name: str, first: str, second: str) -> None:
    ufunc: np.ufunc = getattr(special, name)

    @composes(ufunc)
    def compose(trace: Trace, x: Any) -> Any:
        x = floating(trace, x)
        if dtype_of(x).kind == "c":
            unsupported(f"{name} of complex numbers", "give a real argument", "scipy.special")
        return tuple(apply(trace, part, lambda v, k=k: ufunc(v)[k], x) for k, part in enumerate((first, second)))


_pair("sici", "sine_integral", "cosine_integral")
_pair("shichi", "sinh_integral", "cosh_integral")
_pair("fresnel", "fresnel_sine", "fresnel_cosine")


@handles(special.lambertw)
def lambertw(trace: Trace, z: Any, k: Any = 0, tol: Any = 1e-8) -> Any:
    """One branch; the result is complex."""
    if find_tracer((k, tol)) is not None or np.ndim(k):
        unsupported("lambertw of several branches", "give k as one plain number", "scipy.special")
    made = floating(trace, z)
    return call(trace, "lambert", made, branch=operator.index(k))


# ---- derivatives of Bessel functions by the argument (DLMF 10.6.7, 10.29.5) ----


def _derivative(name: str, function: np.ufunc, sign: float, rising: float) -> None:
    """2**-n sum of (sign)**k binom(n, k) C_{v - n + 2k}, times (-1)**n where `rising` says so."""

    @handles(getattr(special, name))
    def derivative(trace: Trace, v: Any, z: Any, n: Any = 1) -> Any:
        order = operator.index(n)
        if order < 0:
            raise ValueError("n must be a non-negative integer.")
        if order == 0:
            return PUBLIC[function](v, z)
        z = floating(trace, z)
        z = cast(trace, z, np.result_type(dtype_of(z), np.float64))  # v becomes an array, which is no weak number
        total: Any = None
        for k in range(order + 1):
            weight = rising**order * sign**k * math.comb(order, k) / 2.0**order
            term = weight * PUBLIC[function](v - order + 2.0 * k, z)
            total = term if total is None else total + term
        return total


_derivative("jvp", special.jv, -1.0, 1.0)
_derivative("yvp", special.yv, -1.0, 1.0)
_derivative("ivp", special.iv, 1.0, 1.0)
_derivative("kvp", special.kv, 1.0, -1.0)

# ---- orthogonal polynomials ----

# of (k, parameters): the step p_{k+1} = (a x + b) p_k - c p_{k-1}
Step = Callable[..., tuple[Any, Any, Any]]


def _jacobi_step(k: int, a: Any, b: Any) -> tuple[Any, Any, Any]:
    total = 2.0 * k + a + b
    below = 2.0 * (k + 1.0) * (k + a + b + 1.0) * total
    if k == 0:  # the general form is 0/0 where a + b is 0
        return 0.5 * (a + b + 2.0), 0.5 * (a - b), 0.0
    return (
        (total + 1.0) * (total + 2.0) * total / below,
        (total + 1.0) * (a * a - b * b) / below,
        2.0 * (k + a) * (k + b) * (total + 2.0) / below,
    )


_STEPS: dict[str, Step] = {
    "eval_legendre": lambda k: ((2.0 * k + 1.0) / (k + 1.0), 0.0, k / (k + 1.0)),
    "eval_chebyt": lambda k: (2.0 if k else 1.0, 0.0, 1.0),
    "eval_chebyu": lambda k: (2.0, 0.0, 1.0),
    "eval_hermite": lambda k: (2.0, 0.0, 2.0 * k),
    "eval_hermitenorm": lambda k: (1.0, 0.0, float(k)),
    "eval_laguerre": lambda k: (-1.0 / (k + 1.0), (2.0 * k + 1.0) / (k + 1.0), k / (k + 1.0)),
    "eval_genlaguerre": lambda k, a: (-1.0 / (k + 1.0), (2.0 * k + 1.0 + a) / (k + 1.0), (k + a) / (k + 1.0)),
    "eval_gegenbauer": lambda k, a: (2.0 * (k + a) / (k + 1.0), 0.0, (k + 2.0 * a - 1.0) / (k + 1.0)),
    "eval_jacobi": _jacobi_step,
}


def _polynomial(name: str, step: Step) -> None:
    ufunc: np.ufunc = getattr(special, name)

    @composes(ufunc)
    def evaluate(trace: Trace, n: Any, *operands: Any) -> Any:
        """In double precision, as scipy does for single operands too; a degree that is an int has no single loop."""
        degree = unwrap(n)
        if find_tracer((n,)) is not None or np.ndim(degree) or degree != int(degree) or degree < 0:
            unsupported(f"{name} of this degree", "give the degree as one plain whole number", "scipy.special")
        given = [floating(trace, v) for v in operands]
        if any(dtype_of(v).kind == "c" for v in given):
            unsupported(f"{name} of complex numbers", "write the polynomial out", "scipy.special")
        dtype = np.result_type(np.float64 if isinstance(degree, (int, np.integer)) else np.float32, *(weak_of(v) for v in given))
        *parameters, x = (cast(trace, v, np.float64) for v in given)
        before, made = 0.0, 1.0 + 0.0 * sum(parameters, start=x)
        for k in range(int(degree)):
            a, b, c = step(k, *parameters)
            before, made = made, (a * x + b) * made - c * before
        return cast(trace, made, dtype)


for _name, _step in _STEPS.items():
    _polynomial(_name, _step)
