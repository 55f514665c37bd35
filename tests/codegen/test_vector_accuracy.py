"""Errors of compiled functions in units in the last place, over all magnitudes: against mpmath; zeros, infinities and nan as numpy's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.special

import irgrad

mp = pytest.importorskip("mpmath")
Truth = Callable[[Any], Any]
LARGE = 1e4  # beyond it, functions of FAR are 0, 1, infinite or what their argument is: as numpy's

UNARY: dict[str, tuple[Truth, float]] = {  # the truth, and the largest error that is allowed
    "exp": (mp.exp, 4), "exp2": (lambda x: mp.power(2, x), 4), "expm1": (mp.expm1, 4), "log": (mp.log, 4), "log1p": (mp.log1p, 4),
    "log2": (lambda x: mp.log(x, 2), 4), "log10": (mp.log10, 4), "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), 4), "sin": (mp.sin, 4),
    "cos": (mp.cos, 4), "tan": (mp.tan, 4), "arcsin": (mp.asin, 4), "arccos": (mp.acos, 4), "arctan": (mp.atan, 4), "sinh": (mp.sinh, 4),
    "cosh": (mp.cosh, 4), "tanh": (mp.tanh, 2), "arcsinh": (mp.asinh, 4), "arccosh": (mp.acosh, 4), "arctanh": (mp.atanh, 4),
    "erf": (mp.erf, 4), "erfc": (mp.erfc, 4), "logit": (lambda x: mp.log(x / (1 - x)), 4), "expit": (lambda x: 1 / (1 + mp.exp(-x)), 4),
    "log_expit": (lambda x: -mp.log1p(mp.exp(-x)), 4),
}  # fmt: skip
BINARY: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "arctan2": (mp.atan2, 4), "hypot": (mp.hypot, 4), "power": (mp.power, 4),
    "logaddexp": (lambda x, y: max(x, y) + mp.log1p(mp.exp(-abs(x - y))), 4),
}  # fmt: skip
FAR = {"exp", "exp2", "expm1", "sinh", "cosh", "tanh", "expit", "log_expit", "erf", "erfc"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


def magnitudes(dtype: str, count: int) -> Any:
    """Numbers of both signs: of every size from the least subnormal on, near 0 and 1, and special ones."""
    info, rng = np.finfo(dtype), np.random.default_rng(3)
    exponents = np.linspace(np.log2(float(info.smallest_subnormal)), np.log2(float(info.max)) - 1, count)
    wide = 2.0**exponents * rng.uniform(1, 2, count)
    special = [0.0, np.inf, np.nan, info.tiny, info.smallest_subnormal, info.max, 1.0, 0.5, 1 + info.eps, 1 - info.epsneg]
    near = np.concatenate([wide, rng.uniform(0, 20, count), rng.uniform(0, 1.2, count), special])
    return np.concatenate([near, -near]).astype(dtype)


def ufunc(name: str) -> Any:
    return getattr(np, name, None) or getattr(scipy.special, name)


def worst(values: Any, numpys: Any, points: list[tuple[Any, ...]], truth: Callable[..., Any], is_exact: Callable[..., bool]) -> float:
    """The largest error; what is not finite, and points that `is_exact` chooses, have to be numpy's numbers."""
    largest = 0.0
    with mp.workprec(400):
        for value, numpys_value, at in zip(values, numpys, points, strict=True):
            finite = np.isfinite(numpys_value) and all(np.isfinite(x) for x in at)
            if not finite or is_exact(*at):
                assert value == numpys_value or (np.isnan(value) and np.isnan(numpys_value)), (at, value, numpys_value)
                continue
            exact = truth(*[mp.mpf(float(x)) for x in at])
            unit = float(np.spacing(np.abs(np.asarray(float(exact)).astype(values.dtype))))
            if np.isfinite(unit):
                largest = max(largest, float(abs(mp.mpf(float(value)) - exact) / mp.mpf(unit)))
    return largest


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", UNARY)
def test_one_argument(name: str, dtype: str) -> None:
    truth, bound = UNARY[name]
    x, call = magnitudes(dtype, 120), ufunc(name)
    numpys = call(x)
    values = irgrad.jit(lambda x: call(x)).compile(x)(x)
    assert values.dtype == numpys.dtype
    found = worst(values, numpys, [(each,) for each in x], truth, lambda x: name in FAR and abs(x) > LARGE)
    assert found <= bound, f"{name}: {found:.2f} ulp"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", BINARY)
def test_two_arguments(name: str, dtype: str) -> None:
    truth, bound = BINARY[name]
    x, call = magnitudes(dtype, 60), ufunc(name)
    y = np.random.default_rng(4).permutation(x)
    if name == "power":
        y = np.clip(y, -30, 30)
    if name == "logaddexp":  # but for sums that cancel
        kept = ~(np.abs(call(x, y)) < 0.5)
        x, y = x[kept], y[kept]
    numpys = call(x, y)
    values = irgrad.jit(lambda x, y: call(x, y)).compile(x, y)(x, y)
    points = list(zip(x, y, strict=True))

    def is_exact(x: Any, y: Any) -> bool:
        if name == "logaddexp":
            return abs(x - y) > 1e3
        return (x == 0 or y == 0) if name == "arctan2" else name == "power" and x <= 0

    found = worst(values, numpys, points, truth, is_exact)
    assert found <= bound, f"{name}: {found:.2f} ulp"


def test_the_normal_distribution_is_as_accurate_as_scipys() -> None:
    """Its lower tail multiplies the rounding of the argument by its square."""
    for dtype in ("float64", "float32"):
        x = magnitudes(dtype, 200)
        x = x[np.isfinite(x) & (np.abs(x) < (37 if dtype == "float64" else 13))]
        values = irgrad.jit(lambda x: scipy.special.ndtr(x)).compile(x)(x)
        assert values.dtype == x.dtype
        with mp.workprec(300):
            for point, value in zip(x, values, strict=True):
                truth = mp.erfc(-mp.mpf(float(point)) / mp.sqrt(2)) / 2
                conditioned = 3 + (2 * float(point) ** 2 if point < 0 and dtype == "float64" else 0)
                unit = float(np.spacing(np.asarray(float(truth)).astype(dtype)))
                assert abs(mp.mpf(float(value)) - truth) <= conditioned * unit, point
    far = np.array([np.inf, -np.inf, 0.0])
    assert np.array_equal(irgrad.jit(lambda x: scipy.special.ndtr(x)).compile(far)(far), [1.0, 0.0, 0.5])
