"""Writes into arrays: small plain-numpy programs, as numpy, eager and compiled, and their derivatives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import irgrad
from tests.support.differences import differences, scalar_of

V = np.array([0.7, 1.3, -0.4, 2.1])
M = np.linspace(-1.0, 1.4, 16).reshape(4, 4) + np.diag([4.0, 3.0, 5.0, 4.5])
INDEX = np.array([2, 0, 2])


def item(x):
    a = x * 1.0
    a[1] = x[0] * x[2]
    a[-1] = 3.0
    return a


def filled(x):
    a = np.zeros(4)
    for i in range(4):
        a[i] = x[i] ** 2
    return a


def recurrence(x):
    a = np.empty(4)
    a[0] = x[0]
    for i in range(1, 4):
        a[i] = np.sin(a[i - 1]) + x[i] * a[i - 1]
    return a


def slices(x):
    a = np.zeros(8)
    a[::2] = x
    a[1::2] = x[::-1] * 2
    a[2:5] += a[:3]
    a[-1:3:-2] *= 2
    return a


def overlap(x):
    y = x * 2.0
    y[:2] = y[1:3]
    y[1:] = y[:-1]
    return y


def aliases(x):
    a = x * 1.0
    b = a
    b[0] = 5.0 * x[1]
    c = a[1:]
    c[0] = a[0] * x[3]
    d = c[1:]
    d[:] = d * a[1]
    a[3] += c[0]
    return np.concatenate([a, b, c, d])


def stale_view(x):
    a = x * 1.0
    v = a[1:3]
    s = np.sum(v)
    a *= 2.0
    return np.concatenate([v * s, a])


def copies(x):
    a = x * 1.0
    parts = [
        a.copy(),
        np.array(a),
        np.copy(a),
        a.flatten(),
        a.astype(float),
        np.concatenate([a]),
        np.roll(a, 0),
        np.tile(a, 1),
        np.repeat(a, 1),
        np.stack([a])[0],
    ]
    a[0] = 9.0
    for k, p in enumerate(parts):
        p[1] = k * x[2]
    return np.concatenate([a, *parts])


def augmented(x):
    a = x * 1.0
    a += x
    a -= 0.5
    a *= a
    a /= 3.0
    a **= 2
    b = a[1:]
    b *= 2.0
    return a


def augmented_items(x):
    a = np.ones((3, 4))
    a[1] += x
    a[:, 2] *= x[:3]
    a[0, 0] -= x[3]
    a[1:, 1:3] /= x[1]
    return a


def scalars_rebind(x):
    s = x[0]
    t = s
    s += x[1]
    return np.array([s, t])


def rows(x):
    a = np.zeros((4, 4))
    a[0] = x
    a[:, 1] = x * 2
    a[2, 1:] = x[1:] ** 2
    a[3, ...] = 1.0
    a[..., 3] = x[::-1]
    return a


def newaxes(x):
    a = np.zeros((4, 3))
    a[:, None, 1] = x[:, None]
    a[1:2, 0] = x[None, :1]
    b = a[:, None]
    b[:, 0, 2] = x * 3
    return a


def fancy(x):
    a = np.zeros((4, 4))
    a[[0, 2]] = x
    a[np.array([1, 3]), np.array([2, 0])] = x[:2]
    a[1:, [0, 3]] = x[1:, None]
    a[INDEX, 1] = x[:3]
    return a


def fancy_added(x):
    a = np.zeros(4)
    a[INDEX] += x[:3]
    np.add.at(a, INDEX, x[1:])
    np.subtract.at(a, [1, 1], x[0])
    return a


def fancy_view(x):
    a = np.zeros((4, 4))
    a.T[1:][INDEX] = x
    return a


def masks(x):
    a = x * 1.0
    a[a < 1.0] = 0.5
    a[a > 2.0] *= x[0]
    b = np.outer(x, x)
    b[b < 0] = x[1]
    b[x > 0] += 1.0
    return np.append(a, b)


def traced_index(x):
    a = x * 1.0
    a[np.argmax(x)] = x[0] * 7
    a[np.argsort(x)] = np.cumsum(x)
    return a


def transposed(x):
    a = np.zeros((4, 3))
    t = a.T
    t[1] = x
    t[:, 2] *= x[:3]
    t[0, 1:3] = x[:2]
    a.T[2][1:] = x[1:]
    return a


def reshaped(x):
    a = np.zeros((2, 4))
    r = a.reshape(4, 2)
    r[1] = x[:2]
    r[3, 0] = x[2]
    f = a.ravel()
    f[5] = x[3]
    f[::3] += x[:3]
    np.squeeze(a[:1])[1:3] = x[1:3]
    return a


def reshape_of_written(x):
    a = np.zeros((2, 4))
    a[0, 0] = 1.0
    copied = a[:, ::2].reshape(-1)
    copied[:] = x
    shared = a.reshape(-1)
    shared[4:] = x
    a[1] *= 2
    return np.concatenate([copied, shared])


def at_ufuncs(x):
    a = x * 1.0
    np.multiply.at(a, [0, 2, 0, 0], x * 1.5)
    np.negative.at(a, [1, 1, 3])
    np.maximum.at(a, [True, False, True, False], x[:2])
    b = np.ones((2, 3))
    np.power.at(b, (0, [1, 1, 2]), x[1])
    np.multiply.at(b, (slice(None), [0, 0]), np.sin(x[:2]))
    return np.concatenate([a, np.ravel(b)])


def whole(x):
    a = np.empty(4)
    a[:] = x * 2
    b = np.empty((2, 4))
    b[...] = a
    b[:, :] += x
    a.fill(x[1])
    c = np.empty_like(x)
    np.copyto(c, x * 3)
    np.copyto(c, 0.0, where=x < 0)
    return np.concatenate([a, b.ravel(), c])


def diagonals(x):
    a = np.outer(x, x)
    np.fill_diagonal(a, x[1])
    b = np.eye(4)
    np.fill_diagonal(b, x)
    b[np.arange(4), np.arange(4)] *= x
    return a + b


def puts(x):
    a = x * 1.0
    np.put(a, [0, 2], x[1:3] * 2)
    b = np.outer(x, x)
    b.put([1, 5], x[3])
    return np.append(a, b)


def sorted_in_place(x):
    a = x * 2.0
    v = a[1:]
    a.sort()
    return a[:3] * v


def outs(x):
    a = np.empty(4)
    np.multiply(x, 2.0, out=a)
    np.add(a, x, a)
    np.exp(a, out=a, where=x > 1)
    b = np.zeros(())
    np.sum(x, out=b)
    return np.append(a, b)


def zero_dimensional(x):
    a = np.array(1.5)
    b = a
    a[...] = x[0]
    a += x[1]
    a[()] *= 2.0
    return np.stack([a, b])


def integers(x):
    n = np.zeros(4, int)
    n[1] = 7
    n[2] = 2.9
    n[3:] += 2
    return x * n


def casts(x):
    a = np.zeros(4, complex)
    a[1:] = x[1:]
    a[0] = x[0] * 1j
    b = np.zeros(4, np.float32)
    b[:] = x
    return np.abs(a) + b.astype(float)


def read_between(x):
    a = x * 1.0
    total = np.sum(a * a)
    a[0] = total
    total = np.sum(np.exp(a * 0.1) * a)
    a[1] = total
    return a * a


def swap(x):
    a = x * 1.0
    a[0], a[2] = a[2] * 1.0, a[0] * 2.0
    a[[1, 3]] = a[[3, 1]]
    return a


def gauss_seidel(a):
    u = np.zeros((4, 4))
    for _ in range(3):
        for i in range(1, 3):
            for j in range(1, 3):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] + a[i, j])
    return u


def jacobi(a):
    u = a.copy()
    for _ in range(3):
        u[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return u


def lu(a):
    a = a.copy()
    n = len(a)
    for k in range(n):
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a


def cholesky(a):
    a = a @ a.T
    low = np.zeros_like(a)
    for i in range(4):
        for j in range(i + 1):
            s = a[i, j] - low[i, :j] @ low[j, :j]
            low[i, j] = np.sqrt(s) if i == j else s / low[j, j]
    return low


def rows_of_views(a):
    b = a * 1.0
    for row in b:
        row *= row[0]
    for i in range(4):
        r = b[i]
        r[i] = r.sum()
    return b


def parts(x):
    z = np.zeros(4, complex)
    z.real = x
    z.imag[1:] = x[:3] ** 2
    z.real[0] += x[3]
    z.imag *= 2.0
    r = z.real
    r[2] = x[0] * r[1]
    z[3] = z[2] * z[1]
    r += 1.0
    np.multiply(x, 3.0, out=z.imag[:])
    z.T[1:].real[::-1] = x[1:]
    return np.concatenate([z.real, r, z.imag * z.real, np.abs(z)])


def parts_of_views(x):
    z = (x * (1 + 2j)).reshape(2, 2)
    z.real.reshape(-1)[1] = 5 * x[2]
    z.imag.T[0] = x[:2]
    np.add.at(z.real, ([0, 1, 0], [1, 1, 1]), x[:3])
    z.real[z.real > 1] = x[0]
    np.real(z)[1, 1:] *= 2.0
    z[0].imag.fill(2.0)
    z.imag.sort()
    np.copyto(z.real, x.reshape(2, 2), where=np.array([[True, False], [False, True]]))
    z[0].real[...] = z[1].imag
    w = np.array(x[0] + 2j)
    w.real += x[1]
    w.imag = x[2]
    p = w.imag
    p += 1.0
    return np.append(np.abs(z * w), z.imag)


def parts_of_real(x):
    x = x * 1.0
    x.real = x[::-1] * 2
    x.real[1] = 3.0
    x.real += 1.0
    return x


def ravels(x):
    a = x.reshape(2, 2) * 1.0
    strided, turned, whole, rows = x[:] * 1.0, a.T.ravel(), a.ravel(), a.T.ravel("F")
    strided[::2].ravel()[0] = 5.0
    strided[::2].reshape(-1)[1] = x[0]
    turned[1], whole[2], rows[3] = 7.0 * x[1], x[3] ** 2, x[0] * x[1]
    z = x * 1j
    z.imag.ravel()[0] = 3.0
    z.real.reshape(-1)[1] = x[2]
    return np.concatenate([strided, a.ravel(), turned, np.abs(z)])


def orders(x):
    """Functions that copy what is not in a row, and answer the array itself otherwise."""
    a = np.outer(x, x)
    np.ascontiguousarray(a)[0] = 1.0
    np.ascontiguousarray(a.T)[1] = 5.0
    np.asfortranarray(a)[2] = 4.0
    np.asfortranarray(a.T)[2] = x
    a[0].conj()[1] = 3.0
    np.conj(a[0])[2] = 3.0
    return a


def diagonal_views(x):
    a = np.outer(x, x)
    views = [np.diagonal(a), a.T.diagonal(1), np.diagonal(a[1:, 1:]), a[::2, ::-1].diagonal(), a[:, 1:].diagonal(axis1=1, axis2=0)]
    np.einsum("ii->i", a)[1:] = x[1:]
    np.einsum("ii->i", a[1:, 1:])[...] *= x[1:]
    np.einsum("ii->i", a[:3].T[1:])[1:] = x[0]
    a[0] *= x[1]
    a[2, 1] = 7.0 * x[0]
    return np.concatenate([*views, a.ravel()])


def flat_places(x):
    a = np.zeros((2, 3, 2))
    t = a.T
    t.flat[5] = x[0]
    t.flat[-1] += x[1]
    a.flat[1:7:2] = x[:3]
    a.flat[[0, 8]] = x[2] * x[3]
    b = np.zeros((2, 2))
    b.flat = x
    b.T.flat = [x[0], 2.0]
    return np.concatenate([a.flat[2:], [v * 2.0 for v in t.flat], b.flat[:]])


PROGRAMS = [(f, V) for f in (
    item, filled, recurrence, slices, overlap, aliases, stale_view, copies, augmented, augmented_items, scalars_rebind, rows, newaxes,
    fancy,
    fancy_added, at_ufuncs,
    fancy_view, masks, traced_index, transposed, reshaped, reshape_of_written, whole, diagonals, puts, sorted_in_place, outs,
    zero_dimensional, integers, casts, read_between, swap, parts, parts_of_views, parts_of_real, ravels,
    orders, diagonal_views, flat_places,
)] + [(f, M) for f in (gauss_seidel, jacobi, lu, cholesky, rows_of_views)]  # fmt: skip


@pytest.mark.parametrize(("f", "x"), PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_program(f: Any, x: Any) -> None:
    x = x.copy()
    kept = x.copy()
    want = f(x.copy())
    scalar = scalar_of(f)
    slope = differences(scalar, x)
    tolerance = {"rtol": 1e-5, "atol": 1e-6}
    if f is casts:
        slope = np.sign(x) * np.sin(1.0 + np.arange(4)) + np.sin(1.0 + np.arange(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        np.testing.assert_allclose(irgrad.grad(scalar)(x), slope, **tolerance)
        compiled, derivative = irgrad.jit(f), irgrad.jit(irgrad.grad(scalar))
        for _ in range(3):
            np.testing.assert_allclose(compiled(x), want, rtol=1e-13, atol=1e-14)
            np.testing.assert_allclose(derivative(x), slope, **tolerance)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize(
    ("f", "x"),
    [(recurrence, V), (aliases, V), (stale_view, V), (fancy, V), (parts, V), (parts_of_views, V), (lu, M), (jacobi, M)],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_second_order(f: Any, x: Any) -> None:
    first = irgrad.grad(scalar_of(lambda x: f(np.sin(x)) if f is not lu else f(x)))
    direction = np.cos(np.arange(x.size)).reshape(x.shape)

    def along(x):
        return np.sum(first(x) * direction)

    h = 1e-6
    want = (first(x + h * direction) - first(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(irgrad.grad(along)(x), want, rtol=1e-5, atol=1e-5)
    compiled = irgrad.jit(irgrad.grad(along))
    for _ in range(3):
        np.testing.assert_allclose(compiled(x), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("f", "x"), [(recurrence, V), (slices, V), (fancy, V), (masks, V), (transposed, V)], ids=lambda p: getattr(p, "__name__", "")
)
def test_forward(f: Any, x: Any) -> None:
    t = np.cos(np.arange(x.size)).reshape(x.shape)
    want = (f(x + 1e-6 * t) - f(x - 1e-6 * t)) / 2e-6
    _, got = irgrad.make_jvp(f)(x)(t)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.multiply, np.maximum, np.divide])
@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.float32])
@pytest.mark.parametrize("value", [0.5, 3, np.array([0.5, 2.7]), np.array([300, 1])], ids=str)
def test_at_casts_results_to_the_dtype_of_the_array(ufunc: Any, dtype: Any, value: Any) -> None:
    """As numpy does, without a rule of casting: each of two sums of 0.5 to a whole number is rounded."""

    def program(x: Any) -> Any:
        made = x.astype(dtype)
        ufunc.at(made, [0, 1, 0][: 2 if np.ndim(value) else 3], value)
        return made

    x = np.array([3.0, -6.0, 7.0])
    expected = program(x)
    for got in (irgrad.jit(program).compile(x)(x), irgrad.jit(program)(x)):
        np.testing.assert_array_equal(got, expected, strict=True)
