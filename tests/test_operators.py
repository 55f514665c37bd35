"""The differential operators: values, structure, nesting, zeros and masks, complex numbers, products."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad import operators as op
from irgrad.frontend.context import current
from tests.support.differences import differences
from tests.support.threads import together

X = np.array([0.3, 0.7, 1.1])


def wave(x: Any) -> Any:
    return np.sum(np.sin(x) * x**2)


def field(x: Any) -> Any:
    return np.array([0.5, 2.0])[:, None] * np.exp(-x) * x[0] + np.tanh(x).sum()


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
    np.testing.assert_allclose(op.grad(f)(X), differences(f, X), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("f", PROGRAMS)
def test_hessian_agrees_with_central_differences(f: Any) -> None:
    np.testing.assert_allclose(op.hessian(f)(X), differences(op.grad(f), X), rtol=1e-5, atol=1e-7)


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
    np.testing.assert_allclose(have, differences(field, X), rtol=1e-6)
    np.testing.assert_allclose(op.jacobian(op.jacobian(field))(X), differences(op.jacobian(field), X), rtol=1e-5, atol=1e-8)


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

    together(work, 4)
    assert results == {k: pytest.approx(-(k**2) * np.sin(0.1 * k)) for k in range(4)}


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
    np.testing.assert_allclose(op.jacobian(total)(X), differences(total, X), rtol=1e-5)


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
