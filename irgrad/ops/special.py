"""Special functions: `scipy.special`'s ufuncs as elementwise primitives.

Values and dtypes are those of scipy's own loops. Kernel text ``special_name({0})`` calls the routine ``name`` of
``scipy.special.cython_special`` through the kernel's pointer table; short formulas are text, which the vectoriser sees. Loops
on complex numbers have no text. Derivative formulas are those of the NIST Digital Library of Mathematical Functions (DLMF) and hold
for complex numbers where the loop does. Derivatives with respect to the shape parameters of incomplete functions are in
`irgrad.ops.incomplete`.

Slopes where a formula has no finite value: x log y and its kin are flat at 0 log 0, and entropies at 0 (docs/nan.md).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from scipy import special

from irgrad.errors import MissingRuleError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, NONE, PURE, Primitive, Trait, primitive
from irgrad.ops import incomplete
from irgrad.ops.routines import has_routine
from irgrad.ops.rules import Rule, broadcast_avals, flat, holomorphic, is_complex, nonzero, promote

SQRT_PI = math.sqrt(math.pi)
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
LN10 = math.log(10.0)


# ---- declarations ----


def routine(name: str, arity: int = 1) -> dict[str, str]:
    """Kernel text that calls a routine of ``cython_special``; none where this scipy has no such routine. Orders may be whole numbers."""
    if not has_routine(name):
        return {}
    text = f"special_{name}({', '.join(f'{{{i}}}' for i in range(arity))})"
    return {"f": text, "i": text} if arity > 1 else {"f": text}


def real(text: str) -> dict[str, str]:
    return {"f": text}


def in_double(text: str) -> dict[str, str]:
    """The same in float64 for operands of float32 too, as scipy computes: what is in between may be out of range, or cancel."""
    wide = re.sub(r"(\{\d\})", r"as_float64(\1)", text)
    return {"f": text, "float32": f"as_float32({wide})"}


def function(name: str, *rules: Rule | None, emit: Mapping[str, str] | None = None, traits: Trait = NONE) -> Primitive:
    """A ufunc of `scipy.special` whose jvp and vjp are the same products with its partial derivatives."""
    ufunc = getattr(special, name)
    return holomorphic(name, ufunc, *rules, emit=routine(name, ufunc.nin) if emit is None else emit, traits=traits)


def no_rule(name: str, argnum: int, reason: str) -> Rule:
    """The rule of an operand whose derivative has no closed form: asking for it is an error, not zero."""

    def rule(b: Builder, *operands: Any, **params: Any) -> Any:
        raise MissingRuleError(f"VJP of {name} wrt argnum {argnum} not defined: {reason}; wrap that argument in irgrad.stop_gradient")

    vars(rule)["reason"] = reason  # for its documentation
    return rule


def _order(name: str) -> Rule:
    return no_rule(name, 0, "the derivative with respect to the order has no closed form (DLMF 10.15)")


def _flat_where(b: Builder, mask: Any, slope: Any) -> Any:
    return b.where(mask, 0.0, slope)


# ---- error functions (DLMF 7.10) ----


def _gauss(b: Builder, x: Any, factor: float, sign: float) -> Any:
    """factor exp(sign x**2)."""
    square = b.mul(x, x)
    return b.mul(factor, b.exp(square if sign > 0 else b.neg(square)))


erf = function("erf", lambda b, ct, out, x: b.mul(ct, _gauss(b, x, 2.0 / SQRT_PI, -1.0)), emit=real("erf({0})"))
erfc = function("erfc", lambda b, ct, out, x: b.mul(ct, _gauss(b, x, -2.0 / SQRT_PI, -1.0)), emit=real("erfc({0})"))
erfi = function("erfi", lambda b, ct, out, x: b.mul(ct, _gauss(b, x, 2.0 / SQRT_PI, 1.0)))
erfcx = function("erfcx", lambda b, ct, out, x: b.mul(ct, b.sub(b.mul(2.0, b.mul(x, out)), 2.0 / SQRT_PI)))
dawsn = function("dawsn", lambda b, ct, out, x: b.mul(ct, b.sub(1.0, b.mul(2.0, b.mul(x, out)))))
erfinv = function("erfinv", lambda b, ct, out, x: b.mul(ct, _gauss(b, out, SQRT_PI / 2.0, 1.0)))
erfcinv = function("erfcinv", lambda b, ct, out, x: b.mul(ct, _gauss(b, out, -SQRT_PI / 2.0, 1.0)))


def _normal_log_density(b: Builder, x: Any) -> Any:
    return b.sub(b.mul(-0.5, b.mul(x, x)), LOG_SQRT_2PI)


def _mills(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    """density / ndtr, which is sqrt(2 / pi) / erfcx(-x / sqrt(2)): exact in the lower tail (DLMF 7.8.1)."""
    if is_complex(b, x):
        return b.mul(ct, b.exp(b.sub(_normal_log_density(b, x), out)))
    low = b.less(x, 0.0)
    lower = b.div(math.sqrt(2.0 / math.pi), b.erfcx(b.mul(-math.sqrt(0.5), b.where(low, x, 0.0))))
    upper = b.exp(b.sub(_normal_log_density(b, b.where(low, 0.0, x)), b.where(low, 0.0, out)))
    return b.mul(ct, b.where(low, lower, upper))


# of single numbers, what is lost of the argument would show in the lower tail
_NDTR = {**real("0.5 * erfc(-0.7071067811865476 * {0})"), "float32": routine("ndtr").get("f", "0.5 * erfc(-0.7071067811865476 * {0})")}
ndtr = function("ndtr", lambda b, ct, out, x: b.mul(ct, b.exp(_normal_log_density(b, x))), emit=_NDTR)
log_ndtr = function("log_ndtr", _mills)
ndtri = function("ndtri", lambda b, ct, out, x: b.mul(ct, b.exp(b.neg(_normal_log_density(b, out)))))
ndtri_exp = function("ndtri_exp", lambda b, ct, out, x: b.mul(ct, b.exp(b.sub(x, _normal_log_density(b, out)))))

# ---- gamma function and its relatives (DLMF 5.2, 5.12, 5.15) ----


def _polygamma_rule(b: Builder, ct: Any, out: Any, s: Any, q: Any) -> Any:
    """-s zeta(s+1, q) (DLMF 25.11.17)."""
    up = b.add(s, 1.0)
    return b.neg(b.mul(ct, b.mul(s, b.zeta(up, q))))


def _zeta_aval(s: Aval, q: Aval) -> Aval:
    return Aval(broadcast_avals("zeta", (s, q)), promote((s, q)))


_ZETA_ORDER = no_rule("zeta", 0, "the derivative with respect to the exponent is not provided")
zeta = primitive(  # Hurwitz's: scipy has no routine for it that a kernel could call; ours is `irgrad.codegen.special.hurwitz_zeta`
    "zeta",
    evaluate=lambda s, q: special.zeta(s, q),
    aval=_zeta_aval,
    vjp=(_ZETA_ORDER, _polygamma_rule),
    jvp=(_ZETA_ORDER, _polygamma_rule),
    emit=real("hurwitz_zeta({0}, {1})"),
    traits=ELEMENTWISE | PURE,
)


def _trigamma(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    if is_complex(b, x):
        raise MissingRuleError("VJP of psi wrt argnum 0 not defined for complex numbers: scipy has no complex trigamma function")
    return b.mul(ct, b.zeta(2.0, x))


def _rgamma_rule(b: Builder, ct: Any, out: Any, x: Any) -> Any:
    """-psi(x) / Gamma(x), which is (-1)**n n! at x = -n (DLMF 5.7.1 and 5.5.3)."""
    if is_complex(b, x):
        return b.neg(b.mul(ct, b.mul(out, b.psi(x))))
    pole = b.logical_and(b.equal(out, 0.0), b.less_equal(x, 0.0))
    regular = b.neg(b.mul(out, b.psi(b.where(pole, 1.0, x))))
    n = b.where(pole, b.neg(x), 0.0)
    return b.mul(ct, b.where(pole, b.mul(b.cos(b.mul(math.pi, n)), b.gamma(b.add(n, 1.0))), regular))


psi = function("psi", _trigamma)
gamma = function("gamma", lambda b, ct, out, x: b.mul(ct, b.mul(out, b.psi(x))))
gammaln = function("gammaln", lambda b, ct, out, x: b.mul(ct, b.psi(x)))
loggamma = function("loggamma", lambda b, ct, out, x: b.mul(ct, b.psi(x)))
rgamma = function("rgamma", _rgamma_rule)
gammasgn = flat("gammasgn", special.gammasgn, routine("gammasgn"))
beta = function(
    "beta",
    lambda b, ct, out, x, y: b.mul(ct, b.mul(out, b.sub(b.psi(x), b.psi(b.add(x, y))))),
    lambda b, ct, out, x, y: b.mul(ct, b.mul(out, b.sub(b.psi(y), b.psi(b.add(x, y))))),
)
betaln = function(
    "betaln",
    lambda b, ct, out, x, y: b.mul(ct, b.sub(b.psi(x), b.psi(b.add(x, y)))),
    lambda b, ct, out, x, y: b.mul(ct, b.sub(b.psi(y), b.psi(b.add(x, y)))),
)


def _psi_difference(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    """ct out (psi(x) - psi(y)); flat where the function vanishes, for psi has a pole there."""
    zero = b.equal(out, 0.0)
    slope = b.sub(b.psi(b.where(zero, 1.0, x)), b.psi(b.where(zero, 1.0, y)))
    return _flat_where(b, zero, b.mul(ct, b.mul(out, slope)))


binom = function(
    "binom",
    lambda b, ct, out, n, k: _psi_difference(b, ct, out, b.add(n, 1.0), b.add(b.sub(n, k), 1.0)),
    lambda b, ct, out, n, k: _psi_difference(b, ct, out, b.add(b.sub(n, k), 1.0), b.add(k, 1.0)),
)
poch = function(
    "poch",
    lambda b, ct, out, z, m: _psi_difference(b, ct, out, b.add(z, m), z),
    lambda b, ct, out, z, m: b.mul(ct, b.mul(out, b.psi(b.add(z, m)))),
)

# ---- incomplete gamma and beta functions (DLMF 8.8.13, 8.17.20) ----


def gamma_density(b: Builder, a: Any, x: Any) -> Any:
    return b.exp(b.sub(b.sub(b.xlogy(b.sub(a, 1.0), x), x), b.gammaln(a)))


def beta_density(b: Builder, p: Any, q: Any, x: Any) -> Any:
    powers = b.add(b.xlogy(b.sub(p, 1.0), x), b.xlog1py(b.sub(q, 1.0), b.neg(x)))
    return b.exp(b.sub(powers, b.betaln(p, q)))


def _beta_by_shape(b: Builder, index: int, p: Any, q: Any, x: Any) -> Any:
    return incomplete.beta_by_shapes(b, p, q, x)[index]


gammainc = function(
    "gammainc",
    lambda b, ct, out, a, x: b.mul(ct, incomplete.gamma_by_shape(b, a, x)),
    lambda b, ct, out, a, x: b.mul(ct, gamma_density(b, a, x)),
)
gammaincc = function(
    "gammaincc",
    lambda b, ct, out, a, x: b.neg(b.mul(ct, incomplete.gamma_by_shape(b, a, x))),
    lambda b, ct, out, a, x: b.neg(b.mul(ct, gamma_density(b, a, x))),
)
gammaincinv = function(  # of the inverse x(a, p): dx/dp = 1 / density, dx/da = -(dP/da) / density
    "gammaincinv",
    lambda b, ct, out, a, p: b.neg(b.mul(ct, b.div(incomplete.gamma_by_shape(b, a, out), gamma_density(b, a, out)))),
    lambda b, ct, out, a, p: b.div(ct, gamma_density(b, a, out)),
)
gammainccinv = function(
    "gammainccinv",
    lambda b, ct, out, a, p: b.neg(b.mul(ct, b.div(incomplete.gamma_by_shape(b, a, out), gamma_density(b, a, out)))),
    lambda b, ct, out, a, p: b.neg(b.div(ct, gamma_density(b, a, out))),
)
betainc = function(
    "betainc",
    lambda b, ct, out, p, q, x: b.mul(ct, _beta_by_shape(b, 0, p, q, x)),
    lambda b, ct, out, p, q, x: b.mul(ct, _beta_by_shape(b, 1, p, q, x)),
    lambda b, ct, out, p, q, x: b.mul(ct, beta_density(b, p, q, x)),
)
betaincc = function(
    "betaincc",
    lambda b, ct, out, p, q, x: b.neg(b.mul(ct, _beta_by_shape(b, 0, p, q, x))),
    lambda b, ct, out, p, q, x: b.neg(b.mul(ct, _beta_by_shape(b, 1, p, q, x))),
    lambda b, ct, out, p, q, x: b.neg(b.mul(ct, beta_density(b, p, q, x))),
)
betaincinv = function(
    "betaincinv",
    lambda b, ct, out, p, q, y: b.neg(b.mul(ct, b.div(_beta_by_shape(b, 0, p, q, out), beta_density(b, p, q, out)))),
    lambda b, ct, out, p, q, y: b.neg(b.mul(ct, b.div(_beta_by_shape(b, 1, p, q, out), beta_density(b, p, q, out)))),
    lambda b, ct, out, p, q, y: b.div(ct, beta_density(b, p, q, out)),
)


stdtr = function(
    "stdtr",
    lambda b, ct, out, df, t: b.mul(ct, incomplete.student_by_freedom(b, df, t)),
    lambda b, ct, out, df, t: b.mul(ct, incomplete.student_density(b, df, t)),
)
stdtrit = function(
    "stdtrit",
    lambda b, ct, out, df, p: b.neg(b.mul(ct, b.div(incomplete.student_by_freedom(b, df, out), incomplete.student_density(b, df, out)))),
    lambda b, ct, out, df, p: b.div(ct, incomplete.student_density(b, df, out)),
)

# ---- Bessel functions (DLMF 10.6, 10.29) ----


def _half(b: Builder, x: Any, y: Any, joined: str) -> Any:
    return b.mul(0.5, getattr(b, joined)(x, y))


def _recurrence(name: str, joined: str, sign: float) -> Rule:
    """The rule of C_v with sign (C_{v-1} `joined` C_{v+1}) / 2."""

    def rule(b: Builder, ct: Any, out: Any, v: Any, x: Any) -> Any:
        slope = _half(b, getattr(b, name)(b.sub(v, 1), x), getattr(b, name)(b.add(v, 1), x), joined)
        return b.mul(ct, slope if sign > 0 else b.neg(slope))

    return rule


def _ive_rule(b: Builder, ct: Any, out: Any, v: Any, x: Any) -> Any:
    """Of exp(-|x|) I_v(x), real x."""
    if is_complex(b, x):
        raise MissingRuleError("VJP of ive wrt argnum 1 not defined for complex numbers: exp(-|Re z|) is not holomorphic")
    slope = _half(b, b.ive(b.sub(v, 1), x), b.ive(b.add(v, 1), x), "add")
    return b.mul(ct, b.sub(slope, b.mul(b.sign(x), out)))


def _kve_rule(b: Builder, ct: Any, out: Any, v: Any, x: Any) -> Any:
    """Of exp(x) K_v(x)."""
    return b.mul(ct, b.sub(out, _half(b, b.kve(b.sub(v, 1), x), b.kve(b.add(v, 1), x), "add")))


jv = function("jv", _order("jv"), _recurrence("jv", "sub", 1.0))
yv = function("yv", _order("yv"), _recurrence("yv", "sub", 1.0))
yn = function("yn", _order("yn"), _recurrence("yn", "sub", 1.0))
iv = function("iv", _order("iv"), _recurrence("iv", "add", 1.0))
kv = function("kv", _order("kv"), _recurrence("kv", "add", -1.0))
kn = function("kn", _order("kn"), _recurrence("kn", "add", -1.0))
ive = function("ive", _order("ive"), _ive_rule)
kve = function("kve", _order("kve"), _kve_rule)
j0 = function("j0", lambda b, ct, out, x: b.neg(b.mul(ct, b.j1(x))))
j1 = function("j1", lambda b, ct, out, x: b.mul(ct, _half(b, b.j0(x), b.jv(2.0, x), "sub")))
y0 = function("y0", lambda b, ct, out, x: b.neg(b.mul(ct, b.y1(x))))
y1 = function("y1", lambda b, ct, out, x: b.mul(ct, _half(b, b.y0(x), b.yn(2.0, x), "sub")))
i0 = function("i0", lambda b, ct, out, x: b.mul(ct, b.i1(x)))
i1 = function("i1", lambda b, ct, out, x: b.mul(ct, _half(b, b.i0(x), b.iv(2.0, x), "add")))
i0e = function("i0e", lambda b, ct, out, x: b.mul(ct, b.sub(b.i1e(x), b.mul(b.sign(x), out))))
i1e = function("i1e", lambda b, ct, out, x: b.mul(ct, b.sub(_half(b, b.i0e(x), b.ive(2.0, x), "add"), b.mul(b.sign(x), out))))
k0 = function("k0", lambda b, ct, out, x: b.neg(b.mul(ct, b.k1(x))))
k1 = function("k1", lambda b, ct, out, x: b.neg(b.mul(ct, _half(b, b.k0(x), b.kn(2.0, x), "add"))))
k0e = function("k0e", lambda b, ct, out, x: b.mul(ct, b.sub(out, b.k1e(x))))
k1e = function("k1e", lambda b, ct, out, x: b.mul(ct, b.sub(out, _half(b, b.k0e(x), b.kve(2.0, x), "add"))))

# ---- exponential integrals (DLMF 6.2, 8.19.13) and exponentials ----


def _expn_rule(b: Builder, ct: Any, out: Any, n: Any, x: Any) -> Any:
    """-E_{n-1}(x); E_{-1} is (1 + x) exp(-x) / x**2, which scipy does not have."""
    first = b.equal(n, 0)
    lowest = b.div(b.mul(b.add(1.0, x), b.exp(b.neg(x))), b.mul(x, x))
    return b.neg(b.mul(ct, b.where(first, lowest, b.expn(b.where(first, 1, b.sub(n, 1)), x))))


def exprel_slope(b: Builder, x: Any, out: Any) -> Any:
    """(exp(x) - out) / x, where `out` is exprel(x); near 0, where that cancels, the series of sum (k+1) x**k / (k+2)!."""
    small = b.less(b.abs(x), 0.5)
    near, far = b.where(small, x, 0.0), b.where(small, 1.0, x)
    series: Any = 0.0
    for k in reversed(range(14)):
        series = b.add(b.mul(series, near), (k + 1) / math.factorial(k + 2))
    return b.where(small, series, b.div(b.sub(b.exp(far), out), far))


expi = function("expi", lambda b, ct, out, x: b.mul(ct, b.div(b.exp(x), x)))
exp1 = function("exp1", lambda b, ct, out, x: b.neg(b.mul(ct, b.div(b.exp(b.neg(x)), x))))
expn = function("expn", no_rule("expn", 0, "the order is a whole number"), _expn_rule)
exprel = function(
    "exprel",
    lambda b, ct, out, x: b.mul(ct, exprel_slope(b, x, out)),
    emit=in_double("select(fabs({0}) < 1.0e-16, 1.0, select({0} > 717.0, inf, expm1({0}) / {0}))"),
)
exp10 = function("exp10", lambda b, ct, out, x: b.mul(ct, b.mul(LN10, out)), emit=real("pow(10.0, {0})"))

# ---- logistic functions; the tails have full relative accuracy. Text for x and for -x has one exponential and one quotient ----

expit = function(
    "expit",
    lambda b, ct, out, x: b.mul(ct, b.mul(out, b.expit(b.neg(x)))),
    emit=real("select({0} < 0.0, exp(-fabs({0})), 1.0) * (1.0 / (1.0 + exp(-fabs({0}))))"),
)
log_expit = function(
    "log_expit", lambda b, ct, out, x: b.mul(ct, b.expit(b.neg(x))), emit=real("minimum({0}, 0.0) - log1p(exp(-fabs({0})))")
)
logit = function(  # near 1/2 the logarithm's argument would have lost what is left of its distance from 1
    "logit",
    lambda b, ct, out, x: b.div(ct, b.mul(x, b.sub(1.0, x))),
    emit=real("select(fabs({0} - 0.5) < 0.25, 2.0 * atanh(2.0 * {0} - 1.0), log({0} / (1.0 - {0})))"),
)

# ---- products with logarithms ----


def _both_zero(b: Builder, x: Any, y: Any) -> Any:
    return b.logical_and(b.equal(x, 0.0), b.equal(y, 0.0))


def _safe_ratio(b: Builder, x: Any, y: Any, at: Any) -> Any:
    """x / y, 0 where both `x` and `at` are 0."""
    return b.div(x, b.where(_both_zero(b, x, at), 1.0, y))


def _by_log(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    return b.mul(ct, b.log(b.where(_both_zero(b, x, y), 1.0, y)))


def _by_log1p(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    up = b.add(1.0, y)
    return b.mul(ct, b.log1p(b.where(_both_zero(b, x, up), 0.0, y)))


def _by_log1p_place(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    up = b.add(1.0, y)
    return b.mul(ct, _safe_ratio(b, x, up, up))


xlogy = function(
    "xlogy",
    _by_log,
    lambda b, ct, out, x, y: b.mul(ct, _safe_ratio(b, x, y, y)),
    emit=real("select(({0} == 0.0) & ({1} == {1}), 0.0, {0} * log({1}))"),
)
xlog1py = function(
    "xlog1py", _by_log1p, _by_log1p_place, emit=real("select(({0} == 0.0) & ({1} == {1}), 0.0, {0} * log1p({1}))")
)  # fmt: skip


def _relative_log(b: Builder, x: Any, y: Any) -> Any:
    """log(x / y), 0 where x is 0."""
    zero = b.equal(x, 0.0)
    return b.log(b.div(b.where(zero, 1.0, x), b.where(zero, 1.0, y)))


entr = function(
    "entr",
    lambda b, ct, out, x: _flat_where(b, b.equal(x, 0.0), b.neg(b.mul(ct, b.add(b.log(nonzero(b, x)), 1.0)))),
    emit=real("select({0} == 0.0, 0.0, select({0} < 0.0, -inf, -{0} * log({0})))"),
)


def _entropy(inside: str, at_zero: str) -> dict[str, str]:
    """Text of a function of two positive numbers, which is infinite elsewhere but where the first is 0."""
    outside = f"select(({{0}} == 0.0) & ({{1}} >= 0.0), {at_zero}, select(({{0}} != {{0}}) | ({{1}} != {{1}}), nan, inf))"
    return in_double(f"select(({{0}} > 0.0) & ({{1}} > 0.0), {inside}, {outside})")


# near 1 the ratio's logarithm, and where the ratio overflows or is subnormal that of its parts
_RATIO = "({0} / {1})"
_IS_SAFE = f"({_RATIO} > 1.2e-38) & ({_RATIO} < inf)"
_REL_ENTR = f"{{0}} * select(({_RATIO} > 0.5) & ({_RATIO} < 2.0), log1p(({{0}} - {{1}}) / {{1}}), " + (
    f"log(select({_IS_SAFE}, {_RATIO}, {{0}})) - select({_IS_SAFE}, 0.0, log({{1}})))"
)

rel_entr = function(
    "rel_entr",
    lambda b, ct, out, x, y: _flat_where(b, b.equal(x, 0.0), b.mul(ct, b.add(_relative_log(b, x, y), 1.0))),
    lambda b, ct, out, x, y: b.neg(b.mul(ct, _safe_ratio(b, x, y, y))),
    emit=_entropy(_REL_ENTR, "0.0"),
)
kl_div = function(
    "kl_div",
    lambda b, ct, out, x, y: b.mul(ct, _relative_log(b, x, y)),
    lambda b, ct, out, x, y: b.mul(ct, b.sub(1.0, _safe_ratio(b, x, y, y))),
    emit=_entropy("{0} * log({0} / {1}) - {0} + {1}", "{1}"),
)

# ---- robust losses ----


def _pseudo_huber_root(b: Builder, delta: Any, r: Any) -> Any:
    ratio = b.div(r, nonzero(b, delta))
    return b.sqrt(b.add(1.0, b.mul(ratio, ratio)))


def _pseudo_huber_by_delta(b: Builder, ct: Any, out: Any, delta: Any, r: Any) -> Any:
    """delta (root - 1)**2 / root."""
    root = _pseudo_huber_root(b, delta, r)
    gap = b.sub(root, 1.0)
    return b.mul(ct, b.mul(delta, b.div(b.mul(gap, gap), root)))


huber = function(
    "huber",
    lambda b, ct, out, delta, r: b.mul(ct, b.maximum(b.sub(b.abs(r), delta), 0.0)),
    lambda b, ct, out, delta, r: b.mul(ct, b.clip(r, b.neg(delta), delta)),
    emit=in_double("select({0} < 0.0, inf, select(fabs({1}) <= {0}, 0.5 * {1} * {1}, {0} * (fabs({1}) - 0.5 * {0})))"),
)
pseudo_huber = function(
    "pseudo_huber",
    _pseudo_huber_by_delta,
    lambda b, ct, out, delta, r: _flat_where(b, b.equal(delta, 0.0), b.mul(ct, b.div(r, _pseudo_huber_root(b, delta, r)))),
    emit=in_double(
        "select({0} < 0.0, inf, select(({0} == 0.0) | ({1} == 0.0), 0.0, {0} * {0} * select(fabs({1} / {0}) < 1.0e18, "
        "({1} / {0}) * ({1} / {0}) / (1.0 + sqrt(1.0 + ({1} / {0}) * ({1} / {0}))), fabs({1} / {0}))))"
    ),
)
