"""User primitives: what a call records, its rules in both modes and any order, and compiled calls."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest

import irgrad
from irgrad.extend import (
    JVPNode,
    VJPNode,
    def_linear,
    defjvp,
    defjvp_argnum,
    defjvp_argnums,
    defvjp,
    defvjp_argnum,
    defvjp_argnums,
    notrace_primitive,
    primitive,
    register_notrace,
)
from irgrad.test_util import check_grads
from tests.support.primitives import agree, scaled_sine, steady

X = np.array([0.3, -1.2, 2.0])


# ---- calls ----


def test_is_the_function_outside_traces() -> None:
    assert scaled_sine(0.5, 2) == math.sin(1.0)
    assert scaled_sine.__name__ == "scaled_sine"
    assert scaled_sine.__doc__ == "sin(k x)"
    assert repr(scaled_sine) == "<irgrad primitive scaled_sine>"
    assert pickle.loads(pickle.dumps(scaled_sine)) is scaled_sine


def test_is_one_node() -> None:
    graph = irgrad.trace(lambda x: scaled_sine(x, 2.0) + 1.0)(X)
    assert [node.op.name for node in graph.nodes()] == ["user_scaled_sine", "add"]
    assert graph.nodes()[0].source.text == "graph = irgrad.trace(lambda x: scaled_sine(x, 2.0) + 1.0)(X)"


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives(order: int) -> None:
    check_grads(scaled_sine, (0, 1), order=order)(X, 1.5)


def test_compiled_derivatives() -> None:
    f = lambda x, k: np.sum(scaled_sine(x, k) ** 2)
    agree(f, X, 1.5)
    agree(irgrad.grad(f, (0, 1)), X, 1.5)
    agree(irgrad.jacobian(irgrad.grad(f)), X, 1.5)
    agree(irgrad.grad(lambda k: np.sum(irgrad.grad(f)(X, k) ** 2)), 1.5)
    agree(irgrad.deriv(f), X, 1.5)


def test_compiled_call_is_a_host_call() -> None:
    _, jitted = steady(irgrad.grad(lambda x: np.sum(scaled_sine(x, 2.0))), X)
    before = jitted.stats().host_calls
    jitted(X + 1)
    assert jitted.stats().host_calls == before  # the value is not needed, and the rule is traced
    _, jitted = steady(irgrad.value_and_grad(lambda x: np.sum(scaled_sine(x, 2.0))), X)
    before = jitted.stats().host_calls
    value, _ = jitted(X + 1)
    assert jitted.stats().host_calls == before + 1
    assert value == pytest.approx(np.sum(np.sin(2 * (X + 1))))


def test_never_merged() -> None:
    count = itertools.count()

    @primitive
    def draw(x):
        return x + next(count)

    _, jitted = steady(lambda x: draw(x) - draw(x), X)
    np.testing.assert_array_equal(jitted(X), -np.ones(3))


def test_loops_share_kernels() -> None:
    def f(x, n):
        for k in range(n):
            x = scaled_sine(x, k + 1.0) + 0.5 * x
        return np.sum(x)

    compiled = {}
    for n in (12, 36):
        gradient = irgrad.grad(lambda x: f(x, n))
        agree(gradient, X)
        _, jitted = steady(gradient, X)
        compiled[n] = jitted.stats().kernels
    assert compiled[12] == compiled[36]


def test_numbers_keep_their_kind() -> None:
    seen: list[tuple[type, ...]] = []

    @primitive
    def spy(*args):
        seen.append(tuple(map(type, args)))
        return 1.0

    args = (1.5, 2, np.float64(2.5), np.float32(1), np.ones(2), np.array(3.0), 1j)
    steady(lambda *args: spy(*args, "text", None, True, 7), *args)
    wanted = (float, int, np.float64, np.float32, np.ndarray, np.ndarray, complex, str, type(None), bool, int)
    expected = [t if t is not int or k else np.int64 for k, t in enumerate(wanted)]
    assert len(seen) == 3
    for kinds in seen:
        assert [np.dtype(k) if k in (int, np.int64) else k for k in kinds] == [np.dtype(k) if k in (int, np.int64) else k for k in expected]


def test_containers_and_keywords() -> None:
    @primitive
    def mix(params, *, shift, power=1):
        return (params["a"] * params["b"][0] + shift) ** power

    def params_rule(ans, params, *, shift, power=1):
        def vjp(g):
            g = g * power * (params["a"] * params["b"][0] + shift) ** (power - 1)
            return {"a": g * params["b"][0], "b": [np.sum(g * params["a"]), None]}

        return vjp

    defvjp(mix, params_rule)
    defvjp(
        mix,
        lambda ans, params, *, shift, power=1: lambda g: g * power * (params["a"] * params["b"][0] + shift) ** (power - 1),
        argnums=("shift",),
    )

    def f(params, shift):
        return np.sum(mix(params, shift=shift, power=3))

    params = {"a": X, "b": [2.0, None]}
    got = agree(irgrad.grad(f, (0, 1)), params, 0.5)
    expected = irgrad.grad(lambda p, s: np.sum((p["a"] * p["b"][0] + s) ** 3), (0, 1))(params, 0.5)
    np.testing.assert_allclose(got[0]["a"], expected[0]["a"])
    np.testing.assert_allclose(got[0]["b"][0], expected[0]["b"][0])
    np.testing.assert_allclose(got[1], expected[1])
    agree(irgrad.grad(lambda s: irgrad.grad(f, 1)(params, s)), 0.5)


def test_positional_argument_given_by_keyword() -> None:
    f = lambda k: np.sum(scaled_sine(x=X, k=k))
    assert agree(irgrad.grad(f), 1.5) == pytest.approx(np.sum(X * np.cos(1.5 * X)))


def test_several_results() -> None:
    @primitive
    def polar(x, y):
        return {"r": np.sqrt(x**2 + y**2), "angle": np.arctan2(y, x)}

    def toward(x, y, g):
        r = np.sqrt(x**2 + y**2)
        return (g["r"] * x / r - g["angle"] * y / r**2), (g["r"] * y / r + g["angle"] * x / r**2)

    defvjp(polar, lambda ans, x, y: lambda g: toward(x, y, g)[0], lambda ans, x, y: lambda g: toward(x, y, g)[1])
    defjvp(
        polar,
        lambda g, ans, x, y: {"r": g * x / ans["r"], "angle": -g * y / ans["r"] ** 2},
        lambda g, ans, x, y: {"r": g * y / ans["r"], "angle": g * x / ans["r"] ** 2},
    )

    def f(x, y):
        found = polar(x, y)
        return np.sum(found["r"] * np.sin(found["angle"]))  # y

    y = np.array([0.5, 2.0, 1.0])
    got = agree(irgrad.grad(f, (0, 1)), X, y)
    np.testing.assert_allclose(got[0], 0, atol=1e-14)
    np.testing.assert_allclose(got[1], 1)
    check_grads(polar, (0, 1))(X, y)
    check_grads(polar, (0, 1))(0.3, 0.4)
    agree(irgrad.jacobian(irgrad.grad(f)), X, y)


def test_mixed_results() -> None:
    @primitive
    def both(x):
        return x, 1j * x

    defvjp(both, lambda ans, x: lambda g: g[0] + np.real(g[1] * 1j))
    check_grads(both, modes=["rev"])(X)


def test_functions_and_objects_as_arguments() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = np.array([1.0, 2.0, 3.0])

    @primitive
    def apply(f, model, x):
        return f(x) * model.w

    defvjp(apply, None, None, lambda ans, f, model, x: lambda g: g * irgrad.elementwise_grad(f)(x) * model.w)
    model = Model()
    offset = 2.0

    def inner(x):
        return np.sin(x) + offset

    f = lambda x: np.sum(apply(inner, model, x))
    np.testing.assert_allclose(agree(irgrad.grad(f), X), np.cos(X) * model.w)
    _, jitted = steady(f, X)
    model.w = model.w * 2
    assert jitted(X) == pytest.approx(np.sum((np.sin(X) + 2.0) * model.w))


def test_methods() -> None:
    class Scaler:
        k = 3.0

        @primitive
        def scale(self, x):
            return self.k * x

    defvjp(Scaler.scale, None, lambda ans, self, x: lambda g: self.k * g)
    scaler = Scaler()
    f = lambda x: np.sum(scaler.scale(x) ** 2)
    np.testing.assert_allclose(agree(irgrad.grad(f), X), 18 * X)


def test_random_draws_compile() -> None:
    rng = np.random.default_rng(0)

    @primitive
    def noise(rng, x):
        return rng.normal(size=x.shape)

    defvjp(noise, None, None)
    f = irgrad.value_and_grad(lambda x: np.sum(x * noise(rng, x)))
    _, jitted = steady(f, X)
    draws = [jitted(X)[1] for _ in range(3)]
    assert not np.array_equal(draws[0], draws[1])
    assert jitted(X)[0] != jitted(X)[0]


def test_arguments_may_be_kept_and_changed() -> None:
    kept: list[np.ndarray] = []

    @primitive
    def spoil(x):
        kept.append(x)
        y = x.sum()
        x[:] = -1.0
        return y

    _, jitted = steady(lambda x: spoil(x * 2.0) + np.sum(x), X)
    kept.clear()
    for k in range(3):
        assert jitted(X + k) == pytest.approx(3 * np.sum(X + k))
    assert all(np.all(x == -1.0) for x in kept)
    assert len({x.ctypes.data for x in kept}) == 3


def test_reentry() -> None:
    """The function of a primitive calls compiled functions, its own caller among them."""
    inner = irgrad.jit(irgrad.grad(lambda x: np.sum(x**3)), compile_after=1)

    @primitive
    def nested(x, depth):
        return inner(x) + (outer(x, depth - 1) if depth > 0 else 0.0)

    outer = irgrad.jit(lambda x, depth: nested(x, depth) + np.tanh(x), static_argnames="depth", static_argnums=1)
    expected = 3 * (3 * X**2 + np.tanh(X))
    for _ in range(4):
        np.testing.assert_allclose(outer(X, 2), expected, rtol=1e-14)


# ---- rules ----


def test_one_maker_for_all_arguments() -> None:
    @primitive
    def product(*xs):
        return np.prod(np.stack(xs), axis=0)

    defvjp_argnum(product, lambda argnum, ans, args, kwargs: lambda g: g * ans / args[argnum])
    defjvp_argnum(product, lambda argnum, g, ans, args, kwargs: g * ans / args[argnum])
    check_grads(product, (0, 2))(X, X + 3.0, X - 5.0)
    agree(irgrad.grad(lambda x: np.sum(product(x, x, np.ones(3)))), X)

    @primitive
    def sums(*xs):
        return sum(xs)

    defvjp_argnums(sums, lambda argnums, ans, args, kwargs: lambda g: [g for _ in argnums])
    defjvp_argnums(sums, lambda argnums, gs, ans, args, kwargs: sum(gs))
    check_grads(sums, (0, 1))(X, X)


def test_linear() -> None:
    @primitive
    def weigh(x, w):
        return x * w

    def_linear(weigh)
    defvjp(weigh, lambda ans, x, w: lambda g: g * w, lambda ans, x, w: lambda g: g * x)
    check_grads(weigh, (0, 1))(X, X + 1)

    @primitive
    def twice(x, *, k=2.0):
        return k * x

    defjvp(twice, "same")
    defvjp(twice, lambda ans, x, k=2.0: lambda g: k * g)
    check_grads(twice)(X)
    agree(irgrad.deriv(lambda x: twice(x, k=3.0) ** 2), X)


def test_broadcasting_rules() -> None:
    """A cotangent may have the result's shape or fewer axes: it is summed or spread to its argument."""

    @primitive
    def outer_sum(x, y):
        return np.sum(x + y)

    defvjp(outer_sum, lambda ans, x, y: lambda g: g, lambda ans, x, y: lambda g: g * np.ones(np.broadcast_shapes(x.shape, y.shape)))
    got = agree(irgrad.grad(outer_sum, (0, 1)), X, np.ones((2, 1)))
    np.testing.assert_array_equal(got[0], np.ones(3))
    np.testing.assert_array_equal(got[1], 3 * np.ones((2, 1)))


