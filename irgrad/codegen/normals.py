"""The normal distribution's functions and the inverses of the error function written out in arithmetic, without branches.

Polynomials and quotients of them interpolate at Chebyshev points; the ranges of the inverses are those of Wichura (Applied Statistics 37,
1988), the variable of `erfcx` is that of Shepherd and Laframboise (Mathematics of Computation 36, 1981).
"""

from __future__ import annotations

import math
from typing import Any

from irgrad.codegen.reals import Real

HALF_ROOT, ROOT = math.sqrt(0.5), math.sqrt(2.0)
FAR = 1e18  # erfcx(x) is 1 / (sqrt(pi) x) beyond
# (1 + 2 x) erfcx(x) in (x - 4) / (x + 4) for x >= 0: relative error 4e-17
ERFCX = (1.2329951186255526, -0.1396211168405625, 0.015379652102610162, 0.0680970542546862, -0.10103906603585294, 0.09373283499865172,
         -0.06633036582050367, 0.0371675155318432, -0.01619773397992426, 0.005031970032548695, -0.0007577737141838885,
         -0.00019925700412184815, 0.0001506231178516207, -2.439811794207995e-05, -1.1225140354449658e-05, 5.707239573693257e-06,
         2.980596055322769e-07, -8.218020654813044e-07, 7.111912428010423e-08, 1.0683442926744586e-07, -1.6357383982124768e-08,
         -1.2544825403855518e-08, 1.5712153638319064e-09, 9.655408225482863e-10)  # fmt: skip
# erfinv(x) / x in MIDDLE**2 - x**2 for |x| <= MIDDLE: 8e-17
MIDDLE = 0.85
NEAR = (
    (1.1975323115670913, 13.148344840595835, 56.308346143329764, 119.47608272318107, 132.15816834242034, 73.73182032040803,
     18.493136644257557, 1.598172126525549, 0.021077511563883843),
    (1.0, 11.730846723805138, 54.455243379012416, 127.7637240724386, 160.82024089026783, 106.68428276815251, 34.27168633694469,
     4.415447845022331, 0.14340918757944626),
)  # fmt: skip
# z with erfc(z) = exp(-r**2), in r - START up to r = MORE, and in r - MORE for as long as the exponential is not 0: 1.4e-16, 6e-17
START, MORE = 1.375, 4.25
TAIL = (
    (1.0154672744298159, 3.574444040864073, 5.362129094203132, 4.4457582703128615, 2.2014633682910087, 0.6545567636046503,
     0.11127040868139969, 0.009575756286949965, 0.0003036532239499342),
    (1.0, 2.5038516771795463, 2.6991221967448658, 1.5834340692781552, 0.5326289762063101, 0.0993881685248722, 0.009161712967894843,
     0.0003036087187774609, 4.783272833165458e-10),
)  # fmt: skip
FAR_TAIL = (
    (4.0090624480917585, 4.839414121973554, 2.461078180362844, 0.6852043317839828, 0.11373604506596514, 0.011513928388267942,
     0.0007010286003771717, 2.4523910338145654e-05, 4.527563233767779e-07, 3.777877540521999e-09, 1.0039158685193128e-11),
    (1.0, 0.9502503666820604, 0.37076979228483975, 0.0764927006018189, 0.008983639273091702, 0.0006056796586612706,
     2.267774942285031e-05, 4.369184070159665e-07, 3.73521874650239e-09, 1.003915381532423e-11),
)  # fmt: skip


def _scaled(x: Real) -> Real:
    """erfcx(x) for x >= 0."""
    near = x.least(FAR)
    return ((near - 4.0) / (near + 4.0)).polynomial(ERFCX) * 0.5 / (x + 0.5)


def _exp_of_square(x: Real, factor: float) -> Real:
    """exp(factor * x**2) with all digits of the square; x is bounded."""
    square = x * x
    return (square * factor).libm("exp") * (1.0 + x.fma(x, -square) * factor)


def erfcx(w: Any, given: Any) -> Any:
    """exp(x**2) erfc(x): within 6 ulp."""
    x = Real(w, given)
    size = abs(x)
    upper = _scaled(size)
    return (2.0 * _exp_of_square(size.least(27.0), 1.0) - upper).where(x.compared("<", 0.0), upper).value


def log_ndtr(w: Any, given: Any) -> Any:
    """The logarithm of the normal distribution function: within 6 ulp."""
    x = Real(w, given)
    size = abs(x)
    half = 0.5 * _scaled(size * HALF_ROOT)
    lower = half.libm("log") - (size * size) * 0.5
    upper = (-(half * _exp_of_square(size.least(40.0), -0.5))).libm("log1p")
    return lower.where(x.compared("<", 0.0), upper).value


def ndtr(w: Any, given: Any) -> Any:
    """The normal distribution function, for operands of float32: erfc takes its argument's rounding times its square."""
    return ((Real(w, given) * -HALF_ROOT).libm("erfc") * 0.5).value


def _inverse(x: Real, rest: Real) -> Real:
    """erfinv(x), where 1 - |x| is `rest`."""
    middle = abs(x).compared("<=", MIDDLE)
    v = x.fma(-x, MIDDLE * MIDDLE)
    r = (-rest.libm("log")).call("sqrt")
    tail = r.compared("<=", MORE)
    near, far = r - START, r - MORE
    above, below = (
        v.polynomial(inner).where(middle, near.polynomial(outer).where(tail, far.polynomial(last)))
        for inner, outer, last in zip(NEAR, TAIL, FAR_TAIL, strict=True)
    )
    made = above / below
    return (made * x).where(middle, made.but(rest.compared("==", 0.0), math.inf).call("copysign", x))


def erfinv(w: Any, given: Any) -> Any:
    """The inverse of erf: within 4 ulp."""
    x = Real(w, given)
    return _inverse(x, 1.0 - abs(x)).value


def erfcinv(w: Any, given: Any) -> Any:
    """The inverse of erfc: within 4 ulp."""
    y = Real(w, given)
    return _inverse(1.0 - y, y.least(2.0 - y)).value


def ndtri(w: Any, given: Any) -> Any:
    """The inverse of the normal distribution function: within 4 ulp."""
    p = Real(w, given)
    return (_inverse(p.fma(2.0, -1.0), 2.0 * p.least(1.0 - p)) * ROOT).value


FUNCTIONS = {"erfcx": erfcx, "log_ndtr": log_ndtr, "ndtr": ndtr, "erfinv": erfinv, "erfcinv": erfcinv, "ndtri": ndtri}
