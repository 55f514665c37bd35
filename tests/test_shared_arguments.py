"""Arguments in the same memory that a function writes into, and arrays that take traced values although no derivative depends on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import errors
from irgrad.frontend.overlaps import find_groups
from irgrad.ir.primitive import REGISTRY

BASE = np.linspace(-1.0, 1.2, 24)
CUBE = BASE.reshape(2, 3, 4)
COMPLEX = BASE[:8] + 1j * BASE[8:16]
PATTERNS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "shifted": lambda: two(BASE, np.s_[0:4], np.s_[2:6]),
    "the same": lambda: two(BASE, np.s_[:5], np.s_[:5]),
    "one object": lambda: (lambda a: (a, a))(BASE[:5].copy()),
    "reversed": lambda: two(BASE, np.s_[5::-1], np.s_[0:4]),
    "row and matrix": lambda: two(CUBE[0], np.s_[1], np.s_[:, 1:]),
    "column and matrix": lambda: two(CUBE[1], np.s_[:, 2], np.s_[::2]),
    "strided": lambda: two(BASE, np.s_[::3], np.s_[::2]),
    "transposed": lambda: (lambda a: (a.T[1:], a[:, ::2]))(CUBE[0].copy()),
    "inner": lambda: (lambda a: (a[:, ::2, 1:], a[1]))(CUBE.copy()),
    "parts": lambda: (lambda z: (z.imag[1:], z))(COMPLEX.copy()),
    "interleaved": lambda: two(BASE, np.s_[::2], np.s_[1::2]),
    "apart": lambda: two(BASE, np.s_[:4], np.s_[4:8]),
}
APART = ("interleaved", "apart")
patterns = pytest.mark.parametrize("make", PATTERNS.values(), ids=PATTERNS)


def two(own: Any, first: Any, second: Any) -> tuple[Any, Any]:
    own = own.copy()
    return own[first], own[second]


def swap(a, b, w):
    """Writes into both, and reads what the other has got."""
    a *= w
    b[0] += a.ravel()[1] * w
    a[..., -1] = b[0].ravel()[0].real
    return a * 2.0 + w, b * w


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the traced function writes into its argument")
        yield


@patterns
@pytest.mark.parametrize("compile_after", [1, 2])
def test_numpys_result(make: Any, compile_after: int) -> None:
    want = swap(*make(), 3.0)
    compiled = irgrad.jit(swap, compile_after=compile_after)
    for _ in range(4):
        a, b = make()
        before = a.copy(), b.copy()
        for got, expected in zip(compiled(a, b, 3.0), want, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=1e-14)
        assert np.array_equal(a, before[0])
        assert np.array_equal(b, before[1])
    assert compiled.stats().eager_calls <= compile_after


def test_a_pattern_is_a_signature() -> None:
    compiled = irgrad.jit(swap, compile_after=1)
    for _ in range(2):
        for pattern in ("shifted", "apart", "the same"):
            a, b = PATTERNS[pattern]()
            a, b = (a[:4], b[:4])
            want = swap(*(lambda own: (own[0:4], own[{"shifted": 2, "apart": 4, "the same": 0}[pattern] :][:4]))(BASE.copy()), 0.5)
            for got, expected in zip(compiled(a, b, 0.5), want, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-14)
    assert compiled.stats().eager_calls == 3


def test_overlaps_that_are_not_written_cost_nothing() -> None:
    compiled = irgrad.jit(lambda a, b: a * b, compile_after=1)
    for a, b in (PATTERNS["shifted"](), PATTERNS["the same"](), (BASE[:4].copy(), BASE[2:6].copy())):
        np.testing.assert_array_equal(compiled(a[:4], b[:4]), a[:4] * b[:4])
    assert compiled.stats().traces == 1


def total(w, a, b):
    return sum(np.sum(np.abs(part) ** 2) for part in swap(a, b, w))


@patterns
def test_derivatives_of_other_arguments(make: Any) -> None:
    slope = (total(0.7 + 1e-6, *make()) - total(0.7 - 1e-6, *make())) / 2e-6
    for wrap in (lambda f: f, lambda f: irgrad.jit(f, compile_after=1)):
        gradient, second = wrap(irgrad.grad(total)), wrap(irgrad.grad(irgrad.grad(total)))
        bend = (irgrad.grad(total)(0.7 + 1e-5, *make()) - irgrad.grad(total)(0.7 - 1e-5, *make())) / 2e-5
        for _ in range(2):
            np.testing.assert_allclose(gradient(0.7, *make()), slope, rtol=1e-7)
            np.testing.assert_allclose(second(0.7, *make()), bend, rtol=1e-6)


@patterns
@pytest.mark.parametrize("argnum", [1, 2, (1, 2)])
def test_derivatives_of_the_arguments_themselves(make: Any, argnum: Any) -> None:
    """Not defined, where one array changes with the other; as ever, where they have no element in common."""
    apart = any(make is PATTERNS[name] for name in APART)
    for wrap in (lambda f: f, lambda f: irgrad.jit(f, compile_after=1)):
        gradient = wrap(irgrad.grad(total, argnum))
        if apart:
            alone = irgrad.grad(total, argnum)(0.7, *[part.copy() for part in make()])
            for got, want in zip(np.atleast_2d(gradient(0.7, *make())), np.atleast_2d(alone), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12)
        else:
            with pytest.raises(errors.DifferentiationError, match=r"swap writes into memory \(test_shared_arguments.py:\d+\)"):
                gradient(0.7, *make())


def test_what_is_no_view_is_refused() -> None:
    windows = np.lib.stride_tricks.as_strided(BASE.copy(), (6, 4), (8, 8))
    compiled = irgrad.jit(swap)
    with pytest.raises(errors.TraceError, match=r"swap writes into an argument, and .* pattern of strides .*\.py:\d+\); pass copies"):
        compiled(windows, windows[0], 2.0)
    mixed = BASE.copy()
    with pytest.raises(errors.TraceError, match=r"different dtypes \(float64, int64\) \(test_shared_arguments.py:\d+\)"):
        irgrad.jit(swap)(mixed, mixed.view(np.int64), 2.0)


def test_read_only_arguments_are_not_written() -> None:
    wide = np.broadcast_to(BASE[:3], (2, 3))
    fixed = BASE[:4].copy()
    fixed.flags.writeable = False
    for array in (wide, fixed):
        compiled = irgrad.jit(lambda a: swap(a, BASE[:3] * 1.0, 2.0), compile_after=1)
        own = np.array(array)
        for _ in range(2):
            compiled(own)
            for f in (compiled, irgrad.jit(compiled.fun), irgrad.elementwise_grad(lambda a: np.sum(compiled.fun(a)[0]))):
                with pytest.raises(ValueError, match="read-only"):
                    f(array)


def test_eager_calls_of_jitted_functions_leave_arguments_alone() -> None:
    """An impure function runs eagerly; its writes stay local to the call, and visible to arguments in the same memory."""
    count = [0]

    def counting(a, b):
        count[0] += 1
        a *= 2.0
        b[0] += a[1]
        return a + b

    compiled = irgrad.jit(counting)
    a, b = PATTERNS["shifted"]()
    want = counting(*PATTERNS["shifted"]())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            np.testing.assert_allclose(compiled(a, b), want, rtol=1e-14)
    assert compiled.impure
    assert np.array_equal(a, BASE[:4])


def random_views(rng: np.random.Generator) -> list[Any]:
    own = (rng.normal(size=rng.integers(1, 6, rng.integers(1, 4))) * 10).astype(rng.choice(["f8", "c16", "i4"]))
    views = []
    for _ in range(int(rng.integers(2, 5))):
        view = own
        for kind in rng.integers(0, 6, int(rng.integers(0, 4))):
            if kind <= 2:
                step, at = int(rng.choice([1, 1, 2, -1])), int(rng.integers(0, 3))
                view = view[tuple(slice(at if step > 0 else None, None, step) if n > at else slice(None) for n in view.shape)]
            elif kind == 3:
                view = view.T
            elif kind == 4 and view.dtype.kind == "c":
                view = view.real if rng.random() < 0.5 else view.imag
            elif view.ndim > 1:
                view = view[int(rng.integers(len(view)))]
        views.append(view)
    return views


def test_groups_describe_their_members(rng: np.random.Generator) -> None:
    found = 0
    for _ in range(400):
        views = random_views(rng)
        for group in find_groups(views):
            for member, steps in zip(group.members, group.steps, strict=True):
                made = group.base
                for name, params in steps:
                    made = REGISTRY[name].evaluate(made, **params) if params else getattr(made, name)
                np.testing.assert_array_equal(made, views[member])
                assert made.dtype == views[member].dtype
                assert np.shares_memory(made, group.base)
                found += 1
    assert found > 500


# ---- arrays without a derivative that take traced values, outside jit ----

U = np.array([1.0, 2.0, 3.0, 4.0])
X = np.array([0.3, 1.2, -0.4, 0.8])


def copied(x, u):
    a, b, c = u.copy(), u * 1.0, u.astype(np.float64)
    a[0] = x[0]
    b[1:] = x[1:]
    c[2] = a[0] * b[1]
    d, e, g = u.reshape(2, 2).copy(), np.zeros_like(u), U.copy()
    d[0] = x[:2]
    e[1] = x[1]
    g[3] = x[3] ** 2
    h = np.arange(4.0)
    h *= x
    np.add(h, x, out=h)
    np.add.at(g, [0, 0], x[:2])
    return np.sum(a * b * c) + np.sum(d**2) + np.sum(e) + np.sum(g * h)


def changed(x, u):
    u[0] += 1.0
    a = u.copy()
    a[1] = x[0] ** 2 * u[0]
    return np.sum(a * u)


def nested(x, state):
    v = state["v"].copy()
    for i in range(1, 4):
        v[i] = v[i - 1] * x[i] + state["w"][0][i]
    return np.sum(v)


@pytest.mark.parametrize(
    ("f", "other"),
    [(copied, lambda: U.copy()), (changed, lambda: U.copy()), (nested, lambda: {"v": U * 0.5, "w": [U * 2.0]})],
    ids=["copied", "changed", "nested"],
)
def test_plain_arrays_take_traced_values(f: Any, other: Any) -> None:
    slope = np.array([(f(X + h, other()) - f(X - h, other())) / 2e-6 for h in np.eye(4) * 1e-6])
    argument = other()
    for gradient in (irgrad.grad(f), irgrad.jit(irgrad.grad(f))):
        for _ in range(3):
            np.testing.assert_allclose(gradient(X, argument), slope, rtol=1e-8)
    np.testing.assert_allclose(irgrad.value_and_grad(f)(X, argument)[1], slope, rtol=1e-8)
    np.testing.assert_allclose(irgrad.make_jvp(f)(X, argument)(X)[1], slope @ X, rtol=1e-8)
    np.testing.assert_allclose(irgrad.hessian(f)(X, argument), irgrad.jit(irgrad.hessian(f))(X, argument), rtol=1e-12)
    for leaf, want in zip(*[irgrad.pytree.flatten(tree)[0] for tree in (argument, other())], strict=True):
        assert np.array_equal(leaf, want)


def test_random_numbers_are_drawn_once() -> None:
    def noisy(x, u):
        noise = np.random.normal(size=4)
        a = u.copy()
        a[0] = x[0]
        return np.sum(a * noise)

    np.random.seed(3)
    got = irgrad.grad(noisy)(X, U), np.random.normal()
    np.random.seed(3)
    noise = np.random.normal(size=4)
    assert np.array_equal(got[0], [noise[0], 0.0, 0.0, 0.0])
    assert got[1] == np.random.normal()


def test_what_no_second_run_helps_raises_the_first_error() -> None:
    kept = [np.zeros(4)]
    with pytest.raises(errors.ConcretizationError, match=r"float\(t\) would lose the derivative"):
        irgrad.grad(lambda x: x[0] * x[0].__float__())(X)
    with pytest.raises(errors.PlainArrayError, match=r"add\(out=\) with an array made outside"):
        irgrad.grad(lambda x: np.add(x, x, out=kept[0]).sum())(X)


def scaled(w, u):
    """Plain arrays that change after they were operands: local ones, an argument, a view of one."""
    t = u * 2.0
    y = w * t
    t += 1.0
    s = u[1:]
    z = w * s
    u[1] = 7.0
    n = np.array([2, 0, 1])
    picked = y[n]
    n[0] = 1
    return np.sum(y * t[0]) + np.sum(z) + np.sum(picked * y[n])


def test_operands_that_change_later() -> None:
    slope = (scaled(1.5 + 1e-6, U.copy()) - scaled(1.5 - 1e-6, U.copy())) / 2e-6
    u = U.copy()
    for gradient in (irgrad.grad(scaled), irgrad.jit(irgrad.grad(scaled))):
        for _ in range(3):
            np.testing.assert_allclose(gradient(1.5, u), slope, rtol=1e-8)
    assert np.array_equal(u, U)


def test_operands_can_be_written_when_the_call_is_over() -> None:
    u, whole = U.copy(), np.arange(8.0)
    for _ in range(2):
        irgrad.grad(lambda w: np.sum(w * u) + np.sum(np.sin(w) * whole[2:5]) + whole[3:][0] * w)(1.0)
        with pytest.raises(ZeroDivisionError):
            irgrad.grad(lambda w: np.sum(w * u) / (1 // 0))(1.0)
        u[0] += 1.0
        whole[3] = 0.0
        whole[2:5][0] = 1.0
