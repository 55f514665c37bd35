"""Special functions beyond `irgrad.ops.special`: elliptic and hypergeometric functions, integrals, transforms, distributions.

Declared in the same way. Formulas: NIST Digital Library of Mathematical Functions (DLMF), Cephes' definitions of distribution
functions. What a derivative needs near a removable singularity is a hypergeometric function, which is regular there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from irgrad.errors import TraceError
from irgrad.ir.aval import Aval
from irgrad.ir.builder import Builder
from irgrad.ir.primitive import ELEMENTWISE, PURE, Primitive, primitive
from irgrad.ops import incomplete
from irgrad.ops.matrices import like
from irgrad.ops.rules import Rule, reject, weak
from irgrad.ops.special import beta_density, exprel_slope, function, gamma_density, no_rule


def _hyp2f1(b: Builder, p: float, q: float, r: float, z: Any) -> Any:
    """In the dtype of `z`: scipy's single loop comes after the double one, which Python numbers fit."""
    return like(b, b.hyp2f1(p, q, r, z), z)


# ---- elliptic integrals (DLMF 19.5.1, 19.4.1) ----


def _ellipk_slope(b: Builder, m: Any) -> Any:
    return b.mul(math.pi / 8.0, _hyp2f1(b, 1.5, 1.5, 2.0, m))


def _ellipkm1_rule(b: Builder, ct: Any, out: Any, p: Any) -> Any:
    """-K'(1 - p): p K - E over 2 p (1 - p) for small p."""
    small = b.less(p, 0.5)
    near, far = b.where(small, p, 0.25), b.where(small, 1.0, p)
    rest = b.sub(1.0, near)
    lower = b.div(b.sub(b.mul(near, b.ellipkm1(near)), b.ellipe(rest)), b.mul(2.0, b.mul(near, rest)))
    return b.mul(ct, b.where(small, lower, b.neg(_ellipk_slope(b, b.sub(1.0, far)))))


def _ellipse(b: Builder, phi: Any, m: Any) -> Any:
    """sqrt(1 - m sin(phi)**2)."""
    s = b.sin(phi)
    return b.sqrt(b.sub(1.0, b.mul(m, b.mul(s, s))))


_PARAMETER = "the derivative with respect to the parameter is not provided"
ellipk = function("ellipk", lambda b, ct, out, m: b.mul(ct, _ellipk_slope(b, m)))
ellipkm1 = function("ellipkm1", _ellipkm1_rule)
ellipe = function("ellipe", lambda b, ct, out, m: b.mul(ct, b.mul(-math.pi / 8.0, _hyp2f1(b, 0.5, 1.5, 2.0, m))))
ellipkinc = function(
    "ellipkinc", lambda b, ct, out, phi, m: b.div(ct, _ellipse(b, phi, m)), no_rule("ellipkinc", 1, _PARAMETER)
)  # fmt: skip
ellipeinc = function(
    "ellipeinc", lambda b, ct, out, phi, m: b.mul(ct, _ellipse(b, phi, m)), no_rule("ellipeinc", 1, _PARAMETER)
)  # fmt: skip

# ---- hypergeometric functions (DLMF 13.3.15, 13.3.22, 15.5.1, 16.3.1), by their argument ----


def _shape(name: str, count: int) -> list[Rule]:
    return [no_rule(name, k, _PARAMETER) for k in range(count)]


def _hyp2f1_rule(b: Builder, ct: Any, out: Any, p: Any, q: Any, r: Any, z: Any) -> Any:
    up = b.hyp2f1(b.add(p, 1.0), b.add(q, 1.0), b.add(r, 1.0), z)
    return b.mul(ct, b.mul(b.div(b.mul(p, q), r), up))


hyp0f1 = function("hyp0f1", *_shape("hyp0f1", 1), lambda b, ct, out, v, z: b.mul(ct, b.div(b.hyp0f1(b.add(v, 1.0), z), v)))
hyp1f1 = function(
    "hyp1f1",
    *_shape("hyp1f1", 2),
    lambda b, ct, out, p, q, x: b.mul(ct, b.mul(b.div(p, q), b.hyp1f1(b.add(p, 1.0), b.add(q, 1.0), x))),
)
hyp2f1 = function("hyp2f1", *_shape("hyp2f1", 3), _hyp2f1_rule)
hyperu = function(
    "hyperu",
    *_shape("hyperu", 2),
    lambda b, ct, out, p, q, x: b.neg(b.mul(ct, b.mul(p, b.hyperu(b.add(p, 1.0), b.add(q, 1.0), x)))),
)

