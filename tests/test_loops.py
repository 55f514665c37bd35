"""`scan`, `fori_loop`, `while_loop`, `cond` and `checkpoint`: values and derivatives are those of the same program with Python's own
`for`, `while` and `if`, eager and compiled, in both modes and to second order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.pytree import flatten, tree_map
from irgrad.test_util import check_grads
from tests.support.loops import Plain, Structured, python_fori, python_scan

Program = tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]


def assert_close(found: Any, expected: Any, tol: float = 1e-9) -> None:
    leaves, structure = flatten(found)
    wanted, other = flatten(expected)
    assert structure == other
    for a, b in zip(leaves, wanted, strict=True):
        assert np.shape(a) == np.shape(b) and np.result_type(a) == np.result_type(b)
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


# ---- programs: functions of the loops' namespace ----


def recurrence(L: Any) -> Any:
    def f(p: Any, x: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = np.sin(c * p) + x
            return c, c * x

        c, ys = L.scan(step, 0.5, x)
        return c * np.sum(ys**2)

    return f


def rnn(L: Any, **options: Any) -> Any:
    def f(w: Any, h: Any) -> Any:
        xs = np.linspace(-1.0, 1.0, 15).reshape(5, 3)

        def step(h: Any, x: Any) -> Any:
            h = np.tanh(w["W"] @ h + w["U"] @ x + w["b"])
            return h, {"square": np.sum(h**2), "first": h[:2]}

        h, ys = L.scan(step, h, xs, **options)
        return np.sum(h) + np.mean(ys["square"]) + np.sum(ys["first"] ** 3)

    return f


def backwards(L: Any) -> Any:
    def f(x: Any, y: Any) -> Any:
        (a, b), ys = L.scan(lambda c, r: ((c[0] * r[0] + c[1], c[1] * 0.9), c[0] * r[1]), (1.0, x[0]), (x, y), reverse=True)
        return a * b + np.sum(np.cos(ys) * np.arange(len(ys)))

    return f


def nested(L: Any) -> Any:
    def f(w: Any, x: Any) -> Any:
        def outer(h: Any, x: Any) -> Any:
            h, hs = L.scan(lambda h, m: (np.tanh(m @ h), h), h + x, w)
            return h, np.sum(hs**2)

        h, ys = L.scan(outer, np.ones(2), x)
        return np.sum(h) + np.sum(ys)

    return f


def unrolled_around(L: Any) -> Any:
    def f(p: Any) -> Any:
        c = 1.0
        for k in range(3):
            c, _ = L.scan(lambda c, x: (np.tanh(c * p[k] + x), c), c, np.arange(4.0) * k)
        return c + p[0]

    return f


def unrolled_inside(L: Any) -> Any:
    def f(p: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            for k in range(3):
                c = np.tanh(c * p[k] + 0.1 * k)
            return c, None

        return np.sum(L.scan(step, p, None, 4)[0])

    return f


def choices(L: Any) -> Any:
    def f(x: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            c = L.cond(x > 0, lambda c, x: np.sin(c) * x, lambda c, x: c * 2 + x**2, c, x)
            return c, c

        return np.sum(L.scan(step, 0.3, x)[1] ** 2)

    return f


def counted(L: Any) -> Any:
    return lambda w, v: np.sum(L.fori_loop(0, 4, lambda i, v: np.tanh(v * w[i] + i), v))


def root(L: Any) -> Any:
    return lambda a: L.while_loop(lambda x: np.abs(x * x - a) > 1e-9 * a, lambda x: 0.5 * (x + a / x), a)


def written(L: Any) -> Any:
    def f(x: Any) -> Any:
        def step(c: Any, k: Any) -> Any:
            c = c.copy()
            c[0] += x[0] * c[1]
            c[1:] = c[:-1] * 0.5
            return c, np.sum(c)

        c, ys = L.scan(step, x * 1.0, np.arange(4))
        return np.sum(c) + np.sum(ys**2)

    return f


def solves(L: Any) -> Any:
    def f(a: Any, x: Any) -> Any:
        return np.sum(L.scan(lambda c, x: (np.linalg.solve(a, c) + x, np.dot(c, c)), x[0], x)[1])

    return f


_W = {"W": np.array([[0.2, -0.4], [0.3, 0.5]]), "U": np.array([[0.1, 0.5, -0.3], [0.7, -0.2, 0.4]]), "b": np.array([0.1, -0.1])}
_M = np.sin(np.arange(12.0)).reshape(3, 2, 2) * 0.6
_V = np.array([0.3, -0.8, 1.1, 0.4])

PROGRAMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "recurrence": (recurrence, (0.9, _V)),
    "rnn": (rnn, (_W, np.array([0.2, -0.3]))),
    "rnn_checkpoint": (lambda L: rnn(L, checkpoint=2), (_W, np.array([0.2, -0.3]))),
    "rnn_checkpoint_reverse": (lambda L: rnn(L, checkpoint=True, reverse=True), (_W, np.array([0.2, -0.3]))),
    "backwards": (backwards, (_V, _V[::-1].copy())),
    "nested": (nested, (_M, np.cos(np.arange(8.0)).reshape(4, 2))),
    "unrolled_around": (unrolled_around, (_V,)),
    "unrolled_inside": (unrolled_inside, (_V,)),
    "choices": (choices, (_V,)),
    "counted": (counted, (np.sin(np.arange(8.0)).reshape(4, 2), np.array([0.5, 0.7]))),
    "root": (root, (7.0,)),
    "written": (written, (_V,)),
    "solves": (solves, (np.array([[2.0, 0.5], [0.3, 1.5]]), np.cos(np.arange(6.0)).reshape(3, 2))),
}


def everything(f: Any, count: int) -> dict[str, Any]:
    """The derivatives that are compared, all functions of the same arguments."""
    places = tuple(range(count))

    def squares(*args: Any) -> Any:
        return sum(np.sum(leaf**2) for leaf in flatten(irgrad.grad(f, places)(*args))[0])

    def forward(*args: Any) -> Any:
        return irgrad.make_jvp(f)(*args)(tree_map(lambda leaf: np.cos(leaf) + 0.5, args[0]))

    def mixed(*args: Any) -> Any:
        return irgrad.grad(lambda *a: forward(*a)[1], places)(*args)

    return {
        "value": f, "value_and_grad": irgrad.value_and_grad(f, places), "forward": forward, "second": irgrad.grad(squares, places),
        "mixed": mixed,
    }  # fmt: skip


@pytest.mark.parametrize("what", ["value", "value_and_grad", "forward", "second", "mixed"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_pythons_own_loop(name: str, what: str) -> None:
    make, args = PROGRAMS[name]
    expected = everything(make(Plain), len(args))[what](*args)
    structured = everything(make(Structured), len(args))[what]
    tol = 1e-6 if name == "root" else 1e-9
    assert_close(structured(*args), expected, tol)
    fast = irgrad.jit(structured).compile(*args)
    assert_close(fast(*args), expected, tol)
    assert fast.stats().eager_calls == 0 and fast.stats().host_calls == 0


@pytest.mark.parametrize("name", ["recurrence", "rnn", "backwards", "nested", "choices", "counted"])
def test_central_differences(name: str) -> None:
    make, args = PROGRAMS[name]
    np.random.seed(1)
    check_grads(make(Structured), modes=["fwd", "rev"], order=2)(*args)


@pytest.mark.parametrize("transform", [irgrad.hessian, irgrad.jacobian], ids=["hessian", "jacobian"])
def test_matrices_of_derivatives(transform: Any) -> None:
    def f(L: Any) -> Any:
        def g(x: Any) -> Any:
            c, ys = L.scan(lambda c, x: (np.sin(c * x) + c, c**2 * x), x[0], x)
            return c * np.sum(ys**2) if transform is irgrad.hessian else ys * c

        return g

    expected = transform(f(Plain))(_V)
    assert_close(transform(f(Structured))(_V), expected)
    assert_close(irgrad.jit(transform(f(Structured))).compile(_V)(_V), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_dtypes(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=4).astype(dtype)
    if x.dtype.kind == "c":
        x = x + (1j * rng.normal(size=4)).astype(dtype)

    def f(L: Any) -> Any:
        def g(x: Any) -> Any:
            c, ys = L.scan(lambda c, x: (c * x, c + x), x[0] * 0 + 1, x)
            return np.real(c * np.sum(ys))

        return g

    expected = irgrad.grad(f(Plain))(x)
    tol = 1e-4 if x.dtype.itemsize <= 8 and dtype != np.float64 else 1e-9
    assert_close(irgrad.grad(f(Structured))(x), expected, tol)
    assert_close(irgrad.jit(irgrad.grad(f(Structured))).compile(x)(x), expected, tol)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.bool_, np.float16])
def test_values_of_other_dtypes(dtype: Any) -> None:
    """Carries and rows of a few bytes; float16 has no kernels, so Python runs the iterations."""
    x = np.array([1, 0, 1, 1], dtype)

    def step(c: Any, x: Any) -> Any:
        return (c[0] | x, c[1]) if dtype is np.bool_ else (c[0] + x, c[1]), (c[0], x)

    expected = python_scan(step, (x[0], np.float32(2.5)), x)
    assert_close(irgrad.scan(step, (x[0], np.float32(2.5)), x), expected)
    fast = irgrad.jit(lambda x: irgrad.scan(step, (x[0], np.float32(2.5)), x)).compile(x)
    assert_close(fast(x), expected)


def test_integer_carries_beside_differentiated_ones() -> None:
    def f(L: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return (c[0] + 1, c[1] * x + c[0]), c[0] * 2

        def g(x: Any) -> Any:
            (n, v), ys = L.scan(step, (0, 1.0), x)
            return v * n + np.sum(ys)

        return g

    assert_close(irgrad.grad(f(Structured))(_V), irgrad.grad(f(Plain))(_V))
    assert_close(irgrad.jit(irgrad.grad(f(Structured))).compile(_V)(_V), irgrad.grad(f(Plain))(_V))


@pytest.mark.parametrize("compiled", [False, True])
def test_no_iterations(compiled: bool) -> None:
    def f(c: Any, x: Any) -> Any:
        carry, ys = irgrad.scan(lambda c, x: (c * x, c + x), c, x)
        return carry * 3.0 + np.sum(ys)

    empty = np.zeros(0)
    gradient = irgrad.grad(f, (0, 1))
    if compiled:
        gradient = irgrad.jit(gradient).compile(2.0, empty)
    assert_close(gradient(2.0, empty), (np.float64(3.0), empty))
    carry, ys = irgrad.scan(lambda c, x: (c * 2, {"a": c, "b": np.stack([c, c])}), 1.0, None, 0)
    assert carry == 1.0 and ys["a"].shape == (0,) and ys["b"].shape == (0, 2)
    assert irgrad.fori_loop(3, 1, lambda i, v: v * 2, 5) == 5
    assert irgrad.while_loop(lambda v: v < 0, lambda v: v * 2.0, 5.0) == 5.0


def test_kinds_and_structures() -> None:
    """Python numbers come back as Python numbers, a carry of a Python number takes the dtype that the body gives it."""
    assert type(irgrad.fori_loop(0, 3, lambda i, v: v + i, 1)) is int
    grown, _ = irgrad.scan(lambda c, x: (c + x, None), 0, np.ones(3, np.float32))
    assert grown == 3 and grown.dtype == np.float32
    (a, b), ys = irgrad.scan(lambda c, x: ((c[1], c[0]), None), (1.0, 2.0), None, 3)
    assert (a, b) == (2.0, 1.0) and ys is None
    state = irgrad.while_loop(lambda s: s["n"] < 4, lambda s: {"n": s["n"] + 1, "v": s["v"] * 2}, {"n": 0, "v": np.ones(2)})
    assert state["n"] == 4
    np.testing.assert_array_equal(state["v"], [16.0, 16.0])


@pytest.mark.parametrize("n", [0, 1, 5, 16, 17, 40])
def test_traced_bounds(n: int) -> None:
    def f(L: Any) -> Any:
        return lambda n, x: L.fori_loop(0, n, lambda i, v: np.tanh(v * x + i) + x, 1.0)

    expected = (f(Plain)(n, 0.9), irgrad.grad(lambda x: f(Plain)(n, x) + 0.0 * x)(0.9))
    fast = irgrad.jit(f(Structured), compile_after=1)
    gradient = irgrad.jit(irgrad.grad(f(Structured), 1), compile_after=1)
    for other in (3, 30, n):
        values = fast(other, 0.9), gradient(other, 0.9)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert fast.stats().traces == 1
    assert gradient.stats().traces <= 1 + 2


def test_a_while_loop_of_any_length_has_few_paths() -> None:
    """Reverse mode: one path for each power of two of iterations."""
    f = root(Structured)
    fast = irgrad.jit(irgrad.value_and_grad(f), compile_after=1)
    plain = irgrad.value_and_grad(root(Plain))
    for a in np.geomspace(1e-3, 1e12, 40):
        np.testing.assert_allclose(fast(a), plain(a), rtol=1e-9)
    assert fast.stats().paths <= 2
    forward = irgrad.jit(irgrad.deriv(f), compile_after=1)
    for a in np.geomspace(1e-3, 1e12, 10):
        np.testing.assert_allclose(forward(a), plain(a)[1], rtol=1e-9)
    assert forward.stats().paths == 1 and forward.stats().traces == 1


def test_a_while_loop_in_a_body_has_room_for_max_steps() -> None:
    def f(L: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            return L.while_loop(lambda c: c < 10, lambda c: c * 2.0 + x, c, max_steps=8) * x * 0.3, None

        return lambda x: L.scan(step, x[0], x)[0]

    x = np.array([1.1, 0.7, 1.3])
    for transform in (irgrad.grad, irgrad.hessian):
        expected = transform(f(Plain))(x)
        assert_close(transform(f(Structured))(x), expected)
        assert_close(irgrad.jit(transform(f(Structured))).compile(x)(x), expected)


@pytest.mark.parametrize("transform", [lambda f: f, irgrad.grad, irgrad.hessian, irgrad.deriv], ids=["value", "grad", "hessian", "deriv"])
def test_both_branches_of_one_program(transform: Any) -> None:
    """The branch that is not taken does not run: its nan and its error stay away."""

    def f(L: Any) -> Any:
        return lambda x: L.cond(np.sum(x) > 0, lambda x: np.sum(np.log(x)), lambda x: np.sum(x**3), x)

    fast = irgrad.jit(transform(f(Structured)), compile_after=1)
    for x in (np.array([1.0, 2.0]), np.array([-1.0, -2.0]), np.array([3.0, 1.0])):
        assert_close(fast(x), transform(f(Plain))(x))
        assert_close(transform(f(Structured))(x), transform(f(Plain))(x))
    assert fast.stats().traces == 1 and fast.stats().paths == 1


def test_branches_read_what_is_around_them() -> None:
    table = np.arange(6.0).reshape(3, 2)

    def f(i: Any, x: Any) -> Any:
        y = x * 2
        return irgrad.cond(i == 1, lambda: table[i] @ x, lambda: 0.0)[None] * y

    fast = irgrad.jit(f, compile_after=1)
    x = np.array([1.0, -2.0])
    for i in (1, 2, 1):
        np.testing.assert_allclose(fast(i, x), (table[1] @ x if i == 1 else 0.0) * x * 2)
    assert fast.stats().traces == 1


def test_captured_arrays_are_read_again() -> None:
    w = np.ones(3)

    def f(x: Any) -> Any:
        return np.sum(irgrad.fori_loop(0, 3, lambda i, v: v * w[i] + w, x))

    def plain(x: Any) -> Any:
        return np.sum(python_fori(0, 3, lambda i, v: v * w[i] + w, x))

    x = np.arange(3.0)
    fast = irgrad.jit(irgrad.grad(f), compile_after=1)
    for scale in (1.0, 2.0, -1.0):
        w[:] = scale * np.arange(1.0, 4.0)
        assert_close(f(x), plain(x))
        assert_close(irgrad.grad(f)(x), irgrad.grad(plain)(x))
        assert_close(fast(x), irgrad.grad(plain)(x))
    assert fast.stats().traces == 1


def test_checkpointed_functions() -> None:
    def part(x: Any, p: Any, scale: float = 1.0) -> Any:
        return {"a": np.sin(x * p["k"]) * scale, "b": np.sum(x)}

    def f(wrap: Any) -> Any:
        def g(x: Any) -> Any:
            out = wrap(part)(x, {"k": 2.0}, scale=3.0)
            return np.sum(wrap(part)(out["a"], {"k": out["b"]})["a"] ** 2)

        return g

    x = np.array([0.3, -0.4])
    for transform in (lambda f: f, irgrad.grad, irgrad.hessian, irgrad.deriv):
        expected = transform(f(lambda p: p))(x)
        assert_close(transform(f(irgrad.checkpoint))(x), expected)
        assert_close(irgrad.jit(transform(f(irgrad.checkpoint))).compile(x)(x), expected)
    assert irgrad.checkpoint(part).__name__ == "part"


def test_derivatives_inside_bodies() -> None:
    """Gradient descent as a scan, and the gradient of what it finds."""

    def loss(w: Any, p: Any) -> Any:
        return np.sum((w**2 - p) ** 2)

    def f(L: Any) -> Any:
        def g(p: Any) -> Any:
            w, _ = L.scan(lambda w, _: (w - 0.05 * irgrad.grad(loss)(w, p), None), np.ones(2), None, 5)
            return np.sum(w)

        return g

    p = np.array([2.0, 3.0])
    for transform in (lambda f: f, irgrad.grad, irgrad.hessian):
        expected = transform(f(Plain))(p)
        assert_close(transform(f(Structured))(p), expected)
        assert_close(irgrad.jit(transform(f(Structured))).compile(p)(p), expected)


def test_primitives_of_the_user_in_bodies() -> None:
    """A body that only Python can run: its iterations are Python's."""

    @irgrad.primitive
    def cube(x: Any) -> Any:
        return np.asarray(x) ** 3

    irgrad.extend.defvjp(cube, lambda ans, x: lambda g: 3 * x**2 * g)

    def f(L: Any, power: Any) -> Any:
        return lambda x: L.scan(lambda c, x: (np.sin(c) + power(x), c), 0.1, x)[0]

    plain = irgrad.grad(f(Plain, lambda x: x**3))(_V)
    assert_close(irgrad.grad(f(Structured, cube))(_V), plain)
    fast = irgrad.jit(irgrad.grad(f(Structured, cube))).compile(_V)
    assert_close(fast(_V), plain)
    assert fast.stats().host_calls > 0


def test_more_than_max_steps() -> None:
    def f(x: Any) -> Any:
        return irgrad.while_loop(lambda c: c < 100.0, lambda c: c * 2.0, x, max_steps=5)

    assert f(4.0) == 128.0
    with pytest.raises(irgrad.errors.RuntimeGuardError, match="more than max_steps = 5 iterations"):
        f(3.0)
    fast = irgrad.jit(irgrad.grad(f), compile_after=1)
    assert fast(4.0) == fast(5.0) == 32.0
    with pytest.raises(irgrad.errors.RuntimeGuardError, match="more than max_steps = 5 iterations"):
        fast(3.0)
