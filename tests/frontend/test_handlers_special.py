"""scipy.special in traced code against scipy: value, dtype, shape and kind; how its functions are reached; what is refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy
from scipy import special

import irgrad
import irgrad.numpy as inp
import irgrad.scipy.special as isp
from irgrad.errors import MissingRuleError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.frontend.tracer import Tracer
from irgrad.test_util import check_grads
from tests.ops.samples import samples_special
from tests.support.differences import differences
from tests.support.tracing import same, traced, traced_call, tracing

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")]
RNG = np.random.default_rng(5)
V = RNG.uniform(0.3, 2.0, 5)
M = RNG.normal(size=(3, 4))
F = M.astype(np.float32)
N = np.arange(1, 7).reshape(2, 3)
INFINITE = np.array([[1.0, -np.inf, 0.5], [-np.inf, -np.inf, -np.inf], [np.inf, 1.0, -np.inf]])
TIED = np.array([[1.0, 1.0, -2.0], [3.0, 3.0, 3.0]])
FAR = np.array([0.0, -40.0, -800.0])

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]
CASES: list[Case] = [
    (f"{name}", lambda sp, *xs, name=name: getattr(sp, name)(*xs), sample.operands)
    for name, rows in samples_special.SAMPLES.items()
    if hasattr(special, name)
    for sample in rows[:7]
]
for _x in (M, F, V, N, INFINITE, TIED, FAR, 0.5):
    CASES += [
        ("logsumexp", lambda sp, x: sp.logsumexp(x), (_x,)),
        ("logsumexp keepdims", lambda sp, x: sp.logsumexp(x, keepdims=True), (_x,)),
        ("softmax", lambda sp, x: sp.softmax(x), (_x,)),
        ("log_softmax", lambda sp, x: sp.log_softmax(x), (_x,)),
        ("softplus", lambda sp, x: sp.softplus(x), (_x,)),
    ]
for _axis in (0, 1, -1, (0, 1)):
    CASES += [
        ("logsumexp axis", lambda sp, x, a=_axis: sp.logsumexp(x, axis=a), (M,)),
        ("logsumexp axis keepdims", lambda sp, x, a=_axis: sp.logsumexp(x, a, keepdims=True), (INFINITE,)),
        ("softmax axis", lambda sp, x, a=_axis: (sp.softmax(x, axis=a), sp.log_softmax(x, axis=a)), (M,)),
        ("logsumexp weights", lambda sp, x, b, a=_axis: sp.logsumexp(x, a, b), (M, np.abs(M))),
        ("logsumexp sign", lambda sp, x, b, a=_axis: sp.logsumexp(x, a, b, return_sign=True), (M, M.T.reshape(3, 4))),
    ]
CASES += [
    ("logsumexp zero weight", lambda sp, x: sp.logsumexp(x, b=np.array([0.0, 1.0, 0.0])), (np.array([np.inf, 1.0, np.nan]),)),
    ("logsumexp broadcast", lambda sp, x: sp.logsumexp(x, b=np.array([1.0, 2.0, 0.5, 3.0]), axis=1), (M,)),
    ("logsumexp plain sign", lambda sp, x: sp.logsumexp(x, axis=1, return_sign=True), (M,)),
    ("logsumexp list", lambda sp, x: sp.logsumexp([x, 1.0, 2.0]), (0.5,)),
    ("polygamma", lambda sp, x: (sp.polygamma(0, x), sp.polygamma(1, x), sp.polygamma(3, x)), (V,)),
    ("polygamma orders", lambda sp, x: sp.polygamma(np.array([0, 1, 2, 3, 4]), x), (V,)),
    ("polygamma number", lambda sp, x: (sp.polygamma(0, x), sp.polygamma(2, x)), (1.5,)),
    ("polygamma order", lambda sp, n: sp.polygamma(n, 1.5), (N,)),
    ("zeta", lambda sp, q: (sp.zeta(2.5, q), sp.zeta(np.array([2.0, 3.0, 4.0, 5.0, 6.0]), q)), (V,)),
    ("multigammaln", lambda sp, a: (sp.multigammaln(a + 2.0, 3), sp.multigammaln(a, 1)), (V,)),
    ("multigammaln number", lambda sp, a: sp.multigammaln(a, 2), (3.5,)),
    ("factorial", lambda sp, n: sp.factorial(n), (N,)),
    ("comb", lambda sp, n: (sp.comb(n, 2), sp.comb(4, n), sp.comb(n, 2, repetition=True), sp.perm(n, 2), sp.perm(4, n)), (N,)),
    ("comb float", lambda sp, n: (sp.comb(n, 1.5), sp.perm(n, 1.5)), (V + 1.0,)),
    ("scipy's own loops", lambda sp, x: (sp.exp2(x), sp.expm1(x), sp.log1p(x), sp.cbrt(x), sp.exp10(x), sp.sinc(x)), (V,)),
    ("two results", lambda sp, x: (*sp.sici(x), *sp.shichi(x), *sp.fresnel(x)), (V,)),
    ("two results of a number", lambda sp, x: (*sp.sici(x), *sp.shichi(x), *sp.fresnel(x)), (0.5,)),
    ("two results single", lambda sp, x: (*sp.sici(x), *sp.shichi(x), *sp.fresnel(x)), (F,)),
    ("lambertw", lambda sp, x: (sp.lambertw(x), sp.lambertw(x, -1), sp.lambertw(x + 1j, k=2)), (V,)),
    ("bessel derivatives", lambda sp, x: [sp.jvp(2, x), sp.jvp(1.5, x, 2), sp.yvp(1, x), sp.ivp(2, x, 3), sp.kvp(0.5, x, 2)], (V,)),
    ("bessel derivatives single", lambda sp, x: [sp.jvp(2, x), sp.jvp(1, x, 0), sp.kvp(1, x)], (F**2 + 0.5,)),
    ("names", lambda sp, x: (sp.digamma(x), sp.jn(2, x), sp.j0(x)), (V,)),
]  # fmt: skip
POLYNOMIALS = {"legendre": 0, "chebyt": 0, "chebyu": 0, "hermite": 0, "hermitenorm": 0, "laguerre": 0, "genlaguerre": 1, "gegenbauer": 1,
               "jacobi": 2}  # fmt: skip


def polynomial(sp: Any, name: str, degree: Any, x: Any, *parameters: Any) -> Any:
    return getattr(sp, f"eval_{name}")(degree, *(parameters or (0.3, 0.7)[: POLYNOMIALS[name]]), x)


for _name in POLYNOMIALS:
    for _x in (V - 1.0, M, F, 0.3, N):
        CASES.append((_name, lambda sp, x, n=_name: [polynomial(sp, n, k, x) for k in (0, 1, 2, 5, 9)], (_x,)))
    if not _name.startswith("hermite"):
        CASES.append((f"{_name} degree", lambda sp, x, n=_name: polynomial(sp, n, 3.0, x), (F,)))


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("name", "fn", "inputs"), CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_agrees_with_scipy(name: str, fn: Callable[..., Any], inputs: tuple[Any, ...], kind: type[Trace]) -> None:
    want = fn(special, *inputs)
    same(traced_call(kind, partial(fn, isp), *inputs), want)


# ---- derivatives of what is composed ----

DERIVATIVES: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("logsumexp", lambda x: isp.logsumexp(x, axis=1), (M,)),
    ("logsumexp tied", lambda x: isp.logsumexp(x, axis=1, keepdims=True), (TIED,)),
    ("logsumexp weights", lambda x, b: isp.logsumexp(x, axis=0, b=b), (M, np.abs(M))),
    ("logsumexp sign", lambda x: isp.logsumexp(x, b=M, return_sign=True)[0], (M,)),
    ("softmax", lambda x: isp.softmax(x, axis=1), (M,)),
    ("log_softmax", lambda x: isp.log_softmax(x), (M,)),
    ("softplus", lambda x: isp.softplus(x), (M,)),
    ("polygamma", lambda x: isp.polygamma(1, x) + isp.polygamma(0, x), (V,)),
    ("multigammaln", lambda x: isp.multigammaln(x + 1.0, 3), (V,)),
    ("factorial", lambda x: isp.factorial(x), (V,)),
    ("comb", lambda n, k: isp.comb(n, k) + isp.perm(n, k) + isp.comb(n, k, repetition=True), (V + 3.0, V)),
    ("two results", lambda x: sum(isp.sici(x)) + sum(isp.shichi(x)) + sum(isp.fresnel(x)), (V,)),
    ("lambertw", lambda x: inp.real(isp.lambertw(x)) + inp.real(isp.lambertw(-x / 10.0, -1)), (V,)),
    ("jvp", lambda x: isp.jvp(1, x, 2) * isp.kvp(2, x) + isp.ivp(0.5, x) * isp.yvp(1, x), (V,)),
    ("polynomials", lambda x: sum(polynomial(isp, name, 4, x) for name in POLYNOMIALS), (V - 1.0,)),
    ("jacobi", lambda a, b, x: isp.eval_jacobi(4, a, b, x) + isp.eval_genlaguerre(3, a, x) + isp.eval_gegenbauer(3, b, x), (V, V[::-1], V)),
    ("exp2", lambda x: isp.exp2(x) * isp.cbrt(x) + isp.log1p(isp.expm1(x)), (V,)),
]


@pytest.mark.parametrize(("name", "fn", "inputs"), DERIVATIVES, ids=[case[0] for case in DERIVATIVES])
def test_derivatives(name: str, fn: Callable[..., Any], inputs: tuple[Any, ...]) -> None:
    np.random.seed(0)
    check_grads(fn, argnum=tuple(range(len(inputs))), order=2)(*inputs)


# ---- how functions are reached ----


def by_ufunc(x: Any) -> Any:
    return np.sum(special.gammaln(x))


def by_module(x: Any) -> Any:
    return scipy.special.logsumexp(x)


def by_import(x: Any) -> Any:
    from scipy.special import log_softmax

    return np.sum(log_softmax(x) * np.arange(5.0))


def by_dropin(x: Any) -> Any:
    return isp.logsumexp(x) + irgrad.scipy.special.erf(x[0])


@pytest.mark.parametrize("f", [by_ufunc, by_module, by_import, by_dropin])
def test_plain_scipy_and_the_drop_in_trace(f: Callable[..., Any]) -> None:
    gradient = irgrad.grad(f)(V)
    np.testing.assert_allclose(gradient, differences(f, V), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(irgrad.jit(irgrad.grad(f), compile_after=1)(V), gradient, rtol=1e-12)


def test_plain_values_are_scipys_own() -> None:
    assert isp.logsumexp([1.0, 2.0]) == special.logsumexp([1.0, 2.0])
    assert isp.erf(0.5) == special.erf(0.5)
    assert type(isp.elliprc(0.5, 0.5)) is np.float64
    assert type(isp.ellipk(0.5)) is np.float64


def test_what_is_not_traced_is_refused_with_its_line() -> None:
    for function in (lambda x: isp.elliprf(x, x, x), lambda x: special.agm(x, x), lambda x: isp.spherical_jn(1, x)):
        with pytest.raises(UnsupportedError, match=r"special\.(elliprf|agm|spherical_jn) is not traced yet \(.*_special\.py:\d+"):
            irgrad.grad(function)(0.5)
    for function in (lambda x: isp.eval_legendre(2.5, x), lambda x: isp.eval_hermite(x, 0.5), lambda x: isp.lambertw(1.0, x)):
        with pytest.raises(UnsupportedError, match=r"as one plain"):
            irgrad.grad(lambda x, f=function: np.real(f(x)))(3.0)
    for function in (lambda x: isp.zeta(x), lambda x: isp.factorial(x, exact=True), lambda x: isp.comb(x, 2, exact=True)):
        with pytest.raises(UnsupportedError, match=r"scipy\.special"):
            irgrad.grad(function)(3.0)
    with pytest.raises(UnsupportedError, match="complex numbers"):
        irgrad.grad(lambda x: isp.logsumexp(x * (1 + 1j)).real)(V)


def test_an_order_is_no_place_for_a_derivative() -> None:
    with pytest.raises(MissingRuleError, match=r"VJP of jv wrt argnum 0 not defined: the derivative with respect to the order"):
        irgrad.grad(lambda v: isp.jv(v, 2.0))(1.5)
    assert irgrad.grad(lambda v, x: isp.jv(irgrad.stop_gradient(v), x), 1)(1.5, 2.0) == pytest.approx(special.jvp(1.5, 2.0))


def test_errors_keep_scipys_words() -> None:
    with pytest.raises(ValueError, match=r"condition a .* > 0\.5 \* \(d-1\)"):
        irgrad.grad(lambda a: isp.multigammaln(a, 4))(1.0)


# ---- derivatives at the edges ----

EDGES: list[tuple[Callable[..., Any], Any, Any]] = [
    (lambda x: isp.logsumexp(x), np.array([0.0, -np.inf, 0.0]), [0.5, 0.0, 0.5]),
    (lambda x: isp.logsumexp(x), np.array([-np.inf, -np.inf]), [0.0, 0.0]),
    (lambda x: isp.logsumexp(x), np.array([np.inf, 1.0]), [0.0, 0.0]),
    (lambda x: isp.logsumexp(x, b=np.array([0.0, 1.0])), np.array([np.inf, 1.0]), [0.0, 1.0]),
    (lambda x: isp.log_softmax(x)[0], np.array([0.0, -np.inf]), [0.0, 0.0]),
    (lambda x: isp.softmax(x)[0], np.array([0.0, -np.inf, 0.0]), [0.25, 0.0, -0.25]),
    (lambda x: isp.softplus(x), -800.0, 0.0),
    (lambda x: isp.sici(x)[0], 0.0, 1.0),
    (irgrad.grad(irgrad.grad(lambda x: isp.sici(x)[0])), 0.0, -1.0 / 3.0),
    (lambda x: isp.shichi(x)[0], 0.0, 1.0),
    (lambda x: isp.spence(x), 1.0, -1.0),
    (irgrad.grad(isp.spence), 1.0, 0.5),
    (lambda x: isp.ellipk(x), 0.0, math.pi / 8.0),
    (lambda x: isp.ellipkm1(x), 1.0, -math.pi / 8.0),
    (lambda x: isp.boxcox(2.0, x), 0.0, math.log(2.0) ** 2 / 2.0),
    (lambda x: isp.inv_boxcox(2.0, x), 0.0, -2.0 * math.exp(2.0)),
    (lambda x: inp.real(isp.lambertw(x)), 0.0, 1.0),
    (lambda x: isp.eval_legendre(3, x), 1.0, 6.0),
    (lambda x: isp.softplus(x), 800.0, 1.0),
    (lambda x: isp.log_expit(x), -800.0, 1.0),
    (lambda x: isp.factorial(x), -2.0, 0.0),
    (lambda x: isp.log_ndtr(x), -1e5, 1e5),
]


@pytest.mark.parametrize(("f", "x", "want"), EDGES)
def test_derivatives_at_edges(f: Callable[..., Any], x: Any, want: Any) -> None:
    np.testing.assert_allclose(irgrad.grad(f)(x), want, rtol=1e-8)
    np.testing.assert_allclose(irgrad.make_jvp(f)(x)(np.ones_like(x))[1], np.sum(want), rtol=1e-8)


def test_a_result_near_zero_is_exact() -> None:
    """The largest entry is not added to the rest before the logarithm."""
    assert irgrad.value_and_grad(isp.logsumexp)(FAR)[0] == pytest.approx(math.exp(-40.0), rel=1e-12)


def test_traced_orders_and_arrays_mix() -> None:
    with tracing(GraphTrace) as trace:
        made = isp.expn(traced(trace, np.arange(1, 4)), V[:3])
        assert type(made) is Tracer
        np.testing.assert_array_equal(made.value, special.expn(np.arange(1, 4), V[:3]))


# ---- against autograd ----


UNARY = ("digamma", "erf", "erfc", "expit", "gamma", "gammaln", "i0", "i1", "j0", "j1", "psi", "rgamma", "y0", "y1")


def test_agrees_with_autograd() -> None:
    asp = pytest.importorskip("autograd.scipy.special")
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    count = 0
    for name in (*UNARY, "erfinv", "erfcinv", "logit"):
        x = V / 3.0 if name in ("erfinv", "erfcinv", "logit") else V
        got = irgrad.elementwise_grad(getattr(isp, name))(x)
        np.testing.assert_allclose(got, autograd.elementwise_grad(getattr(asp, name))(x), rtol=1e-10, err_msg=name)
        count += 1
    for name, first in (("jn", 2), ("yn", 2), ("iv", 1.5), ("ive", 1.5), ("polygamma", 1), ("gammainc", 1.5), ("gammaincc", 1.5)):
        got = irgrad.elementwise_grad(getattr(isp, name), 1)(first, V)
        np.testing.assert_allclose(got, autograd.elementwise_grad(getattr(asp, name), 1)(first, V), rtol=1e-10, err_msg=name)
        count += 1
    for name in ("beta", "betaln"):
        for argnum in (0, 1):
            got = irgrad.elementwise_grad(getattr(isp, name), argnum)(V, V[::-1].copy())
            np.testing.assert_allclose(got, autograd.elementwise_grad(getattr(asp, name), argnum)(V, V[::-1].copy()), rtol=1e-10)
            count += 1
    weights = np.abs(M)
    got = irgrad.grad(lambda x: np.sum(isp.logsumexp(x, axis=1, b=weights) ** 2))(M)
    np.testing.assert_allclose(got, autograd.grad(lambda x: anp.sum(asp.logsumexp(x, axis=1, b=weights) ** 2))(M), rtol=1e-10)
    assert count == 28


COUNTS = [(2.0, 5.0), (2.7, 5.6), (0.4, 3.9), (3.0, 3.0), (0.0, 0.5), (-1.0, 3.0), (-0.5, 3.0), (4.0, 3.0)]


@pytest.mark.parametrize("name", ["bdtr", "bdtrc", "nbdtr", "nbdtrc"])
def test_counts_that_are_not_whole(name: str) -> None:
    """scipy rounds them down, and answers nan where they make no sense: so does the derivative by the probability."""
    warnings.simplefilter("ignore")  # scipy's of whole numbers, ours of an output that is flat
    step = 1e-6
    plain, form = getattr(special, name), getattr(isp, name)
    for k, n in COUNTS:
        want = (plain(k, n, 0.3 + step) - plain(k, n, 0.3 - step)) / (2 * step)
        np.testing.assert_allclose(irgrad.grad(form, 2)(k, n, 0.3), want, rtol=1e-6, atol=1e-9)
        assert irgrad.grad(form, (0, 1))(k, n, 0.3) == (0.0, 0.0)