# ---- integrals ----


def _struve_rule(name: str, joined: str) -> Rule:
    """(H_{v-1} -+ H_{v+1} + (x / 2)**v / (sqrt(pi) Gamma(v + 3/2))) / 2 (DLMF 11.4.27, 11.4.32)."""

    def rule(b: Builder, ct: Any, out: Any, v: Any, x: Any) -> Any:
        near = getattr(b, joined)(getattr(b, name)(b.sub(v, 1.0), x), getattr(b, name)(b.add(v, 1.0), x))
        power = b.mul(b.pow(b.mul(0.5, x), v), b.rgamma(b.add(v, 1.5)))
        return b.mul(ct, b.mul(0.5, b.add(near, b.mul(1.0 / math.sqrt(math.pi), power))))

    return rule


def _owens_by_height(b: Builder, ct: Any, out: Any, h: Any, a: Any) -> Any:
    density = b.exp(b.mul(-0.5, b.mul(h, h)))
    return b.mul(ct, b.mul(-0.5 / math.sqrt(2.0 * math.pi), b.mul(density, b.erf(b.mul(math.sqrt(0.5), b.mul(a, h))))))


def _owens_by_slope(b: Builder, ct: Any, out: Any, h: Any, a: Any) -> Any:
    up = b.add(1.0, b.mul(a, a))
    return b.mul(ct, b.mul(0.5 / math.pi, b.div(b.exp(b.mul(-0.5, b.mul(b.mul(h, h), up))), up)))


# log(z) / (1 - z), regular at 1
spence = function("spence", lambda b, ct, out, z: b.neg(b.mul(ct, _hyp2f1(b, 1.0, 1.0, 2.0, b.sub(1.0, z)))))
struve = function("struve", no_rule("struve", 0, _PARAMETER), _struve_rule("struve", "sub"))
modstruve = function("modstruve", no_rule("modstruve", 0, _PARAMETER), _struve_rule("modstruve", "add"))
owens_t = function("owens_t", _owens_by_height, _owens_by_slope)
wrightomega = function("wrightomega", lambda b, ct, out, z: b.mul(ct, b.div(out, b.add(1.0, out))))


def _part(name: str, ufunc_name: str, index: int, rule: Rule) -> Primitive:
    """One result of a ufunc with two; scipy hands them out through pointers, so kernels cannot call it."""
    ufunc = getattr(special, ufunc_name)

    def aval(x: Aval) -> Aval:
        try:
            return Aval(x.shape, ufunc.resolve_dtypes((weak(x), None, None))[1])
        except TypeError:
            raise reject(name, (x,), f"scipy.special.{ufunc_name} has no loop for this dtype", TraceError) from None

    return primitive(name, evaluate=lambda x: ufunc(x)[index], aval=aval, vjp=(rule,), jvp=(rule,), traits=ELEMENTWISE | PURE)


def _over_argument(name: str, sign: float) -> Rule:
    """sin(x) / x or sinh(x) / x, near 0 as 0F1(3/2, -+x**2 / 4) (DLMF 10.16.9)."""

    def rule(b: Builder, ct: Any, out: Any, x: Any) -> Any:
        small = b.less(b.abs(x), 1.0)
        near, far = b.where(small, x, 0.0), b.where(small, 1.0, x)
        ratio = b.div(getattr(b, name)(far), far)
        return b.mul(ct, b.where(small, b.hyp0f1(1.5, b.mul(0.25 * sign, b.mul(near, near))), ratio))

    return rule


sine_integral = _part("sine_integral", "sici", 0, _over_argument("sin", -1.0))
cosine_integral = _part("cosine_integral", "sici", 1, lambda b, ct, out, x: b.mul(ct, b.div(b.cos(x), x)))
sinh_integral = _part("sinh_integral", "shichi", 0, _over_argument("sinh", 1.0))
cosh_integral = _part("cosh_integral", "shichi", 1, lambda b, ct, out, x: b.mul(ct, b.div(b.cosh(x), x)))
fresnel_sine = _part("fresnel_sine", "fresnel", 0, lambda b, ct, out, x: b.mul(ct, b.sin(b.mul(0.5 * math.pi, b.mul(x, x)))))
fresnel_cosine = _part("fresnel_cosine", "fresnel", 1, lambda b, ct, out, x: b.mul(ct, b.cos(b.mul(0.5 * math.pi, b.mul(x, x)))))


def _lambert_rule(b: Builder, ct: Any, out: Any, z: Any, *, branch: int) -> Any:
    """1 / (z + exp(w)), which is regular at 0 (DLMF 4.13.4)."""
    return b.div(ct, b.add(z, b.exp(out)))


