"""Linear interpolation against scipy: values inside and outside, grids up and down, derivatives, compiled programs, refusals."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.interpolate as si

import irgrad
import irgrad.scipy.interpolate as ii
from irgrad.config import CONFIG
from irgrad.errors import TraceError, TraceValueError, UnsupportedError
from irgrad.frontend.graph_trace import GraphTrace
from irgrad.frontend.trace import EagerTrace, Trace
from irgrad.test_util import check_grads
from tests.support.tracing import traced_call

pytestmark = pytest.mark.filterwarnings("error")
RNG = np.random.default_rng(31)
X = np.array([0.0, 0.5, 1.5, 2.0, 4.0])
Y = RNG.normal(size=5)
Z = RNG.normal(size=(3, 5, 2))
U, V, W = np.array([0.0, 1.0, 3.0]), np.array([2.0, 1.0, 0.5, -1.0]), np.array([0.0, 1.0])
VALUES = RNG.normal(size=(3, 4, 2))
AT = np.array([0.0, 0.2, 0.5, 1.7, 3.9, 4.0])
FAR = np.array([-1.0, 0.2, 5.0, np.nan])
POINTS = np.column_stack([RNG.uniform(0, 3, 6), RNG.uniform(-1, 2, 6), RNG.uniform(0, 1, 6)])

Case = tuple[Callable[..., Any], tuple[Any, ...]]
CASES: list[Case] = [
    (lambda s, x, y, p: s.interp1d(x, y)(p), (X, Y, AT)),
    (lambda s, x, y, p: s.interp1d(x, y)(p), (X, Y, AT.reshape(2, 3))),
    (lambda s, x, y, p: s.interp1d(x, y)(p), (X, Y, 1.2)),
    (lambda s, x, y, p: s.interp1d(x[::-1], y)(p), (X, Y, AT)),
    (lambda s, x, z, p: s.interp1d(x, z, axis=1)(p), (X, Z, AT.reshape(2, 3))),
    (lambda s, x, y, p: s.interp1d(x, y, bounds_error=False)(p), (X, Y, FAR)),
    (lambda s, x, y, p: s.interp1d(x, y, bounds_error=False, fill_value=(-9.0, 9.0))(p), (X, Y, FAR)),
    (lambda s, x, y, p: s.interp1d(x, y, fill_value="extrapolate")(p), (X, Y, FAR)),
    (lambda s, x, z, p: s.interp1d(x, z, axis=1, bounds_error=False, fill_value=0.0)(p), (X, Z, FAR)),
    (lambda s, v, p: s.RegularGridInterpolator((U, V, W), v)(p), (VALUES, POINTS)),
    (lambda s, v, p: s.RegularGridInterpolator((U, V, W), v)(p), (VALUES, POINTS[0])),
    (lambda s, v, p: s.RegularGridInterpolator((U, V), v)(p[..., :2]), (VALUES, POINTS.reshape(2, 3, 3))),
    (lambda s, v, a, b: s.RegularGridInterpolator((U, V), v[..., 0])((a, b)), (VALUES, POINTS[:, :1], POINTS[:2, 1])),
    (lambda s, v, p: s.RegularGridInterpolator((U, V), v[..., 0], bounds_error=False)(p), (VALUES, POINTS[:, :2] + 1.0)),
    (lambda s, v, p: s.RegularGridInterpolator((U, V), v, bounds_error=False, fill_value=None)(p), (VALUES, POINTS[:, :2] + 1.0)),
    (lambda s, v, p: s.RegularGridInterpolator((X,), v)(p), (Y, AT)),
    (lambda s, u, v, p: s.interpn((u, V), v[..., 1], p), (U, VALUES, POINTS[:, :2])),
]


@pytest.mark.parametrize("kind", [GraphTrace, EagerTrace])
@pytest.mark.parametrize(("fn", "inputs"), CASES, ids=range(len(CASES)))
def test_agrees_with_scipy(fn: Callable[..., Any], inputs: tuple[Any, ...], kind: type[Trace]) -> None:
    want = np.asarray(fn(si, *inputs))
    got = traced_call(kind, partial(fn, ii), *inputs)
    assert np.shape(got) == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_derivatives() -> None:
    np.random.seed(1)
    inside = np.array([0.2, 1.7, 3.9])
    check_grads(lambda x, y, p: ii.interp1d(x, y)(p) ** 2, argnum=(0, 1, 2), order=2)(X, Y, inside)
    check_grads(lambda x, y, p: ii.interp1d(x, y, axis=1, fill_value="extrapolate")(p), argnum=(0, 1, 2), order=2)(
        X, Z, np.array([-1.0, 4.5])
    )
    check_grads(lambda u, v, p: ii.RegularGridInterpolator((u, V, W), v)(p) ** 2, argnum=(0, 1, 2), order=2)(U, VALUES, POINTS[:3])


def test_slopes_at_grid_points_and_outside() -> None:
    slope = irgrad.elementwise_grad(lambda p: ii.interp1d(X, Y)(p))(np.array([0.0, 0.5, 4.0]))
    rises = np.diff(Y) / np.diff(X)
    np.testing.assert_allclose(slope, rises[[0, 1, 3]])
    outside = irgrad.elementwise_grad(lambda p: ii.interp1d(X, Y, bounds_error=False, fill_value=0.0)(p))(np.array([-1.0, 1.0]))
    np.testing.assert_allclose(outside, [0.0, rises[1]])


def by_plain_scipy(values: Any, p: Any) -> Any:
    table = si.RegularGridInterpolator((U, V), values[..., 0])
    return np.sum(table(p) ** 2) + si.interp1d(X, Y)(p[0, 0])


MADE_BEFORE = ii.RegularGridInterpolator((U, V), VALUES[..., 0])


def test_programs_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONFIG, "evaluate", True)
    for f in (by_plain_scipy, lambda values, p: np.sum(MADE_BEFORE(p)) * values[0, 0, 0]):
        gradient = irgrad.grad(f, (0, 1))
        want = gradient(VALUES, POINTS[:, :2])
        jitted = irgrad.jit(gradient, compile_after=1)
        for _ in range(2):
            for got, should in zip(jitted(VALUES, POINTS[:, :2]), want, strict=True):
                np.testing.assert_allclose(got, should, rtol=1e-12, atol=1e-14)
        assert jitted.stats().eager_calls == 1


def test_plain_calls_are_scipys() -> None:
    assert MADE_BEFORE(POINTS[0, :2]) == si.RegularGridInterpolator((U, V), VALUES[..., 0])(POINTS[0, :2])
    assert ii.interp1d(X, Y, "cubic")(0.3) == si.interp1d(X, Y, "cubic")(0.3)
    assert ii.CubicSpline(X, Y)(0.3) == si.CubicSpline(X, Y)(0.3)


def test_refusals() -> None:
    for f, error, message in (
        (lambda p: ii.interp1d(X, Y)(p), TraceValueError, "above the interpolation range"),
        (lambda p: ii.interp1d(X, Y)(-p), TraceValueError, "below the interpolation range"),
        (lambda p: ii.RegularGridInterpolator((X,), Y)(p), TraceValueError, "out of bounds in dimension 0"),
        (lambda p: ii.RegularGridInterpolator((X,), p)(X), TraceValueError, "There are 5 points and 1 values"),
        (lambda p: ii.RegularGridInterpolator((U, V), VALUES[..., 0])(p), TraceValueError, "have dimension 1 but"),
        (lambda p: ii.interp1d(X, Y, "cubic")(p), UnsupportedError, r"scipy\.interpolate\.interp1d\(kind='cubic'\) is not traced yet"),
        (lambda p: ii.RegularGridInterpolator((X,), Y, "nearest")(p), UnsupportedError, "method='nearest'"),
        (lambda p: si.interp1d(X * p[0], Y, "cubic")(1.0), UnsupportedError, "cubic"),
        (lambda p: ii.splev(p, si.splrep(X, Y)), UnsupportedError, r"scipy\.interpolate\.splev is not traced yet"),
        (lambda p: ii.CubicSpline(X, Y)(p), TraceError, "plain numpy array"),
    ):
        with pytest.raises(error, match=message):
            irgrad.grad(lambda p, f=f: np.sum(f(p)))(np.array([7.0]))
