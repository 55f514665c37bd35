"""Integrals against scipy and autograd: sums over samples; odeint and solve_ivp, by adjoint and tangent equations, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate as si

import irgrad
import irgrad.scipy.integrate as ii
from irgrad.errors import TraceError, TraceValueError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.scipy import _callback
from irgrad.test_util import check_grads
from tests.support.tracing import check_replay, concrete, traced, tracing

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(41)
Y, M = RNG.normal(size=7), RNG.normal(size=(4, 6))
X = np.cumsum(RNG.uniform(0.5, 1.5, 7))
GRID = np.cumsum(RNG.uniform(0.5, 1.5, (4, 6)), axis=1)

SUMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda s, y: (s.trapezoid(y), s.trapezoid(y, dx=0.5), s.cumulative_trapezoid(y), s.cumulative_trapezoid(y, dx=2.0, initial=0)), (Y,)),
    (lambda s, y, x: (s.trapezoid(y, x), s.cumulative_trapezoid(y, x), s.cumulative_trapezoid(y, x, initial=0)), (Y, X)),
    (lambda s, y, x: (s.trapezoid(y, x, axis=1), s.cumulative_trapezoid(y, x, axis=1), s.simpson(y, x=x)), (M, GRID)),
    (lambda s, y, x: (s.trapezoid(y, x[:4], axis=0), s.cumulative_trapezoid(y, x[:4], axis=0), s.simpson(y, x=x[:4], axis=0)), (M, X)),
    (lambda s, y: [s.simpson(y[:n]) for n in range(1, 8)], (Y,)),
    (lambda s, y, x: [s.simpson(y[:n], x=x[:n]) for n in range(2, 8)], (Y, X)),
    (lambda s, y: (s.simpson(y), s.simpson(y, dx=0.3, axis=0), s.simpson(np.arange(6)), s.simpson(y[:, :5])), (M,)),
]


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("fn", "inputs"), SUMS, ids=range(len(SUMS)))
def test_sums_agree_with_scipy(fn: Callable[..., Any], inputs: tuple[Any, ...], kind: type[Trace]) -> None:
    want = fn(si, *inputs)
    with tracing(kind) as trace:
        got = fn(ii, *[traced(trace, x) for x in inputs])
        if isinstance(trace, GraphTrace):
            check_replay(trace, tuple(g for g in got if not isinstance(g, np.generic)))
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(concrete(g), w, rtol=1e-12, atol=1e-14)


def test_samples_of_one_place_count_nothing() -> None:
    """scipy's convention for intervals of no width, without nan in the gradient."""
    for x in ([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 2.0, 2.0], [0.0, 0.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]):
        f = lambda y, x=x: ii.simpson(y, x=np.array(x))
        value, gradient = irgrad.value_and_grad(f)(Y[: len(x)])
        np.testing.assert_allclose(value, si.simpson(Y[: len(x)], x=x), rtol=1e-13)
        np.testing.assert_allclose(gradient, [f(e) for e in np.eye(len(x))], atol=1e-13)


def test_gauss_quadrature() -> None:
    f = lambda a, lo, hi: ii.fixed_quad(lambda x, k: np.exp(-a * x) * k, lo, hi, (2.0,), n=6)[0]
    np.testing.assert_allclose(irgrad.value_and_grad(f)(0.7, 0.1, 1.2)[0], si.fixed_quad(lambda x: 2 * np.exp(-0.7 * x), 0.1, 1.2, n=6)[0])
    np.random.seed(5)
    check_grads(f, argnum=(0, 1, 2), order=2)(0.7, 0.1, 1.2)
    check_grads(lambda a: ii.fixed_quad(lambda x: np.exp(-a * x), 0.0, 1.0)[0], order=2)(0.7)


def test_derivatives_of_sums() -> None:
    np.random.seed(5)
    for n in (6, 7):
        check_grads(lambda y, x: ii.simpson(y, x=x), argnum=(0, 1), order=2)(Y[:n], X[:n])
    check_grads(lambda y, x: ii.cumulative_trapezoid(y, x) ** 2, argnum=(0, 1), order=2)(Y, X)