def test_zero_rule() -> None:
    @primitive
    def first(x, y):
        return x + 0 * y

    defvjp(first, lambda ans, x, y: lambda g: g, None)
    got = agree(irgrad.grad(lambda x, y: np.sum(first(x, y) * y), (0, 1)), X, X + 1)
    np.testing.assert_allclose(got[1], X)


def test_rules_by_argnums() -> None:
    @primitive
    def ratio(label, x, y):
        return x / y

    defvjp(ratio, lambda ans, label, x, y: lambda g: g / y, lambda ans, label, x, y: lambda g: -g * ans / y, argnums=(1, 2))
    check_grads(lambda x, y: ratio("a", x, y), (0, 1), modes=["rev"])(X, X + 5)


def test_notrace() -> None:
    @notrace_primitive
    def nearest(x):
        return np.rint(x)

    f = lambda x: np.sum(x * nearest(x))
    np.testing.assert_array_equal(agree(irgrad.grad(f), X), np.rint(X))
    assert type(irgrad.grad(lambda x: x * float(nearest(x)))(1.2)) is np.float64

    @primitive
    def other(x):
        return np.rint(x)

    register_notrace(VJPNode, other)
    register_notrace(JVPNode, other)
    np.testing.assert_array_equal(irgrad.grad(lambda x: np.sum(x * other(x)))(X), np.rint(X))
    assert irgrad.deriv(lambda x: x * other(x))(1.2) == 1.0