lambert = primitive(  # the result is complex: its loop has no kernel text
    "lambert",
    evaluate=lambda z, *, branch: special.lambertw(z, branch),
    aval=lambda z, *, branch: Aval(z.shape, np.result_type(np.complex128)),
    vjp=(_lambert_rule,),
    jvp=(_lambert_rule,),
    traits=ELEMENTWISE | PURE,
)

# ---- power transforms; with u = lambda log x: log x exprel(u), and its inverse ----


def _boxcox_by_lambda(log: str) -> Rule:
    def rule(b: Builder, ct: Any, out: Any, x: Any, lam: Any) -> Any:
        size = getattr(b, log)(x)
        at = b.mul(lam, size)
        return b.mul(ct, b.mul(b.mul(size, size), exprel_slope(b, at, b.exprel(at))))

    return rule


def _inverse_by_lambda(shift: float) -> Rule:
    """x y**2 d/dv (log1p(v) / v) at v = lambda y."""

    def rule(b: Builder, ct: Any, out: Any, y: Any, lam: Any) -> Any:
        slope = b.mul(-0.5, _hyp2f1(b, 2.0, 2.0, 3.0, b.neg(b.mul(lam, y))))
        return b.mul(ct, b.mul(b.add(out, shift) if shift else out, b.mul(b.mul(y, y), slope)))

    return rule


def _powm1_by_exponent(b: Builder, ct: Any, out: Any, x: Any, y: Any) -> Any:
    zero = b.equal(x, 0.0)
    return b.where(zero, 0.0, b.mul(ct, b.mul(b.add(out, 1.0), b.log(b.where(zero, 1.0, x)))))


boxcox = function("boxcox", lambda b, ct, out, x, lam: b.mul(ct, b.pow(x, b.sub(lam, 1.0))), _boxcox_by_lambda("log"))
boxcox1p = function("boxcox1p", lambda b, ct, out, x, lam: b.mul(ct, b.exp(b.mul(b.sub(lam, 1.0), b.log1p(x)))), _boxcox_by_lambda("log1p"))
inv_boxcox = function(
    "inv_boxcox", lambda b, ct, out, y, lam: b.mul(ct, b.div(out, b.add(1.0, b.mul(lam, y)))), _inverse_by_lambda(0.0)
)  # fmt: skip
inv_boxcox1p = function(
    "inv_boxcox1p",
    lambda b, ct, out, y, lam: b.mul(ct, b.div(b.add(out, 1.0), b.add(1.0, b.mul(lam, y)))),
    _inverse_by_lambda(1.0),
)
powm1 = function("powm1", lambda b, ct, out, x, y: b.mul(ct, b.mul(y, b.pow(x, b.sub(y, 1.0)))), _powm1_by_exponent)
cosm1 = function("cosm1", lambda b, ct, out, x: b.neg(b.mul(ct, b.sin(x))))

# ---- distribution functions; counts are whole numbers: constant between them ----


def _half(b: Builder, x: Any) -> Any:
    return b.mul(0.5, x)


def _chi2_density(b: Builder, v: Any, x: Any) -> Any:
    return _half(b, gamma_density(b, _half(b, v), _half(b, x)))


def _chi2_by_shape(b: Builder, v: Any, x: Any) -> Any:
    return _half(b, incomplete.gamma_by_shape(b, _half(b, v), _half(b, x)))


def _counted(b: Builder, k: Any) -> Any:
    return b.add(b.floor(k), 1.0)


def _binomial_density(b: Builder, k: Any, n: Any, p: Any) -> Any:
    up = _counted(b, k)
    return beta_density(b, up, b.sub(b.add(b.trunc(n), 1.0), up), p)


def _fisher_rule(sign: float, index: int) -> Rule:
    """Of I_z(d1 / 2, d2 / 2) at z = d1 x / (d2 + d1 x)."""

    def rule(b: Builder, ct: Any, out: Any, d1: Any, d2: Any, x: Any) -> Any:
        return b.mul(ct, b.mul(sign, _fisher_slopes(b, d1, d2, x, index)))

    return rule


def _fisher_slopes(b: Builder, d1: Any, d2: Any, x: Any, index: int) -> Any:
    total = b.add(d2, b.mul(d1, x))
    z = b.div(b.mul(d1, x), total)
    p, q = _half(b, d1), _half(b, d2)
    density = b.div(beta_density(b, p, q, z), b.mul(total, total))
    if index == 2:
        return b.mul(density, b.mul(d1, d2))
    moved = b.mul(density, b.mul(x, d2) if index == 0 else b.neg(b.mul(x, d1)))
    return b.add(_half(b, incomplete.beta_by_shapes(b, p, q, z)[index]), moved)