# ---- differential equations ----

T = np.linspace(0.0, 1.5, 4)
Y0 = np.array([1.0, 2.0])
TIGHT: dict[str, Any] = {"rtol": 1e-11, "atol": 1e-11}


def hunt(y: Any, t: Any, a: Any, b: Any) -> Any:
    return np.array([a * y[0] - b[0] * y[0] * y[1], -y[1] + b[1] * y[0] * y[1] + 0.1 * np.sin(t)])


A, B = 1.1, np.array([0.4, 0.5])


def by_odeint(y0: Any, t: Any, a: Any, b: Any) -> Any:
    return si.odeint(hunt, y0, t, (a, b), **TIGHT)


def by_solve_ivp(y0: Any, t: Any, a: Any, b: Any) -> Any:
    found = si.solve_ivp(lambda t, y: hunt(y, t, a, b), (t[0], 3.0), y0, t_eval=t, **TIGHT)
    return found.y.T


def by_radau(y0: Any, t: Any, a: Any, b: Any) -> Any:
    return si.solve_ivp(lambda t, y, *p: hunt(y, t, *p), (0.0, 2.0), y0, "Radau", t[1:], args=(a, b), rtol=1e-9, atol=1e-9).y


SOLUTIONS = (by_odeint, by_solve_ivp, by_radau)


def numeric(f: Callable[..., Any], args: tuple[Any, ...], direction: tuple[Any, ...], step: float = 1e-4) -> Any:
    """Central differences along a direction, with an error of the fourth order."""
    at = [f(*(x + k * step * d for x, d in zip(args, direction, strict=True))) for k in (-2, -1, 1, 2)]
    return (at[0] - 8.0 * at[1] + 8.0 * at[2] - at[3]) / (12.0 * step)


@pytest.mark.parametrize("f", SOLUTIONS)
def test_first_derivatives_of_solutions(f: Callable[..., Any]) -> None:
    args = (Y0, T, A, B)
    direction = (
        np.array([0.3, -0.7]),
        np.array([0.2, -0.1, 0.4, 0.3]) if f is not by_radau else np.array([0.0, -0.1, 0.4, 0.3]),
        0.5,
        np.array([-0.2, 0.6]),
    )
    want = numeric(f, args, direction)
    value, tangent = irgrad.make_jvp(f, (0, 1, 2, 3))(*args)(direction)
    np.testing.assert_allclose(value, f(*args), rtol=1e-9)
    np.testing.assert_allclose(tangent, want, rtol=2e-6, atol=2e-7)
    weight = RNG.normal(size=want.shape)
    gradients = irgrad.grad(lambda *args: np.sum(weight * f(*args)), (0, 1, 2, 3))(*args)
    got = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    np.testing.assert_allclose(got, np.sum(weight * want), rtol=5e-6, atol=5e-7)


def test_second_derivatives_of_solutions() -> None:
    def loss(p: Any) -> Any:
        return np.sum(si.odeint(hunt, p[:2], T[:3], (p[2], B), **TIGHT)[:, 0] ** 2)

    p = np.array([1.0, 2.0, 1.1])
    hessian = irgrad.hessian(loss)(p)
    rows = [numeric(irgrad.grad(loss), (p,), (e,)) for e in np.eye(3)]
    np.testing.assert_allclose(hessian, rows, rtol=1e-5, atol=1e-6)
    forward = irgrad.make_jvp(irgrad.grad(loss))(p)(np.array([1.0, -0.5, 0.3]))[1]
    np.testing.assert_allclose(forward, hessian @ [1.0, -0.5, 0.3], rtol=1e-5)


