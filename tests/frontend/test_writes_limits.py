"""Writes into arguments and captured arrays, writes that are refused, and what must not grow."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import errors
from tests.support.differences import differences, scalar_of

V = np.array([0.7, 1.3, -0.4, 2.1])


# ---- arguments and captured arrays ----

W = np.ones(4)


def test_write_to_an_argument_is_local() -> None:
    def f(x):
        x[0] = x[1] * 2.0
        return np.sum(x**2)

    x = V.copy()
    want = differences(lambda x: f(x.copy()), V)
    with pytest.warns(RuntimeWarning, match=r"writes into its argument \(.*test_writes_limits.py:\d+"):
        np.testing.assert_allclose(irgrad.grad(f)(x), want, atol=1e-6)
    compiled = irgrad.jit(f)
    with pytest.warns(RuntimeWarning, match="caller's array stays as it is"):
        assert compiled(x) == pytest.approx(f(V.copy()))
    np.testing.assert_array_equal(x, V)


def test_arguments_that_overlap_and_copies_of_them() -> None:
    def f(a, b):
        a[0] = 5.0 * b[1]
        a[1] *= 2.0
        return np.sum(a * b)

    fast = irgrad.jit(f)
    whole = np.arange(1.0, 7.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            own = whole.copy()
            assert fast(whole[:3], whole[1:4]) == f(own[:3], own[1:4])
            assert fast(whole[:3].copy(), whole[1:4]) == f(whole[:3].copy(), whole[1:4].copy())
    assert np.array_equal(whole, np.arange(1.0, 7.0))
    assert fast.stats().calls > fast.stats().eager_calls


def test_write_to_an_argument_that_reaches_no_output() -> None:
    def f(x):
        x[0] = 1.0

    with pytest.raises(errors.TraceError, match="the call would do nothing"), pytest.warns(RuntimeWarning):
        irgrad.jit(f)(V.copy())


def test_write_to_a_captured_array() -> None:
    def f(x):
        W[0] = x[0]
        return np.sum(W)

    with pytest.raises(errors.TraceError, match=r"writes into W .*np.copy\(W\)"):
        irgrad.jit(f)(V)
    np.testing.assert_array_equal(W, np.ones(4))


# ---- errors ----


def out_of_range(x):
    a = np.zeros(3)
    a[3] = x[0]
    return a


def out_of_range_array(x):
    a = np.zeros(3)
    a[[0, 3]] = x[0]
    return a


def wrong_shape(x):
    a = np.zeros(3)
    a[:2] = x[:3]
    return a


def wrong_dtype(x):
    a = x * 2.0
    a += 1j
    return a


def grows(x):
    a = x * 2.0
    a += np.ones((2, 4))
    return a


def read_only(x):
    a = np.broadcast_to(x, (2, 4))
    a[0, 0] = 1.0
    return a


def item_of_scalar(x):
    s = x[0]
    s[0] = 1.0
    return s


@pytest.mark.parametrize(("f", "kind", "text"), [
    (out_of_range, IndexError, "index 3 is out of bounds for axis 0 with size 3"),
    (out_of_range_array, IndexError, "index 3 is out of bounds for axis 0 with size 3"),
    (wrong_shape, ValueError, r"could not broadcast input array from shape \(3,\) into shape \(2,\)"),
    (wrong_dtype, TypeError, "Cannot cast ufunc 'add' output from dtype"),
    (grows, ValueError, "non-broadcastable output operand with shape"),
    (read_only, ValueError, "assignment destination is read-only"),
    (item_of_scalar, TypeError, "does not support item assignment"),
])  # fmt: skip
def test_errors(f: Any, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        f(V)
    for run in (irgrad.grad(scalar_of(f)), irgrad.jit(f)):
        with pytest.raises(kind, match=text) as caught:
            run(V)
        assert isinstance(caught.value, errors.TraceError)


# ---- what must not grow ----


def test_kernels_do_not_depend_on_the_trip_count() -> None:
    def element_writes(count: int) -> Any:
        def f(x):
            a = np.zeros(64)
            a[0] = x[0]
            for i in range(1, count):
                a[i] = np.sin(a[i - 1]) * x[i]
            return np.sum(a)

        return irgrad.jit(irgrad.grad(f), compile_after=1)

    x = np.linspace(0.5, 1.5, 64)
    short, long = element_writes(12), element_writes(40)
    for f in (short, long):
        f(x)
        f(x)
    assert short.stats().kernels == long.stats().kernels


@pytest.mark.parametrize(
    ("f", "error", "message"),
    [
        (lambda x: setattr(x.sum() * 1j, "real", 1.0), AttributeError, "not writable"),
        (lambda x: setattr(x * 1.0, "imag", 1.0), TypeError, "imaginary part"),
        (lambda x: (x * 1.0).imag.fill(1.0), ValueError, "read-only"),
        (lambda x: (x * 1j).real.__setitem__(slice(None), 1j * x[:3]), ValueError, "could not broadcast"),
        (lambda x: (x * 1j).imag.__setitem__(4, 1.0), IndexError, "out of bounds"),
        (lambda x: np.diagonal(np.outer(x, x)).__setitem__(0, x[0]), ValueError, "read-only"),
        (lambda x: np.outer(x, x).flat.__setitem__(16, 1.0), IndexError, "out of bounds"),
    ],
)
def test_bad_writes_to_parts(f: Any, error: type[Exception], message: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message):
            f(V.copy())
        for wrap in (irgrad.grad, irgrad.jit):
            with pytest.raises(error, match=message):
                wrap(f)(V)


def test_diagonals_that_cannot_be_views_are_read_only() -> None:
    def f(x):
        a = np.ones((2, 3, 4)) * x[0]
        np.einsum("kii->ki", a[:, :, :3])[0] = 1.0
        return np.sum(a)

    for wrap in (irgrad.grad, irgrad.jit):
        with pytest.raises(ValueError, match="read-only"):
            wrap(f)(V)


def through_views(x):
    """A recurrence that reads and writes elements through views only."""
    z = np.zeros(len(x), complex)
    a = np.zeros((2, len(x)))
    v, re, row, flat = a.T[:, 1], z.real, a[0], a.reshape(-1)
    v[0] = re[0] = x[0]
    for i in range(1, len(x)):
        re[i] = re[i - 1] * 0.5 + v[i - 1]
        z.imag[i] = flat[len(x) + i - 1] * x[i]
        v[i] = np.sin(v[i - 1]) + z.imag[i]
        row[i] = v[i] * re[i]
    return np.sum(np.abs(z) ** 2) + np.sum(a)


def test_reads_through_views_cost_what_they_read() -> None:
    """No operation on a whole array is left in the loop: what a call computes grows with the length, not its square."""
    flops = []
    for n in (100, 200):
        x = np.linspace(-0.3, 0.3, n)
        compiled = irgrad.jit(irgrad.grad(through_views)).compile(x)
        np.testing.assert_allclose(compiled(x), irgrad.grad(through_views)(x), rtol=1e-12)
        flops.append(compiled.variants[0].program.flops)
    assert flops[1] < 2.2 * flops[0]
    np.testing.assert_allclose(irgrad.grad(through_views)(V * 0.3), differences(through_views, V * 0.3), rtol=1e-5)