def _fisher_inverse(index: int) -> Rule:
    def rule(b: Builder, ct: Any, out: Any, d1: Any, d2: Any, p: Any) -> Any:
        made = b.div(ct, _fisher_slopes(b, d1, d2, out, 2))
        return made if index == 2 else b.neg(b.mul(made, _fisher_slopes(b, d1, d2, out, index)))

    return rule


chdtr = function(
    "chdtr",
    lambda b, ct, out, v, x: b.mul(ct, _chi2_by_shape(b, v, x)),
    lambda b, ct, out, v, x: b.mul(ct, _chi2_density(b, v, x)),
)
chdtrc = function(
    "chdtrc",
    lambda b, ct, out, v, x: b.neg(b.mul(ct, _chi2_by_shape(b, v, x))),
    lambda b, ct, out, v, x: b.neg(b.mul(ct, _chi2_density(b, v, x))),
)
chdtri = function(
    "chdtri",
    lambda b, ct, out, v, p: b.neg(b.mul(ct, b.div(_chi2_by_shape(b, v, out), _chi2_density(b, v, out)))),
    lambda b, ct, out, v, p: b.neg(b.div(ct, _chi2_density(b, v, out))),
)
fdtr = function("fdtr", *(_fisher_rule(1.0, k) for k in range(3)))
fdtrc = function("fdtrc", *(_fisher_rule(-1.0, k) for k in range(3)))
fdtri = function("fdtri", *(_fisher_inverse(k) for k in range(3)))


def _gamma_rules(sign: float) -> tuple[Rule, Rule, Rule]:
    """Of the lower (1) or upper (-1) tail at a x, with shape s."""
    return (
        lambda b, ct, out, a, s, x: b.mul(ct, b.mul(b.mul(sign, x), gamma_density(b, s, b.mul(a, x)))),
        lambda b, ct, out, a, s, x: b.mul(ct, b.mul(sign, incomplete.gamma_by_shape(b, s, b.mul(a, x)))),
        lambda b, ct, out, a, s, x: b.mul(ct, b.mul(b.mul(sign, a), gamma_density(b, s, b.mul(a, x)))),
    )


gdtr = function("gdtr", *_gamma_rules(1.0))
gdtrc = function("gdtrc", *_gamma_rules(-1.0))


def _counting(sign: float, slope: Rule) -> Rule:
    """A tail by its last argument; scipy takes the counts as whole numbers, and answers nan where they make no sense."""

    def rule(b: Builder, ct: Any, out: Any, *operands: Any) -> Any:
        return b.where(b.isnan(out), out, b.mul(ct, b.mul(sign, slope(b, *operands))))

    return rule


def _poisson_density(b: Builder, k: Any, m: Any) -> Any:
    return gamma_density(b, _counted(b, k), m)


def _negative_binomial_density(b: Builder, k: Any, n: Any, p: Any) -> Any:
    return beta_density(b, b.trunc(n), b.add(b.trunc(k), 1.0), p)


pdtr = function("pdtr", None, _counting(-1.0, _poisson_density))
pdtrc = function("pdtrc", None, _counting(1.0, _poisson_density))
# without kernel text: these routines issue a Python warning from inside
bdtr = function("bdtr", None, None, _counting(-1.0, _binomial_density), emit={})
bdtrc = function("bdtrc", None, None, _counting(1.0, _binomial_density), emit={})
bdtri = function("bdtri", None, None, lambda b, ct, out, k, n, y: b.neg(b.div(ct, _binomial_density(b, k, n, out))), emit={})
nbdtr = function("nbdtr", None, None, _counting(1.0, _negative_binomial_density))
nbdtrc = function("nbdtrc", None, None, _counting(-1.0, _negative_binomial_density))
betainccinv = function(
    "betainccinv",
    lambda b, ct, out, p, q, y: b.neg(b.mul(ct, b.div(incomplete.beta_by_shapes(b, p, q, out)[0], beta_density(b, p, q, out)))),
    lambda b, ct, out, p, q, y: b.neg(b.mul(ct, b.div(incomplete.beta_by_shapes(b, p, q, out)[1], beta_density(b, p, q, out)))),
    lambda b, ct, out, p, q, y: b.neg(b.div(ct, beta_density(b, p, q, out))),
)