def test_a_right_hand_side_may_close_over_traced_values() -> None:
    shift = np.array([0.1, -0.2])

    def loss(p: Any) -> Any:
        rate = np.exp(p[0])
        helper = lambda y: rate * y

        def rhs(y: Any, t: Any, power: float = 1.0) -> Any:
            return -helper(y) * power + p[1] * shift

        return np.sum(si.odeint(rhs, np.array([1.0, 2.0]), T, **TIGHT) ** 2)

    p = np.array([-0.3, 0.8])
    gradient = irgrad.grad(loss)(p)
    want = [numeric(loss, (p,), (e,)) for e in np.eye(2)]
    np.testing.assert_allclose(gradient, want, rtol=1e-6)
    jitted = irgrad.jit(irgrad.grad(loss))
    for _ in range(4):
        np.testing.assert_allclose(jitted(p), gradient, rtol=1e-6)
    assert not jitted.impure
    assert jitted.stats().eager_calls == 2
    np.testing.assert_allclose(jitted(p + 0.1), irgrad.grad(loss)(p + 0.1), rtol=1e-6)
    assert jitted.stats().eager_calls == 2


def test_compiled_gradients_are_the_eager_ones() -> None:
    for f, intervals in ((by_odeint, 3), (by_solve_ivp, 4)):
        gradient = irgrad.grad(lambda y0, a, b, f=f: np.sum(f(y0, T, a, b) ** 2), (0, 1, 2))
        want = gradient(Y0, A, B)
        jitted = irgrad.jit(gradient, compile_after=1)
        for _ in range(2):
            for got, should in zip(jitted(Y0, A, B), want, strict=True):
                np.testing.assert_allclose(got, should, rtol=1e-7)
        assert jitted.stats().eager_calls == 1
        assert jitted.stats().host_calls == 1 + intervals  # the solution, and an adjoint equation for each


def test_adjoint_equations_are_compiled_when_they_are_used_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_callback, "COMPILE_AFTER", 10)
    _callback._uses.clear()
    loss = lambda a: np.sum(ii.odeint(hunt, Y0, T, (a, B), **TIGHT) ** 2)
    gradient = irgrad.grad(loss)(A)
    np.testing.assert_allclose(gradient, numeric(loss, (A,), (1.0,)), rtol=1e-7)
    ((equation, (count, compiled)),) = _callback._uses.items()
    assert count > 10
    assert repr(equation) == "adjoint of hunt"
    assert compiled.stats().paths == 1
    for k in range(_callback.MAX_COMPILED + 3):
        irgrad.grad(lambda a, k=k: ii.odeint(lambda y, t, a: a * y * k, [1.0], [0.0, 0.1], (a,))[1, 0])(0.5)
    assert len(_callback._uses) <= _callback.MAX_COMPILED


def test_forms_of_arguments() -> None:
    scalar = irgrad.grad(lambda y0: ii.odeint(lambda y, t: -y, y0, [0.0, 1.0], **TIGHT)[1, 0])(2.0)
    assert scalar == pytest.approx(np.exp(-1.0), rel=1e-8)
    first = irgrad.grad(lambda k: ii.odeint(lambda t, y, k: -k * y, [1.0], [0.0, 1.0], k, tfirst=True, **TIGHT)[1, 0])(0.7)
    assert first == pytest.approx(-np.exp(-0.7), rel=1e-8)
    nested = irgrad.grad(lambda p: ii.odeint(lambda y, t, p: -p["k"][0] * y * p["n"], [1.0], [0.0, 1.0], (p,), **TIGHT)[1, 0])(
        {"k": [0.7], "n": 2.0}
    )
    assert nested["k"][0] == pytest.approx(-2.0 * np.exp(-1.4), rel=1e-7)
    backwards = irgrad.grad(lambda y: ii.solve_ivp(lambda t, y: -y, (1.0, 0.0), y, t_eval=[0.5, 0.0], **TIGHT).y[0, 1])(np.array([1.0]))
    assert backwards[0] == pytest.approx(np.e, rel=1e-7)
    start = irgrad.grad(lambda t0: ii.solve_ivp(lambda t, y: -y, (t0, 1.0), [1.0], t_eval=[t0, 1.0], **TIGHT).y[0, 1])(0.2)
    assert start == pytest.approx(np.exp(-0.8), rel=1e-7)
    single = irgrad.grad(lambda y0: ii.odeint(lambda y, t: -y, y0, [0.0, 1.0])[1, 0])(np.array([2.0], np.float32))
    assert single.dtype == np.float32


