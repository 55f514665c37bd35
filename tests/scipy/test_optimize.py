"""Roots and minimisers: values are scipy's, derivatives follow from the implicit function theorem; eager, compiled, nested."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize as so

import irgrad
import irgrad.scipy.optimize as io
from irgrad.errors import TraceError, UnsupportedError
from irgrad.scipy import _callback
from tests.support.differences import differences

pytestmark = pytest.mark.filterwarnings("error")


def curve(x: Any, a: Any, b: Any) -> Any:
    return np.array([a * x[0] ** 3 + x[1] - b[0], np.exp(0.3 * x[1]) - x[0] + b[1]])


A, B = 1.3, np.array([2.0, -0.4])
X0 = np.array([0.5, 0.5])


def by_root(a: Any, b: Any) -> Any:
    return so.root(curve, X0, (a, b), tol=1e-13).x


def by_lm(a: Any, b: Any) -> Any:
    return so.root(lambda x: curve(x, a, b), X0, method="lm", tol=1e-13).x


def by_krylov(a: Any, b: Any) -> Any:
    return so.root(curve, X0, (a, b), "krylov", options={"fatol": 1e-12}).x


def by_fsolve(a: Any, b: Any) -> Any:
    return so.fsolve(curve, X0, args=(a, b), xtol=1e-13)


def bowl(x: Any, a: Any, b: Any) -> Any:
    return np.sum(np.cosh(x - b)) + 0.5 * a * (x[0] + x[1]) ** 2


def by_minimize(a: Any, b: Any) -> Any:
    return so.minimize(bowl, X0, (a, b), tol=1e-10).x


def by_newton_cg(a: Any, b: Any) -> Any:
    return so.minimize(lambda x: bowl(x, a, b), X0, method="Newton-CG", tol=1e-12).x


def by_gradient(a: Any, b: Any) -> Any:
    def both(x: Any, a: Any, b: Any) -> Any:
        return bowl(x, a, b), np.sinh(x - b) + a * np.sum(x) * np.ones(2)

    return so.minimize(both, X0, (a, b), method="L-BFGS-B", jac=True, options={"ftol": 1e-15, "gtol": 1e-11}).x


def by_jac(a: Any, b: Any) -> Any:
    slope = lambda x, a, b: np.sinh(x - b) + a * np.sum(x) * np.ones(2)
    return so.minimize(bowl, X0, (a, b), method="BFGS", jac=slope, tol=1e-11).x


def by_simplex(a: Any, b: Any) -> Any:
    return so.minimize(bowl, X0, (a, b), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-15}).x


def cubic(x: Any, a: Any, b: Any) -> Any:
    return x**3 + a * x - b[0]


def by_brentq(a: Any, b: Any) -> Any:
    return so.brentq(cubic, 0.0, 2.0, args=(a, b), xtol=1e-14)


def by_newton(a: Any, b: Any) -> Any:
    return so.newton(lambda x: cubic(x, a, b), 1.0, tol=1e-13)


def by_bisect(a: Any, b: Any) -> Any:
    return so.bisect(cubic, 0.0, 2.0, (a, b), 1e-13)


def by_minimize_scalar(a: Any, b: Any) -> Any:
    return so.minimize_scalar(lambda x: np.cosh(x - b[0]) + 0.5 * a * x**2, tol=1e-10).x


SOLVERS = [
    by_root, by_lm, by_krylov, by_fsolve, by_minimize, by_newton_cg, by_gradient, by_jac, by_simplex, by_brentq, by_newton, by_bisect,
    by_minimize_scalar,
]  # fmt: skip


def exact_minimum(a: Any, b: Any) -> Any:
    return so.root(lambda x: np.sinh(x - b) + a * np.sum(x), X0, tol=1e-14).x


def exact_scalar_minimum(a: Any, b: Any) -> Any:
    return so.brentq(lambda x: np.sinh(x - b[0]) + a * x, -5.0, 5.0, xtol=1e-14)


REFERENCES: dict[Any, Any] = {by_krylov: by_root, by_minimize_scalar: exact_scalar_minimum}
REFERENCES |= dict.fromkeys((by_minimize, by_newton_cg, by_gradient, by_jac, by_simplex), exact_minimum)


@pytest.mark.parametrize("f", SOLVERS)
def test_derivatives(f: Callable[..., Any]) -> None:
    """Against differences of tight solutions."""
    reference = REFERENCES.get(f, f)
    step = 1e-4
    value, tangent = irgrad.make_jvp(f, (0, 1))(A, B)((1.0, np.array([0.5, -1.0])))
    at = [reference(A + k * step, B + k * step * np.array([0.5, -1.0])) for k in (-2, -1, 1, 2)]
    want = (at[0] - 8.0 * at[1] + 8.0 * at[2] - at[3]) / (12.0 * step)
    loose = f in (by_krylov, by_simplex, by_minimize_scalar)
    np.testing.assert_allclose(value, reference(A, B), atol=1e-6 if loose else 1e-8)
    np.testing.assert_allclose(tangent, want, atol=3e-5 if loose else 1e-7)
    gradients = irgrad.grad(lambda a, b: np.sum(f(a, b)), (0, 1))(A, B)
    np.testing.assert_allclose(gradients[0] + gradients[1] @ [0.5, -1.0], np.sum(want), atol=3e-5 if loose else 1e-7)


def test_second_derivatives() -> None:
    p = np.array([A, *B])
    for f, exact in ((by_root, by_root), (by_newton_cg, exact_minimum)):
        first = irgrad.jacobian(lambda p, f=f: f(p[0], p[1:]))
        second = irgrad.jacobian(first)(p)
        reference = irgrad.jacobian(lambda p, f=exact: f(p[0], p[1:]))
        np.testing.assert_allclose(second, differences(reference, p, 1e-5), atol=1e-7)
        forward = irgrad.make_jvp(irgrad.grad(lambda p, f=f: np.sum(f(p[0], p[1:]))))(p)(np.array([1.0, 0.5, -0.2]))[1]
        np.testing.assert_allclose(forward, np.sum(second, axis=0) @ [1.0, 0.5, -0.2], atol=1e-7)


def test_the_value_at_a_minimum_is_traced() -> None:
    def best(a: Any, b: Any) -> Any:
        found = io.minimize(bowl, X0, (a, b), tol=1e-10)
        assert found.success
        return found.fun

    envelope = irgrad.grad(best)(A, B)
    assert envelope == pytest.approx(0.5 * np.sum(exact_minimum(A, B)) ** 2, rel=1e-6)


def test_gradients_compile() -> None:
    for f in (by_root, by_newton_cg, by_brentq):
        gradient = irgrad.grad(lambda a, b, f=f: np.sum(f(a, b) ** 2), (0, 1))
        jitted = irgrad.jit(gradient)
        for k in range(4):
            for got, want in zip(jitted(A + 0.1 * k, B), gradient(A + 0.1 * k, B), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-6)
        assert not jitted.impure
        assert jitted.stats().eager_calls == 2
        assert jitted.stats().host_calls == 2


def test_derivatives_for_solvers_are_compiled_when_they_are_used_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_callback, "COMPILE_AFTER", 5)
    _callback._uses.clear()
    irgrad.grad(lambda a: np.sum(by_newton_cg(a, B)))(A)
    irgrad.grad(lambda a: np.sum(so.root(curve, X0 + 3.0, (a, B)).x))(A)
    assert [key[0] for key in _callback._uses] == ["gradient", "matrix"]
    assert next(iter(_callback._uses.values()))[1].stats().paths == 1


def test_plain_calls_are_scipys() -> None:
    assert io.brentq(lambda x: x - 0.3, 0.0, 1.0) == pytest.approx(0.3)
    assert irgrad.grad(lambda a: a * io.brentq(lambda x: x - 0.3, 0.0, 1.0))(2.0) == pytest.approx(0.3)
    assert io.linprog([1.0], bounds=[(0.5, None)]).x[0] == 0.5


def test_refusals() -> None:
    for f, message in (
        (lambda a: io.minimize(bowl, X0, (a, B), constraints=[1]).x, r"scipy\.optimize\.minimize\(constraints=\)"),
        (lambda a: io.minimize(bowl, X0, (a, B), hess=print, method="trust-exact").x, r"scipy\.optimize\.minimize\(hess=\)"),
        (lambda a: io.fsolve(curve, X0, (a, B), full_output=True)[0], r"fsolve\(full_output=True\)"),
        (lambda a: io.newton(cubic, 1.0, lambda x, a, b: 3 * x**2 + a, (a, B)), r"newton\(fprime=\)"),
        (lambda a: io.root(curve, X0, (a, B), callback=print).x, r"root\(jac=True, callback=\)"),
        (lambda a: io.least_squares(lambda x: x - 1.0, a)[0], r"scipy\.optimize\.least_squares is not traced yet"),
    ):
        with pytest.raises(UnsupportedError, match=message):
            irgrad.grad(lambda a, f=f: np.sum(f(a)))(A)
    with pytest.raises(TraceError, match="expected real numbers"):
        irgrad.grad(lambda a: np.sum(io.root(curve, X0, (a * 1j, B)).x))(A)


LOW, HIGH = np.array([-1.0, -1.0, -0.2, -1.0]), np.array([1.0, 0.9, 1.0, 1.0])
TARGET = np.array([0.3, 1.7, -0.8, 0.5])


def held(x: Any, a: Any) -> Any:
    d = x - a
    return 0.5 * np.sum(d * d) + 0.3 * np.sum(d[:-1] * d[1:]) + 0.05 * np.sum(x**4)


def exact_held(a: Any, low: Any, high: Any) -> Any:
    """With the second entry at its upper and the third at its lower bound."""
    ends = lambda x: np.array([x[0], high[1], low[2], x[1]])
    free = so.root(lambda x: irgrad.grad(held)(ends(x), a)[[0, 3]], np.zeros(2), tol=1e-14).x
    return ends(free)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("L-BFGS-B", {"ftol": 1e-16, "gtol": 1e-12}),
        ("TNC", {"ftol": 1e-16, "gtol": 1e-12, "xtol": 1e-12}),
        ("SLSQP", {"ftol": 1e-15}),
        ("trust-constr", {"gtol": 1e-11, "xtol": 1e-12, "barrier_tol": 1e-11}),
    ],
)
def test_bounds(method: str, options: dict[str, float]) -> None:
    """What is at a bound moves with it and with nothing else, and the rest as if it were fixed there."""

    warnings.filterwarnings("ignore", "delta_grad == 0")  # of trust-constr, at the end

    def bounded(a: Any, low: Any, high: Any) -> Any:
        return io.minimize(held, np.zeros(4), (a,), method=method, bounds=[(low[i], high[i]) for i in range(4)], options=options).x

    np.testing.assert_allclose(bounded(TARGET, LOW, HIGH), exact_held(TARGET, LOW, HIGH), atol=1e-6)
    step = 1e-5
    shifts = np.array([0.4, -0.3, 0.8, 0.2]), np.array([0.5, 0.5, -0.7, 0.5]), np.array([0.1, 0.6, 0.3, 0.2])
    there, back = (exact_held(*(p + s * step * d for p, d in zip((TARGET, LOW, HIGH), shifts, strict=True))) for s in (1, -1))
    want = (there - back) / (2 * step)
    _, tangent = irgrad.make_jvp(bounded, (0, 1, 2))(TARGET, LOW, HIGH)(shifts)
    np.testing.assert_allclose(tangent, want, atol=1e-5)
    assert not np.any(irgrad.jacobian(bounded)(TARGET, LOW, HIGH)[1:3])
    loss = lambda a, low, high: np.sum(np.array([1.0, 2.0, 3.0, 4.0]) * bounded(a, low, high))
    for gradient in (irgrad.grad(loss, (0, 1, 2)), irgrad.jit(irgrad.grad(loss, (0, 1, 2)), compile_after=1)):
        for _ in range(2):
            found = gradient(TARGET, LOW, HIGH)
        along = sum(g @ d for g, d in zip(found, shifts, strict=True))
        np.testing.assert_allclose(along, want @ [1.0, 2.0, 3.0, 4.0], atol=1e-4)


def test_bounds_of_one_number() -> None:
    f = lambda a, low: io.minimize_scalar(lambda x: (x - a) ** 2 + 0.1 * x**4, bounds=(low, 4.0), options={"xatol": 1e-12}).x
    assert irgrad.grad(f, (0, 1))(1.7, 1.4) == (0.0, 1.0)
    inner = irgrad.grad(f, (0, 1))(1.7, 0.4)
    assert inner[0] == pytest.approx(2.0 / (2.0 + 1.2 * f(1.7, 0.4) ** 2), abs=1e-6) and inner[1] == 0.0


def test_bounds_that_make_no_sense() -> None:
    for bounds in ([(0.0, 1.0)], [(1.0, 0.0)] * 2):
        with pytest.raises(ValueError, match="bound"):
            irgrad.grad(lambda a, b=bounds: np.sum(io.minimize(bowl, X0, (a, B), bounds=b).x))(A)


def test_a_hessian_is_ours() -> None:
    f = lambda a: np.sum(io.minimize(bowl, X0, (a, B), method="trust-exact", tol=1e-10).x)
    assert irgrad.grad(f)(A) == pytest.approx(irgrad.grad(lambda a: np.sum(exact_minimum(a, B)))(A), abs=1e-7)


def test_settings_are_decided_and_brackets_are_data() -> None:
    options = {"gtol": 1e-3}
    fast = irgrad.jit(lambda a: io.minimize(bowl, X0, (a, B), method="BFGS", options=options).x, compile_after=1)
    loose = fast(A)
    options["gtol"] = 1e-11
    assert np.max(np.abs(fast(A) - exact_minimum(A, B))) < 1e-8 < np.max(np.abs(loose - exact_minimum(A, B)))
    slope = irgrad.jit(irgrad.grad(lambda a, top: io.root_scalar(lambda x: x**3 + a * x - 1.0, bracket=(0.0, top)).root), compile_after=1)
    assert slope(1.0, 2.0) == pytest.approx(slope(1.0, 0.9), abs=1e-9)
    with pytest.raises(ValueError, match="different signs"):
        slope(1.0, 0.1)


def test_a_starting_point_has_no_derivative() -> None:
    with pytest.warns(UserWarning, match="independent"):
        assert irgrad.grad(lambda x0: io.fsolve(lambda x: x**3 - 8.0, x0)[0])(1.5) == 0.0


@pytest.mark.parametrize("method", ["brentq", "bisect", "toms748", "secant", None])
def test_roots_of_numbers(method: str | None) -> None:
    start = {"x0": 1.0, "x1": 1.5} if method == "secant" else {"bracket": (0.5, 3.0)}

    def root(a: Any) -> Any:
        found = so.root_scalar(lambda x: x**3 - a, method=method, xtol=1e-13, **start)
        assert found.converged
        return found.root

    np.testing.assert_allclose(irgrad.value_and_grad(root)(2.0), (2 ** (1 / 3), 2 ** (-2 / 3) / 3), rtol=1e-10)
    np.testing.assert_allclose(irgrad.grad(irgrad.grad(root))(2.0), -2 / 9 * 2 ** (-5 / 3), rtol=1e-8)
    jitted = irgrad.jit(irgrad.grad(root), compile_after=1)
    for a in (2.0, 2.0, 3.0):
        np.testing.assert_allclose(jitted(a), a ** (-2 / 3) / 3, rtol=1e-10)
    assert jitted.stats().eager_calls == 1


def test_toms748_is_a_bracketing_solver() -> None:
    np.testing.assert_allclose(irgrad.grad(lambda a: so.toms748(lambda x: x**3 - a, 0.0, 3.0))(2.0), 2 ** (-2 / 3) / 3, rtol=1e-10)


def test_no_solution_is_reported() -> None:
    with pytest.warns(RuntimeWarning, match=r"root of .*: scipy found no solution .*; derivatives hold at a solution only"):
        irgrad.grad(lambda a: so.root(lambda x: x**2 + a, np.array([1.0])).x[0])(2.0)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda a: so.fixed_point(lambda x: np.cos(a * x), 0.5), "fixed_point"),
        (lambda a: so.least_squares(lambda x: x**2 - a, np.ones(1)).x[0], "least_squares"),
        (lambda a: so.newton(lambda x: x**3 - a, np.array([1.0, 2.0]))[0], "newton of an array"),
    ],
)
def test_traced_values_in_callbacks_are_seen(f: Any, name: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"scipy\.optimize\.{name} is not traced yet \(.*test_optimize\.py:\d+\)"):
        irgrad.grad(f)(2.0)
