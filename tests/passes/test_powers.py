"""Powers that read their neighbours: which do, which stay, and that values and derivatives are those of powers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad

X = np.linspace(0.3, 2.7, 50)
Y = np.linspace(-2.0, 3.0, 50)


def ops(f: Callable[..., Any], *args: Any) -> list[str]:
    graph, _ = irgrad.optimized(irgrad.trace(f)(*args))
    return [node.op.name for node in graph.nodes() if "pow" in node.op.name]


def both(f: Callable[..., Any], argnum: Any = 0) -> Any:
    return irgrad.value_and_grad(lambda *args: np.sum(f(*args)), argnum)


@pytest.mark.parametrize("f", [lambda x: x**1.7, lambda x: x**-1.3, lambda x: np.power(x, 0.5 + 0.0 * x)], ids=["up", "down", "array"])
def test_a_power_and_its_derivative_are_one_power(f: Any) -> None:
    assert ops(both(f), X) == ["pow", "power_below"]


@pytest.mark.parametrize("n", [7, -5])
def test_whole_exponents_beyond_products(n: int) -> None:
    assert ops(both(lambda x: x**n), X) == ["integer_pow", "power_below"]


@pytest.mark.parametrize("f", [lambda x: x**3, lambda x: x**5, lambda x: 2.5**x, lambda x: x**1.5 + x**1.7], ids=["3", "5", "base", "two"])
def test_others_stay(f: Any) -> None:
    assert "power_below" not in ops(f, X)
    if f(2.0) < 33.0:
        assert ops(irgrad.grad(lambda x: np.sum(f(x))), X).count("power_below") == 0


def test_a_power_that_nobody_wants_is_not_kept_for_it() -> None:
    assert ops(irgrad.grad(lambda x: np.sum(x**1.7)), X) == ["pow"]


def test_complex_powers_stay() -> None:
    z = X + 0.5j
    assert "power_below" not in ops(irgrad.value_and_grad(lambda z: np.real(np.sum(z**1.7))), z)


def test_curvatures_read_slopes() -> None:
    def all_of(x: Any) -> Any:
        slope = irgrad.elementwise_grad(lambda x: x**3.7)
        return x**3.7, slope(x), irgrad.elementwise_grad(slope)(x)

    assert ops(all_of, X).count("pow") == 1
    fast = irgrad.jit(all_of).compile(X)
    for got, want in zip(fast(X), (X**3.7, 3.7 * X**2.7, 3.7 * 2.7 * X**1.7), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-15)


def near(got: Any, want: Any, x: Any) -> None:
    """Equal up to the rounding of y - 1, which the quotient does without: it counts by the logarithm of the base."""
    with np.errstate(all="ignore"):
        logs = np.abs(np.log(np.abs(x.astype(float))))
        bound = np.finfo(x.dtype).eps * (16 + 2 * np.where(np.isfinite(logs), logs, 0.0)) * np.abs(want)
        same = (
            (got == want)
            | (np.isnan(got) & np.isnan(want))
            | (np.abs(got - want) <= np.maximum(bound, np.finfo(x.dtype).smallest_subnormal))
        )
    assert same.all(), (x[~same], got[~same], want[~same])


HARD = [0.0, -0.0, 1.0, 2.0, 1e-300, 5e-324, 1e300, 1e-30, 1e30, np.inf, -np.inf, np.nan, -2.0, -1e-310]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("power", [1.7, -1.3, 0.3, 7, -6, 1.0, 40.5, 2.0])
def test_slopes_where_the_power_has_no_digits(power: float, dtype: str, rng: np.random.Generator) -> None:
    """Zeros, infinities, and powers that overflow or are subnormal where their slopes are not."""
    with np.errstate(all="ignore"):
        x = np.concatenate([HARD, 10.0 ** rng.uniform(-308, 308, 300), rng.uniform(0, 3, 50)]).astype(dtype)
        f = irgrad.value_and_grad(lambda x, p: np.sum(np.where(x == x, x**p, x)) if isinstance(p, float) else np.sum(x**power))
        jitted = irgrad.jit(f, static_argnums=1 if isinstance(power, int) else ())
        got = jitted.compile(x, power)(x, power)[1]
        want = f(x, power)[1]
    assert got.dtype == want.dtype
    near(got, want, x)


@pytest.mark.parametrize("exponents", [Y, np.zeros(50), np.ones(50), Y.astype("float32")], ids=["any", "zeros", "ones", "single"])
def test_exponents_that_are_data(exponents: Any) -> None:
    x = X.astype(exponents.dtype)
    x[:3] = [0.0, 1e-30, np.inf]
    f = both(lambda x, y: x**y, (0, 1))
    with np.errstate(all="ignore"):
        got, want = irgrad.jit(f).compile(x, exponents)(x, exponents), f(x, exponents)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-5 if exponents.dtype == np.float32 else 1e-14)
    for a, b in zip(got[1], want[1], strict=True):
        near(a, b, x)


def test_slopes_are_as_exact_as_powers(rng: np.random.Generator) -> None:
    mp = pytest.importorskip("mpmath")
    x = 10.0 ** rng.uniform(-100, 100, 400)
    slopes = irgrad.jit(both(lambda x: x**1.7)).compile(x)(x)[1]
    with mp.workprec(200):
        for point, slope in zip(x, slopes, strict=True):
            p = mp.mpf(1.7)
            truth = p * mp.mpf(point) ** mp.mpf(1.7 - 1.0)
            # the slope's exponent, 1.7 - 1 in float64, and that of the quotient differ by its rounding
            other = p * mp.mpf(point) ** (p - 1)
            assert min(abs(truth - slope), abs(other - slope)) <= 5 * mp.mpf(float(np.spacing(slope))), point