class Rate:
    def __init__(self, k: Any) -> None:
        self.k = k


def test_refusals() -> None:
    for f, error, message in (
        (lambda a: ii.odeint(hunt, Y0, T, (a, B), full_output=True)[0], UnsupportedError, r"scipy\.integrate\.odeint\(full_output=True\)"),
        (lambda a: ii.odeint(hunt, Y0, T, (a, B), tcrit=[1.0]), UnsupportedError, r"odeint\(tcrit=\)"),
        (lambda a: ii.odeint(lambda y, t: y, a * np.ones((2, 2)), T), TraceValueError, "y0 must be one-dimensional"),
        (lambda a: ii.solve_ivp(lambda t, y: a * y, (0, 1), [1.0]).y, UnsupportedError, r"solve_ivp without t_eval"),
        (lambda a: ii.solve_ivp(lambda t, y: a * y, (0, 1), [1.0], t_eval=[1.0], events=len).y, UnsupportedError, r"solve_ivp\(events=\)"),
        (lambda a: ii.solve_ivp(lambda t, y: a * y, (0, 1), [1.0], t_eval=[2.0]).y, TraceValueError, "not within `t_span`"),
        (lambda a: ii.solve_ivp(lambda t, y: a * y, (0, 1), [1.0], t_eval=[0.5, 0.2]).y, TraceValueError, "not properly sorted"),
        (lambda a: ii.quad(lambda x: a * x, 0.0, a)[0], UnsupportedError, r"scipy\.integrate\.quad is not traced yet"),
        (lambda a: ii.quad(lambda x: a * x, 0.0, 1.0)[0], UnsupportedError, r"scipy\.integrate\.quad is not traced yet \(.*integrate\.py"),
        (lambda a: ii.odeint(lambda y, t: y, [1j * a], T), TraceError, r"odeint: y0 is complex .*give real and imaginary parts"),
        (lambda a: ii.solve_ivp(lambda t, y: 1j * y, (0, 1), [1j * a], t_eval=[1]).y, TraceError, r"solve_ivp: y0 is complex"),
        (lambda a: ii.odeint(lambda y, t: 1j * a * y, [1.0], T), TraceError, r"returned a complex value"),
        (lambda a: ii.cumulative_trapezoid(a * Y, initial=1.0), TraceValueError, "must be `None` or `0`"),
    ):
        with pytest.raises(error, match=message):
            irgrad.grad(lambda a, f=f: np.sum(f(a)))(A)

    def hidden(a: Any) -> Any:
        rate = Rate(a)
        return np.sum(ii.odeint(lambda y, t: rate.k * y, [1.0], T))

    with pytest.raises(TraceError, match="from the attribute of an object"):
        irgrad.grad(hidden)(A)


def test_plain_calls_are_scipys() -> None:
    np.testing.assert_array_equal(ii.odeint(hunt, Y0, T, (A, B)), si.odeint(hunt, Y0, T, (A, B)))
    assert ii.quad(np.sin, 0.0, 1.0)[0] == si.quad(np.sin, 0.0, 1.0)[0]
    assert ii.solve_ivp(lambda t, y: -y, (0, 1), [1.0]).success


def test_agrees_with_autograd() -> None:
    theirs = pytest.importorskip("autograd.scipy.integrate").odeint
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    make_tuple = pytest.importorskip("autograd.builtins").tuple

    def rhs(y: Any, t: Any, a: Any, b: Any) -> Any:
        return anp.array([a * y[0] - b[0] * y[0] * y[1], -y[1] + b[1] * y[0] * y[1] + 0.1 * anp.sin(t)])

    want_of = lambda y0, t, a, b: anp.sum(theirs(rhs, y0, t, make_tuple((a, b)), **TIGHT) ** 2)
    got = irgrad.grad(lambda *args: np.sum(by_odeint(*args) ** 2), (0, 1, 2, 3))(Y0, T, A, B)
    for argnum, gradient in enumerate(got):
        np.testing.assert_allclose(gradient, autograd.grad(want_of, argnum)(Y0, T, A, B), rtol=1e-6)
