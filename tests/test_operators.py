"""The differential operators: values, structure, nesting, argument forms, messages, ownership of results, speed of the walk."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import pickle
import threading
import warnings
import weakref
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import operators as op
from irgrad.errors import DifferentiationError, MissingRuleError, RuntimeGuardError, TraceError
from irgrad.frontend.context import current
from irgrad.ir.primitive import REGISTRY, Primitive

X = np.array([0.3, 0.7, 1.1])
Point = namedtuple("Point", "a b")


def numerical(f: Any, x: np.ndarray, h: float = 1e-6) -> np.ndarray:
    """Jacobian by central differences, of shape out + in."""
    x = np.asarray(x, float)
    columns = []
    for k in range(x.size):
        step = np.zeros(x.size)
        step[k] = h
        step = step.reshape(x.shape)
        columns.append((np.asarray(f(x + step)) - np.asarray(f(x - step))) / (2 * h))
    return np.stack(columns, -1).reshape(np.shape(columns[0]) + x.shape)


def wave(x: Any) -> Any:
    return np.sum(np.sin(x) * x**2)


def field(x: Any) -> Any:
    return np.array([0.5, 2.0])[:, None] * np.exp(-x) * x[0] + np.tanh(x).sum()


def product(a: float, b: float = 2.0, *, c: float = 3.0) -> Any:
    return a * b**2 * c**3


# ---- values ----


PROGRAMS = [
    wave,
    lambda x: np.sum(x[1:] * x[:-1]) / np.sum(x),
    lambda x: np.dot(np.outer(x, x) @ x, np.exp(x)),
    lambda x: np.max(x) * np.prod(x) + np.linalg.norm(x),
    lambda x: np.sum(np.where(x > 0.5, x**3, np.log(x))),
    lambda x: np.sum(np.cumsum(x)[::-1].reshape(3, 1) * x),
    lambda x: sum(v**2 * i for i, v in enumerate(x)),
    lambda x: np.sum(np.concatenate([x, 2 * x, x[::-1] ** 2]) * np.arange(9.0)),
]


@pytest.mark.parametrize("f", PROGRAMS)
def test_grad_agrees_with_central_differences(f: Any) -> None:
    np.testing.assert_allclose(op.grad(f)(X), numerical(f, X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", PROGRAMS)
def test_hessian_agrees_with_central_differences(f: Any) -> None:
    np.testing.assert_allclose(op.hessian(f)(X), numerical(op.grad(f), X), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("f", PROGRAMS)
def test_forward_and_reverse_agree(f: Any) -> None:
    v = np.array([0.2, -1.0, 0.4])
    value, tangent = op.make_jvp(f)(X)(v)
    np.testing.assert_allclose(value, f(X))
    np.testing.assert_allclose(tangent, op.grad(f)(X) @ v, rtol=1e-12)


@pytest.mark.parametrize("f", PROGRAMS)
def test_jit_agrees_with_eager(f: Any) -> None:
    compiled = irgrad.jit(op.value_and_grad(f), compile_after=1)
    for x in (X, X[::-1] + 0.25):
        for have, want in zip(compiled(x), op.value_and_grad(f)(x), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-12)


def test_value_and_grad() -> None:
    value, gradient = op.value_and_grad(wave)(X)
    assert type(value) is np.float64
    np.testing.assert_array_equal(value, wave(X))
    np.testing.assert_array_equal(gradient, op.grad(wave)(X))


def test_grad_and_aux_returns_aux_as_plain_values() -> None:
    gradient, aux = op.grad_and_aux(lambda x: (np.sum(x**2), {"x": 2 * x, "name": "n", "none": None}))(X)
    np.testing.assert_allclose(gradient, 2 * X)
    assert type(aux["x"]) is np.ndarray and aux["name"] == "n" and aux["none"] is None


def test_elementwise_grad_and_deriv() -> None:
    np.testing.assert_allclose(op.elementwise_grad(np.tanh)(X), 1 - np.tanh(X) ** 2)
    np.testing.assert_allclose(op.deriv(np.tanh)(X), 1 - np.tanh(X) ** 2)
    assert op.deriv(lambda x: x**3)(2.0) == 12.0


def test_jacobian_has_shape_out_plus_in() -> None:
    have = op.jacobian(field)(X)
    assert have.shape == (2, 3, 3)
    np.testing.assert_allclose(have, numerical(field, X), rtol=1e-6)
    np.testing.assert_allclose(op.jacobian(op.jacobian(field))(X), numerical(op.jacobian(field), X), rtol=1e-5, atol=1e-8)


def test_jacobian_of_scalars_is_a_scalar() -> None:
    assert type(op.jacobian(np.sin)(1.0)) is np.float64
    assert op.jacobian(lambda x: x * np.ones(2))(1.0).shape == (2,)
    assert op.jacobian(np.sin)(np.ones((2, 0))).shape == (2, 0, 2, 0)


def test_jacobian_of_a_pytree_nests_the_argument_in_the_result() -> None:
    have = op.jacobian(lambda p: {"u": 2 * p["a"], "v": (p["b"] * p["a"][0],)})({"a": X, "b": 4.0})
    np.testing.assert_array_equal(have["u"]["a"], 2 * np.eye(3))
    np.testing.assert_array_equal(have["u"]["b"], np.zeros(3))
    np.testing.assert_array_equal(have["v"][0]["a"], [4.0, 0.0, 0.0])
    assert have["v"][0]["b"] == X[0]


def test_jacobian_with_several_arguments() -> None:
    left, right = op.jacobian(lambda a, b: a * b, (0, 1))(X, 2 * X)
    np.testing.assert_allclose(left, np.diag(2 * X))
    np.testing.assert_allclose(right, np.diag(X))


@pytest.mark.parametrize("make", [op.jacobian, op.hessian, op.deriv, op.elementwise_grad])
def test_compiled_operators_agree_with_eager(make: Any) -> None:
    f = wave if make is op.hessian else lambda x: np.exp(-x) * x[0] + np.sum(x) ** 2
    compiled = irgrad.jit(make(f), compile_after=1)
    for x in (X, 2 * X):
        have, want = compiled(x), make(f)(x)
        assert type(have) is type(want) and have.shape == want.shape and have.dtype == want.dtype
        np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-14)


def test_rows_of_a_compiled_jacobian_share_kernels() -> None:
    counts = []
    for n in (9, 30):
        compiled = irgrad.jit(op.jacobian(lambda x: np.sin(x) * x[0]), compile_after=1)
        compiled(np.linspace(0.1, 1.0, n))
        counts.append(compiled.stats().kernels)
    assert counts[0] == counts[1]


def test_products_with_derivatives() -> None:
    v = np.array([1.0, -2.0, 0.5])
    hessian = op.hessian(wave)(X)
    hvp, gradient = op.make_hvp(wave)(X)
    np.testing.assert_allclose(hvp(v), hessian @ v)
    np.testing.assert_allclose(gradient, op.grad(wave)(X))
    np.testing.assert_allclose(op.hessian_vector_product(wave)(X, v), hessian @ v)
    jacobian = op.jacobian(field)(X)
    cotangent = np.arange(6.0).reshape(2, 3)
    np.testing.assert_allclose(op.vector_jacobian_product(field)(X, cotangent), np.tensordot(cotangent, jacobian, 2))
    np.testing.assert_allclose(op.tensor_jacobian_product(field)(X, v[:2]), np.tensordot(v[:2], jacobian, 1))
    vjp, value = op.make_vjp(field)(X)
    np.testing.assert_allclose(vjp(cotangent), np.tensordot(cotangent, jacobian, 2))
    np.testing.assert_array_equal(value, field(X))


def test_make_ggnvp() -> None:
    v = np.array([1.0, -2.0, 0.5])
    j = op.jacobian(lambda x: np.sin(x) * x[0])(X)
    np.testing.assert_allclose(op.make_ggnvp(lambda x: np.sin(x) * x[0])(X)(v), j.T @ j @ v)
    quartic = op.make_ggnvp(lambda x: np.sin(x) * x[0], lambda y: np.sum(y**4))(X)(v)
    np.testing.assert_allclose(quartic, j.T @ np.diag(12 * (np.sin(X) * X[0]) ** 2) @ j @ v)


def test_a_vjp_outlives_its_trace_and_is_differentiable() -> None:
    vjp, value = op.make_vjp(np.sin)(X)
    value[:] = 0.0  # the caller's own
    first = vjp(np.ones(3))
    first[:] = -1.0
    np.testing.assert_allclose(vjp(2 * np.ones(3)), 2 * np.cos(X))
    np.testing.assert_allclose(op.grad(lambda g: np.sum(vjp(g) ** 2))(X), 2 * X * np.cos(X) ** 2)
    np.testing.assert_allclose(irgrad.jit(lambda g: vjp(g), compile_after=1)(X), X * np.cos(X))
    jvp = op.make_jvp(np.sin)(X)
    np.testing.assert_allclose(op.jacobian(lambda t: jvp(t)[1])(X), np.diag(np.cos(X)))


def test_vjp_inside_a_function_keeps_its_derivative() -> None:
    def f(x: Any) -> Any:
        vjp, _ = op.make_vjp(np.sin)(x)
        _, tangent = op.make_jvp(np.sin)(x)(np.ones(3))
        return np.sum(vjp(x)) + np.sum(tangent)

    np.testing.assert_allclose(op.grad(f)(X), np.cos(X) - X * np.sin(X) - np.sin(X))


# ---- nesting ----


def nest(f: Any, order: int, make: Any = op.grad) -> Any:
    for _ in range(order):
        f = make(f)
    return f


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("make", [op.grad, op.deriv, op.jacobian])
def test_nested_derivatives_of_exp_and_sin(order: int, make: Any) -> None:
    assert nest(lambda x: np.exp(2 * x), order, make)(0.5) == pytest.approx(2**order * np.exp(1.0))
    assert nest(np.sin, order, make)(0.7) == pytest.approx([np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin][order - 1](0.7))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fourth derivative is that of a constant
        assert nest(lambda x: x**3, order, make)(2.0) == [12.0, 12.0, 6.0, 0.0][order - 1]


def test_forward_over_reverse_and_reverse_over_forward() -> None:
    f = lambda x: np.sin(x) * x
    want = 2 * np.cos(0.4) - 0.4 * np.sin(0.4)
    assert op.deriv(op.grad(f))(0.4) == pytest.approx(want)
    assert op.grad(op.deriv(f))(0.4) == pytest.approx(want)


def test_perturbations_are_not_confused() -> None:
    grad = op.grad
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert grad(lambda x: x * grad(lambda y: x * y)(2.0))(3.0) == 6.0
    assert grad(lambda x: grad(lambda y: grad(lambda z: x * y * z)(1.0) * y)(2.0) * x)(3.0) == 24.0
    assert op.deriv(lambda x: x * op.deriv(lambda y: x + y)(1.0))(1.0) == 1.0
    assert op.deriv(lambda x: x * grad(lambda y: x * y)(2.0))(3.0) == 6.0
    assert grad(lambda x: x * op.deriv(lambda y: x * y)(2.0))(3.0) == 6.0


def test_perturbations_are_not_confused_under_jit() -> None:
    compiled = irgrad.jit(op.grad(lambda x: x * op.grad(lambda y: x * np.sin(y))(x)), compile_after=1)
    assert compiled(0.3) == pytest.approx(op.grad(lambda x: x * x * np.cos(x))(0.3))


def test_inner_gradient_of_a_captured_array() -> None:
    def f(x: Any) -> Any:
        inner = op.grad(lambda y: np.sum(y**2 * x))(x)
        return np.sum(inner * x)

    np.testing.assert_allclose(op.grad(f)(X), 6 * X**2)


def test_gradient_descent_inside_a_differentiated_function() -> None:
    def f(rate: Any) -> Any:
        x = 1.0
        for _ in range(3):
            x = x - rate * op.grad(lambda v: v**2)(x)
        return x

    assert op.grad(f)(0.1) == pytest.approx(-6 * (1 - 0.2) ** 2)
    assert irgrad.jit(op.grad(f), compile_after=1)(0.1) == pytest.approx(-6 * (1 - 0.2) ** 2)


def test_the_trace_is_gone_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        op.grad(lambda x: x * (1 // 0))(1.0)
    assert current() is None
    assert op.grad(np.sin)(0.0) == 1.0


def test_threads_have_traces_of_their_own() -> None:
    results: dict[int, float] = {}

    def work(k: int) -> None:
        results[k] = float(op.grad(op.grad(lambda x: np.sin(x * k)))(0.1))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {k: pytest.approx(-(k**2) * np.sin(0.1 * k)) for k in range(4)}


# ---- arguments ----


@pytest.mark.parametrize(
    ("argnum", "args", "kwargs", "want"),
    [
        (0, (5.0, 2.0), {}, 4 * 27),
        (1, (5.0, 2.0), {}, 20 * 27),
        (-1, (5.0, 2.0), {}, 20 * 27),
        (-2, (5.0, 2.0), {}, 4 * 27),
        ("a", (5.0,), {}, 4 * 27),
        ("b", (5.0, 2.0), {}, 20 * 27),
        ("b", (5.0,), {"b": 2.0}, 20 * 27),
        ("b", (5.0,), {}, 20 * 27),
        (1, (5.0,), {"b": 2.0}, 20 * 27),
        (1, (5.0,), {}, 20 * 27),
        (-1, (5.0,), {"b": 2.0}, 20 * 27),
        ("c", (5.0,), {}, 20 * 27),
        ("c", (5.0,), {"c": 3}, 20 * 27),
        (2, (5.0,), {"c": 3.0}, 20 * 27),
        (0, (), {"a": 5.0, "b": 2.0}, 4 * 27),
        ((0, 1), (5.0, 2.0), {}, (108, 540)),
        ([0, "c"], (5.0, 2.0), {}, (108, 540)),
        (("a",), (5.0,), {}, (108,)),
    ],
)
def test_argnum_forms(argnum: Any, args: Any, kwargs: Any, want: Any) -> None:
    have = op.grad(product, argnum)(*args, **kwargs)
    assert have == want
    assert type(have) is type(want) or not isinstance(want, tuple)
    assert op.value_and_grad(product, argnum)(*args, **kwargs) == (540, want)


def test_keywords_pass_through() -> None:
    assert op.grad(lambda x, *, scale: x * scale)(1.0, scale=3.0) == 3.0
    assert op.grad(lambda *xs: xs[0] * xs[2], 2)(2.0, 3.0, 4.0) == 2.0
    assert op.grad_named(product, "b")(5.0, 2.0) == 540
    assert op.multigrad(product, [0, 1])(5.0, 2.0) == (108, 540)
    value, gradients = op.value_and_multigrad(product, [0, 1])(5.0, 2.0)
    assert (value, gradients) == (540, (108, 540))


def test_multigrad_dict() -> None:
    have = op.multigrad_dict(lambda a, b=2.0, *rest, c: a * b * rest[0] * c)(1.0, 3.0, 4.0, c=5.0)
    assert have == OrderedDict(a=60.0, b=20.0, rest=(15.0,), c=12.0) and type(have) is OrderedDict


@pytest.mark.parametrize("x", [3, np.int64(3), np.array(3), np.array([3])])
def test_integers_are_taken_as_floats(x: Any) -> None:
    have = op.grad(lambda v: np.sum(v**2))(x)
    assert have.dtype == np.float64 and have.shape == np.shape(x) and have == 6.0
    assert op.grad(op.grad(lambda v: np.sum(v**3)))(3) == 18.0


@pytest.mark.parametrize(
    ("x", "kind", "dtype"),
    [
        (2.0, np.float64, "f8"), (np.float32(2), np.float32, "f4"), (np.float16(2), np.float16, "f2"), (1 + 2j, np.complex128, "c16"),
        (np.array(2.0), np.ndarray, "f8"), (np.ones(2, "f4"), np.ndarray, "f4"), (np.ones((2, 1), "c8"), np.ndarray, "c8"),
    ],
)  # fmt: skip
def test_gradients_keep_kind_and_dtype(x: Any, kind: type, dtype: str) -> None:
    f = lambda v: np.real(np.sum(v * v * 0.5))
    for make in (op.grad, lambda f: irgrad.jit(op.grad(f), compile_after=1)):
        have = make(f)(x)
        assert type(have) is kind and have.dtype == np.dtype(dtype) and have.shape == np.shape(x)
        np.testing.assert_allclose(have, x)


@irgrad.pytree.register_dataclass
@dataclasses.dataclass
class Model:
    w: Any
    b: Any


def test_pytrees_come_back_in_their_own_structure() -> None:
    tree = {"z": [X, (2.0, None)], "a": OrderedDict(q=1.0), "p": Point(3.0, X), "m": Model(X, 2.0)}

    def f(t: Any) -> Any:
        assert isinstance(t["p"], Point) and isinstance(t["m"], Model) and t["z"][1][1] is None
        return np.sum(t["z"][0] * t["z"][1][0]) * t["a"]["q"] + np.sum(t["p"].a * t["p"].b) + np.sum(t["m"].w) * t["m"].b

    have = op.grad(f)(tree)
    assert list(have) == ["z", "a", "p", "m"] and isinstance(have["a"], OrderedDict) and have["z"][1][1] is None
    np.testing.assert_allclose(have["z"][0], 2 * np.ones(3))
    assert have["z"][1][0] == pytest.approx(X.sum()) and have["a"]["q"] == pytest.approx(2 * X.sum())
    np.testing.assert_allclose(have["p"].b, 3 * np.ones(3))
    assert type(have["m"]) is Model and have["m"].b == pytest.approx(X.sum())
    gradient = op.grad(lambda t: op.grad(lambda s: f(s))(t)["z"][1][0] ** 2)(tree)
    np.testing.assert_allclose(gradient["z"][0], 2 * X.sum() * np.ones(3))


def test_empty_arguments() -> None:
    assert op.grad(lambda p: 1.0)({}) == {}
    assert op.grad(lambda x: np.sum(x))(np.ones((0, 3))).shape == (0, 3)


# ---- results own their memory ----


def shares_none(*arrays: np.ndarray) -> bool:
    return not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[i + 1 :])


def test_results_are_fresh_and_writable() -> None:
    a, b = X.copy(), X.copy()
    ga, gb = op.grad(lambda a, b: np.sum(a + b), (0, 1))(a, b)
    assert ga.flags.writeable and gb.flags.writeable and ga.flags.owndata and shares_none(ga, gb, a, b)
    value, g = op.value_and_grad(lambda a: a[:1] * 1.0)(a)
    assert shares_none(value, g, a) and value.shape == (1,)
    vjp, value = op.make_vjp(lambda a: a)(a)
    ct = np.ones(3)
    assert shares_none(value, a, vjp(ct), ct, vjp(ct))
    jvp = op.make_jvp(lambda a: (a, a))(a)
    v = np.ones(3)
    (y, z), (dy, dz) = jvp(v)
    assert shares_none(y, z, dy, dz, a, v)
    np.testing.assert_array_equal(a, X)


def test_the_tape_is_freed_at_once() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        y = np.sin(x)
        kept.append(weakref.ref(y))
        return np.sum(y * y)

    gc.collect()
    gc.disable()
    try:
        op.grad(f)(X)
        assert kept[0]() is None
    finally:
        gc.enable()


def test_a_tracer_that_escapes_is_refused() -> None:
    kept: list[Any] = []
    op.grad(lambda x: (kept.append(x), np.sum(x))[1])(X)
    with pytest.raises(RuntimeGuardError, match=r"after its trace has ended .*test_operators.py:"):
        kept[0] + 1
    with pytest.raises(RuntimeGuardError, match="after its trace has ended"):
        op.grad(lambda y: np.sum(y * kept[0]))(X)


def test_long_chains_need_no_recursion() -> None:
    def f(x: Any) -> Any:
        for _ in range(20_000):
            x = x * 1.00001
        return x

    assert op.grad(f)(1.0) == pytest.approx(1.00001**20_000)


# ---- zeros, stops, masks ----


def test_independent_output_warns_at_the_users_line() -> None:
    for f in (lambda x: 3.0, lambda x: np.sum(np.floor(x)), lambda x: np.sum(op.stop_gradient(x))):
        with pytest.warns(UserWarning, match="Output seems independent of input.") as caught:
            have = op.grad(f)(X)
        assert caught[0].filename == __file__ and len(caught) == 1
        np.testing.assert_array_equal(have, np.zeros(3))
        assert have.flags.writeable


def test_a_partly_independent_output_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, b = op.grad(lambda a, b: np.sum(a), (0, 1))(X, X)
        np.testing.assert_array_equal(b, np.zeros(3))
        assert op.grad(op.grad(lambda x: 2.0 * x * x))(1.0) == 4.0


def test_stop_gradient() -> None:
    assert op.grad(lambda x: x * op.stop_gradient(x))(3.0) == 3.0
    assert op.grad(lambda x: x * float(op.stop_gradient(x)))(3.0) == 3.0
    assert op.grad(lambda x: x * op.stop_gradient({"a": [x]})["a"][0])(3.0) == 3.0
    np.testing.assert_array_equal(op.stop_gradient((X, 1.0))[0], X)
    assert op.deriv(lambda x: x * op.stop_gradient(x))(3.0) == 3.0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)),
        lambda x: np.sum(np.where(x > 0, x * np.log(x), 0.0)),
        lambda x: np.sum(np.where(x > 0, np.sqrt(x).reshape(3, 1).T, 0.0)),
        lambda x: np.sum(np.where(x[0] > 1, np.sum(1.0 / (x - x)), np.sum(x))),
        lambda x: np.sum(np.where(x[:, None] > np.zeros(2), np.sqrt(x)[:, None], 0.0)),
        lambda x: np.sum(np.where(x > 0, np.exp(np.log(x)) / x, x)),
    ],
)
def test_the_branch_not_taken_gives_no_nan(f: Any) -> None:
    x = np.array([0.0, 0.25, 4.0])
    with np.errstate(all="ignore"):
        for make in (op.grad, op.hessian, lambda g: irgrad.jit(op.grad(g), compile_after=1)):
            assert np.isfinite(make(f)(x)).all()


def test_where_at_the_kink() -> None:
    f = lambda x: np.where(x > 0, np.sqrt(x), 0.0)
    for x in (0.0, np.array(0.0)):
        assert op.grad(f)(x) == 0.0
        assert op.grad(op.grad(f))(x) == 0.0


# ---- complex numbers ----


def test_complex_conventions() -> None:
    z = 1.0 + 2.0j
    assert op.holomorphic_grad(lambda z: z**3)(z) == pytest.approx(3 * z**2)
    assert op.grad(lambda z: np.real(z * np.conj(z)))(z) == pytest.approx(2 * np.conj(z))
    assert op.grad(lambda x: np.real(np.exp(1j * x)))(0.3) == pytest.approx(-np.sin(0.3))
    np.testing.assert_allclose(op.jacobian(lambda x: np.exp(1j * x))(X), np.diag(1j * np.exp(1j * X)))
    np.testing.assert_allclose(op.jacobian(lambda z: z**2)(1j * X), np.diag(2j * X))
    assert op.deriv(lambda z: z**2)(z) == pytest.approx(2 * z)
    with pytest.warns(UserWarning, match="Input to holomorphic_grad is not complex"):
        assert op.holomorphic_grad(lambda x: x**2)(3.0) == 6.0


COMPLEX = [
    lambda np, z: np.real(np.sum(z * np.sin(z))),
    lambda np, z: np.sum(np.abs(z) ** 2),
    lambda np, z: np.sum(np.angle(z)),
    lambda np, z: np.imag(np.sum(np.exp(z) / z)),
    lambda np, z: np.sum(np.real(z) * np.imag(z)),
    lambda np, z: np.real(np.sum(np.conj(z) * z**2)),
]


@pytest.mark.parametrize("f", COMPLEX)
def test_complex_gradients_are_autograds(f: Any) -> None:
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    z = np.array([0.5 + 1j, -1.5 + 0.25j])
    np.testing.assert_allclose(op.grad(lambda z: f(np, z))(z), autograd.grad(lambda z: f(anp, z))(z), rtol=1e-12)
    vjp, _ = op.make_vjp(lambda z: z * np.sin(z))(z)
    want, _ = autograd.make_vjp(lambda z: z * anp.sin(z))(z)
    np.testing.assert_allclose(vjp(z + 1), want(z + 1), rtol=1e-12)
    second, _ = op.make_vjp(op.grad(lambda z: f(np, z)))(z)
    want, _ = autograd.make_vjp(autograd.grad(lambda z: f(anp, z)))(z)
    np.testing.assert_allclose(second(z), want(z), rtol=1e-10, atol=1e-12)


def test_complex_jacobian_under_jit() -> None:
    f = lambda x: np.exp(1j * x) * x[0]
    np.testing.assert_allclose(irgrad.jit(op.jacobian(f), compile_after=1)(X), op.jacobian(f)(X), rtol=1e-12)
    total = lambda x: np.real(op.jacobian(f)(x)).sum()
    np.testing.assert_allclose(op.jacobian(total)(X), numerical(total, X), rtol=1e-5)


# ---- messages ----


def lineno() -> int:
    return inspect.currentframe().f_back.f_lineno  # type: ignore[union-attr]


def test_outputs_that_are_not_scalar() -> None:
    text = r"Grad only applies to real scalar-output functions. Try jacobian, elementwise_grad or holomorphic_grad. The output is "
    with pytest.raises(TypeError, match=text + r"f64\[3\] \(field_like, test_operators.py:\d+"):

        def field_like(x: Any) -> Any:
            return x * 2

        op.grad(field_like)(X)
    for f in (lambda x: 1j * x, lambda x: (x, x), lambda x: None, lambda x: "a", lambda x: x > 0, lambda x: x * np.ones(2)):
        with pytest.raises(DifferentiationError, match=text), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            op.grad(f)(1.0)
    with pytest.raises(TypeError, match=r"value_and_grad only applies to real scalar-output functions. Try jacobian"):
        op.value_and_grad(np.sin)(X)
    with pytest.raises(TypeError, match=r"Elementwise_grad only applies to real-output functions."):
        op.elementwise_grad(lambda x: 1j * x)(X)
    with pytest.raises(TypeError, match="grad_and_aux expects a function that returns"):
        op.grad_and_aux(np.sin)(1.0)


@pytest.mark.parametrize(
    ("x", "what"),
    [
        (True, "<class 'bool'>: x of "), (np.array([True]), "<class 'numpy.ndarray'> of dtype bool: x of"), ("s", "<class 'str'>: x of"),
        ({"k": [1.0, "s"]}, r"<class 'str'>: x\['k'\]\[1\] of"), (np.array([object()]), "<class 'numpy.ndarray'> of dtype object: x of"),
        (np.ma.masked_array([1.0]), "<class 'numpy.ma.MaskedArray'>: x of"), (object(), "<class 'object'>: x of"),
    ],
)  # fmt: skip
def test_arguments_without_a_derivative(x: Any, what: str) -> None:
    where = rf"test_operators.py:{lineno() + 2}\)"
    with pytest.raises(DifferentiationError, match=rf"Can't differentiate w.r.t. type {what}.*{where}; .*(argnum|asarray)"):
        op.grad(lambda x: 1.0)(x)


def test_argnum_out_of_range() -> None:
    called = r"which was called with 1 positional argument \(.*test_operators"
    with pytest.raises(TypeError, match=rf"argnum 7 names no argument of product\(a, b, c\), {called}"):
        op.grad(product, 7)(1.0)
    with pytest.raises(TypeError, match=r"argnum 'q' names no argument"):
        op.grad(product, "q")(1.0)
    with pytest.raises(TypeError, match=r"argnum -3 names no argument"):
        op.grad(product, -3)(1.0, 2.0)
    with pytest.raises(TypeError, match=r"argnum is an int, a parameter name, or a tuple of those; got None"):
        op.grad(product, None)(1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names an argument twice"):
        op.grad(product, (0, "a"))(1.0)
    with pytest.raises(TypeError, match="grad expects a function, got float"):
        op.grad(1.0)  # type: ignore[arg-type]


def test_cotangents_of_another_form() -> None:
    vjp, _ = op.make_vjp(np.sin)(X)
    for bad in (np.ones(2), (X,), 1j * X, "s"):
        with pytest.raises(DifferentiationError, match="expected a cotangent"):
            vjp(bad)
    np.testing.assert_allclose(vjp(2), 2 * np.cos(X))
    with pytest.raises(DifferentiationError, match=r"expected a tangent like f64\[3\], got f64\[2\]"):
        op.make_jvp(np.sin)(X)(np.ones(2))


def test_a_missing_rule_names_op_argument_and_line() -> None:
    declared: Any = {"aval": lambda x, y: x, "evaluate": lambda x, y: np.sin(x) * y}
    bare = Primitive("bare", vjp=(lambda b, ct, out, x, y: b.mul(ct, y),), jvp=(), **declared)
    f = lambda x, y: current().call(bare, (x, y), {})
    assert op.grad(f)(1.0, 2.0) == 2.0
    assert op.grad(lambda x: f(x, op.stop_gradient(x)))(2.0) == 2.0
    text = rf"VJP of bare wrt argnum 1 not defined; define it with irgrad.extend.defvjp \(.*test_operators.py:{lineno() + 2}\)"
    with pytest.raises(NotImplementedError, match=text):
        op.grad(f, 1)(1.0, 2.0)
    with pytest.raises(MissingRuleError, match="JVP of bare wrt argnum 0 not defined"):
        op.deriv(f)(1.0, 2.0)
    assert "bare" not in REGISTRY


def test_float_of_a_differentiated_value_is_refused() -> None:
    with pytest.raises(TraceError, match="would lose the derivative"):
        op.grad(lambda x: x * np.asarray([1.0]).item() * x.__float__())(1.0)


# ---- the objects ----


def test_names_and_wrapping() -> None:
    g = op.grad(product, 1)
    assert g.__name__ == "grad_of_product_wrt_argnum_1" and g.__wrapped__ is product and g.__irgrad__
    assert "grad of function product with respect to argument number 1" in g.__doc__
    assert inspect.signature(g) == inspect.signature(product)
    assert op.grad(g).__name__ == "grad_of_grad_of_product_wrt_argnum_1_wrt_argnum_0"


def test_operators_are_picklable() -> None:
    for g in (op.grad(product, "b"), op.value_and_grad(op.grad(product)), op.make_ggnvp(product)):
        again = pickle.loads(pickle.dumps(g))
        assert again.__name__ == g.__name__
    assert pickle.loads(pickle.dumps(op.grad(product, "b")))(5.0, 2.0) == 540


def test_names_are_substituted_in_functions_and_their_callees() -> None:
    import math

    def inner(x: Any) -> Any:
        return math.sin(x) * float(x)

    assert op.grad(lambda x: inner(x))(0.5) == pytest.approx(np.sin(0.5) + 0.5 * np.cos(0.5))
    assert op.grad(op.grad(inner))(0.5) == pytest.approx(2 * np.cos(0.5) - 0.5 * np.sin(0.5))


def test_a_captured_operator_is_substituted_too() -> None:
    assert op.grad(lambda x: SLOPE(x) * x)(0.5) == pytest.approx(np.cos(0.5) - 0.5 * np.sin(0.5))


def _math_sin(x: Any) -> Any:
    import math

    return math.sin(x)


SLOPE = op.grad(_math_sin)


def test_products_run_the_function_once() -> None:
    def model(p: Any) -> Any:
        return np.tanh(p * p)

    def count(product: Any) -> int:
        graph = irgrad.trace(product)(X, X)
        return sum(node.op.name == "tanh" for node in graph.nodes())

    assert count(op.hessian_vector_product(lambda p: np.sum(model(p)))) == 1
    assert count(lambda x, v: op.make_hvp(lambda p: np.sum(model(p)))(x)[0](v)) == 1
    assert count(lambda x, v: op.make_ggnvp(model)(x)(v)) == 1
    assert count(lambda x, v: op.make_ggnvp(model, lambda y: np.sum(y**4))(x)(v)) == 1


def test_hessian_products_through_a_scan_go_forward_over_reverse() -> None:
    @irgrad.extend.primitive
    def opaque(x: Any) -> Any:
        return x * x

    irgrad.extend.defvjp(opaque, lambda ans, x: lambda g: 2.0 * g * x)
    rows = np.linspace(-1.0, 1.0, 300).reshape(100, 3)

    def loss(x: Any) -> Any:
        return np.sum(irgrad.scan(lambda c, r: (np.sin(c + r), None), x, rows)[0] ** 2)

    hessian, v = op.hessian(loss)(X), np.array([1.0, -0.5, 2.0])
    for f in (loss, lambda x: loss(opaque(x))):
        expected = op.hessian(f)(X) @ v
        fast = irgrad.jit(op.hessian_vector_product(f), compile_after=1)
        for product in (op.hessian_vector_product(f), fast, fast):
            np.testing.assert_allclose(product(X, v), expected, rtol=1e-9)
    reverse = irgrad.jit(lambda x, v: op.make_vjp(op.grad(loss))(x)[0](v)).compile(X, v)
    forward = irgrad.jit(op.hessian_vector_product(loss)).compile(X, v)
    np.testing.assert_allclose(reverse(X, v), hessian @ v, rtol=1e-9)
    assert forward.stats().arena_bytes < reverse.stats().arena_bytes