def test_rules_see_captured_values() -> None:
    """What a rule reads from outside is read again at each call, as in the function itself."""
    weight = np.array([1.0, 2.0, 3.0])

    @primitive
    def weighted(x):
        return x * weight

    defvjp(weighted, lambda ans, x: lambda g: g * weight)
    _, jitted = steady(irgrad.grad(lambda x: np.sum(weighted(x))), X)
    weight[:] = 7.0
    np.testing.assert_array_equal(jitted(X), np.full(3, 7.0))


def test_older_forms() -> None:
    @primitive
    def cube(x):
        return x**3

    with pytest.warns(UserWarning, match="defvjp method is deprecated"):
        cube.defvjp(lambda g, ans, vs, gvs, x: g * 3 * x**2 * np.ones(vs.shape))
    np.testing.assert_allclose(agree(irgrad.grad(lambda x: np.sum(cube(x))), X), 3 * X**2)

    @primitive
    def power(x, n):
        return x**n

    with pytest.warns(UserWarning, match="defgrad method is deprecated"):
        power.defgrad(lambda ans, x, n: lambda g: g * n * x ** (n - 1))
    with pytest.warns(UserWarning, match="defvjp_is_zero method is deprecated"):
        power.defvjp_is_zero([1])
    assert irgrad.grad(power, (0, 1))(3.0, 2.0) == (6.0, 0.0)
