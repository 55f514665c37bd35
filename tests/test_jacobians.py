"""Jacobians and Hessians in one batched walk, with what is zero by construction left out: the same as row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import irgrad
from irgrad.errors import MissingRuleError
from irgrad.extend import defjvp, defvjp, primitive
from irgrad.frontend.context import current
from irgrad.ir.primitive import REGISTRY, NonDiff
from irgrad.operators import jacobian_walks, jacobians
from irgrad.operators.jacobian_structure import Structure
from irgrad.passes import batch_rules, sparsity
from irgrad.pytree import flatten
from tests.ops.samples import SAMPLES
from tests.support.jacobians import blocks_of, row_by_row
from tests.support.loop_programs import program as loop_program
from tests.support.loops import Structured
from tests.support.programs import generate

RNG = np.random.default_rng(0)
X = RNG.normal(size=12)
W = RNG.normal(size=(30, 12))
V = RNG.normal(size=(9, 12))


@pytest.fixture(params=["back", "back, dense", "back, in parts", "forward", "forward, dense", "forward, in parts"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Every way to a Jacobian of real functions, whatever its size."""
    monkeypatch.setattr(jacobians, "FEW", 0)
    monkeypatch.setattr(Structure, "is_wide", staticmethod(lambda rows, columns: request.param.startswith("forward")))
    if "dense" in request.param or "parts" in request.param:
        monkeypatch.setattr(Structure, "find_patterns", lambda self: [sparsity.FULL for _ in self.outs])
    if "parts" in request.param:
        monkeypatch.setattr(jacobian_walks, "CHUNK", 40)
        monkeypatch.setattr(jacobian_walks, "RESULTS", 0)
    yield request.param


def compare(f: Callable[..., Any], x: Any, *others: Any, rtol: float = 1e-9, compiled: bool = False) -> None:
    """The Jacobian by the first argument against the one row by row."""
    expected = row_by_row(f, x, *others)
    operators = [irgrad.jacobian(f)]
    if compiled:
        operators.append(irgrad.jit(irgrad.jacobian(f), compile_after=1))
    for operator in operators:
        for _ in range(2 if operator is not operators[0] else 1):
            found = operator(x, *others)
        for row, wanted in zip(blocks_of(found, len(expected), len(flatten(x)[0])), expected, strict=True):
            for a, b in zip(row, wanted, strict=True):
                assert np.shape(a) == b.shape
                scale = float(np.max(np.abs(b), initial=1.0, where=np.isfinite(b)))
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)
                if operator is not operators[0]:
                    assert operator.stats().eager_calls == 1  # type: ignore[attr-defined]


# ---- every operation ----


def _is_differentiable(name: str) -> bool:
    return not isinstance(REGISTRY[name].vjp, NonDiff)


@pytest.mark.filterwarnings("ignore:Output seems independent")
@pytest.mark.parametrize("name", sorted(name for name in SAMPLES if _is_differentiable(name)))
def test_operations(name: str, way: str) -> None:
    op = REGISTRY[name]
    compared = 0
    for sample in SAMPLES[name]:
        operands, params = sample.operands, sample.params
        if sum(np.size(o) for o in operands) > 40 or any(np.result_type(o).char in "fF" for o in operands):
            continue
        if name == "pad" and not np.ndim(operands[0]):
            continue
        for k, x in enumerate(operands):
            kind = np.result_type(x)
            if kind.char not in "dD" or not np.size(x):
                continue

            def f(x: Any, k: int = k, operands: Any = operands, params: Any = params) -> Any:
                y = x if isinstance(x, (float, np.generic)) and np.ndim(x) else x * 1.0
                return current().call(op, [*operands[:k], y, *operands[k + 1 :]], params) * 1.0  # type: ignore[union-attr]

            with np.errstate(all="ignore"):
                value = op.evaluate(*operands, **params)
                if not np.size(value) or np.result_type(value).kind not in "fc" or not np.isfinite(value).all():
                    continue
                try:
                    if not all(np.isfinite(b).all() for row in row_by_row(f, x) for b in row):
                        continue
                    compare(f, x, rtol=1e-8)
                except MissingRuleError:
                    continue
            compared += 1
    assert compared or name in ("stop_gradient", "floor", "mark"), name


# ---- random programs ----


def _real(program: Any) -> tuple[Callable[[list[Any]], Any], list[Any]]:
    """A program as a function of its float arguments."""
    f = program.function()
    values = list(program.values())
    chosen = [k for k, v in enumerate(values) if np.result_type(v) == np.float64 and not isinstance(v, int)]

    def of_floats(args: list[Any]) -> Any:
        given = list(values)
        for k, a in zip(chosen, args, strict=True):
            given[k] = a
        return [out for out in f(*given) if np.result_type(getattr(out, "dtype", type(out))).kind in "fc"]

    return of_floats, [values[k] for k in chosen]


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Output seems independent")
@pytest.mark.parametrize("start", range(0, 120, 20))
def test_random_programs(start: int, way: str) -> None:
    compared = 0
    for seed in range(start, start + 20):
        f, args = _real(generate(seed, smooth=True, writes=seed % 3 == 0))
        if not args:
            continue

        def parts(args: list[Any], f: Any = f) -> Any:
            return irgrad.grad(lambda a: f(a)[0])(args)

        for function in (f, parts):
            expected = row_by_row(function, args)
            if all(np.isfinite(b).all() for row in expected for b in row):
                compare(function, args, rtol=1e-7)
                compared += 1
    assert compared > 10


@pytest.mark.parametrize("seed", range(8))
def test_hessians_of_random_loops(seed: int) -> None:
    make, args = loop_program(seed)
    compare(irgrad.grad(make(Structured)), args, rtol=1e-8, compiled=seed in (1, 4))


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Output seems independent")
def test_random_programs_compiled() -> None:
    for seed in range(300, 306):
        f, args = _real(generate(seed))
        if args:
            compare(f, args, rtol=1e-7, compiled=True)


def test_a_planted_wrong_rule_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jacobians, "FEW", 0)
    right = batch_rules.RULES["dot"]
    monkeypatch.setitem(batch_rules.RULES, "dot", lambda b, op, operands, params: b.neg(right(b, op, operands, params)))
    with pytest.raises(AssertionError):
        compare(lambda x: np.tanh(np.dot(V, x)), X)
    monkeypatch.setitem(batch_rules.RULES, "dot", right)
    monkeypatch.setitem(sparsity.RULES, "dot", lambda f, node, sources: sparsity.take(sources[1], np.arange(len(V))))
    with pytest.raises(AssertionError):
        compare(lambda x: np.tanh(np.dot(V, x)), X)


# ---- programs that people write ----


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def euler(x: Any) -> Any:
    for _ in range(5):
        x = x + 0.1 * np.sin(x) * np.roll(x, 1)
    return x


def recurrent(x: Any) -> Any:
    h, ys = irgrad.scan(lambda c, r: (np.tanh(0.3 * V[:, :9] @ c + r * x[0]), np.sum(c)), x[:9], W[:, :9])
    return h * ys[3]


def weights(w: Any) -> Any:
    h, ys = irgrad.scan(lambda c, r: (np.tanh(w @ c + r), c[:2]), np.zeros(3), W[:6, :3], reverse=True)
    return np.concatenate([h, ys.reshape(-1)])


def shrink(x: Any) -> Any:
    return irgrad.while_loop(lambda v: np.sum(v * v) > 0.5, lambda v: np.tanh(0.3 * W[:12] @ v), x)


def nested(x: Any) -> Any:
    def body(c: Any, r: Any) -> Any:
        d, _ = irgrad.scan(lambda e, q: (np.sin(e) * q + r, None), c, W[:3])
        return d, irgrad.cond(r[0] > 0, lambda v: v**2, lambda v: v[::-1], d)

    return irgrad.scan(body, x, W[3:7])[1]


def written(x: Any) -> Any:
    a = np.zeros(12)
    a[0] = x[0]
    for i in range(1, 12):
        a[i] = np.sin(a[i - 1]) * x[i]
    return a


FUNCTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "diagonal": (lambda x: np.sin(x) * x, X),
    "band": (lambda x: x[1:] * x[:-1] ** 2, X),
    "circulant": (lambda x: np.roll(x, 1) * x**2 - np.roll(x, -2), X),
    "gradient of a band": (irgrad.grad(rosenbrock), X),
    "tall": (lambda x: np.tanh(W @ x), X),
    "two layers back": (lambda x: np.tanh(V @ np.sin(W.T @ np.cos(W @ x))), X),
    "two layers forward": (lambda x: np.tanh(W @ np.sin(V.T @ np.cos(V @ x))), X),
    "one dense row": (lambda x: np.concatenate([x**2, [np.sum(x)]]), X),
    "one dense column": (lambda x: x * x[0], X),
    "blocks": (lambda x: np.concatenate([x[:6] ** 2, V[:6, :6] @ x[6:]]), X),
    "rows of a batch": (lambda x: np.tanh(x @ V[:4, :3]), RNG.normal(size=(7, 4))),
    "weights of a batch": (lambda w: np.tanh(V[:, :4] @ w), RNG.normal(size=(4, 3))),
    "matrix power": (lambda a: a @ a @ a, RNG.normal(size=(3, 3))),
    "stack of products": (lambda a: np.matmul(a, np.swapaxes(a, 1, 2)), RNG.normal(size=(2, 3, 4))),
    "solve": (lambda x: np.linalg.solve(W[:12] + 5.0 * np.eye(12) + np.outer(x, x), x), X),
    "softmax": (lambda x: np.exp(x) / np.sum(np.exp(x)), X),
    "choice": (lambda x: np.where(x > 0, np.sqrt(np.abs(x)), x**2)[::-1], X),
    "index arrays": (lambda x: x[np.array([3, 3, 1, 0])] * x[2], X),
    "running": (lambda x: np.cumsum(np.sin(x)) * np.cumprod(x), X),
    "convolution": (lambda x: np.convolve(x, np.array([1.0, -2.0, 0.5])), X),
    "transform": (lambda x: np.real(np.fft.fft(x**2)), X),
    "a loop": (euler, X),
    "writes": (written, X),
    "tree": (lambda p: {"u": np.outer(p["a"], p["b"]), "v": (p["a"] * 2.0, p["b"][0] * p["a"][1])}, {"a": X[:4], "b": X[4:9]}),
    "several": (lambda p: p[0] * p[1] + V @ p[2], [X[:9], 2.0, X]),
    "single precision": (lambda x: np.exp(x) * x[1], X.astype(np.float32)),
    "complex": (lambda z: z**2 * z[1], X + 1j),
    "to complex": (lambda x: np.exp(1j * x) * x[0], X),
    "number to array": (lambda s: s * V, 1.5),
    "number to number": (np.sin, 1.5),
    "nothing": (lambda x: (x[:0], x * 1.0), X),
    "sorted": (lambda x: np.sort(x) * np.max(x), X),
    "scan": (lambda x: irgrad.scan(lambda c, r: (np.sin(c) + r, c * r), x[0], x)[1], X),
    "recurrent": (recurrent, X),
    "weights of a loop": (weights, RNG.normal(size=(3, 3))),
    "while": (shrink, X),
    "nested loops": (nested, X[:12]),
    "checkpoint": (lambda x: irgrad.checkpoint(lambda v: W[:12] @ np.sin(V[:, :].T @ (V @ v)))(x) * x, X),
    "branch": (lambda x: irgrad.cond(x[0] > 0, lambda v: v**2, lambda v: np.sin(v), x), X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_row_by_row(name: str) -> None:
    f, x = FUNCTIONS[name]
    compare(f, x, rtol=1e-5 if name == "single precision" else 1e-10, compiled=True)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"single precision", "nothing", "complex", "to complex", "tree", "several"}))
def test_every_way(name: str, way: str) -> None:
    compare(*FUNCTIONS[name], rtol=1e-10)


@pytest.mark.parametrize(
    "name", ["diagonal", "circulant", "two layers back", "blocks", "solve", "rows of a batch", "matrix power", "scan", "recurrent"]
)
def test_second_derivatives(name: str) -> None:
    f, x = FUNCTIONS[name]
    second = irgrad.jacobian(irgrad.jacobian(f))
    compare(irgrad.jacobian(f), x, rtol=1e-9)
    fast = irgrad.jit(second, compile_after=1)
    for _ in range(2):
        found = fast(x)
    np.testing.assert_allclose(found, second(x), rtol=1e-9, atol=1e-11)
    has_large = name in ("solve", "rows of a batch", "recurrent")  # values of 64 kB, compiled at the first call
    assert fast.stats().eager_calls == (0 if has_large else 1)


def test_third_derivatives_of_a_diagonal() -> None:
    third = irgrad.jacobian(irgrad.jacobian(irgrad.jacobian(np.sin)))
    expected = np.zeros((12,) * 4)
    expected[(np.arange(12),) * 4] = -np.cos(X)
    np.testing.assert_allclose(third(X), expected, atol=1e-15)
    np.testing.assert_allclose(irgrad.jit(third, compile_after=1)(X), expected, atol=1e-15)


def test_inside_of_other_operators() -> None:
    def total(x: Any) -> Any:
        return np.sum(irgrad.jacobian(lambda y: np.sin(V @ (y * y[::-1])))(x) ** 2)

    h, d = 1e-6, RNG.normal(size=12)
    difference = (total(X + h * d) - total(X - h * d)) / (2 * h)
    for operator in (irgrad.grad(total), irgrad.jit(irgrad.grad(total), compile_after=1)):
        np.testing.assert_allclose(operator(X) @ d, difference, rtol=1e-6)
    push = lambda x, v: irgrad.make_jvp(total)(x)(v)
    for operator in (push, irgrad.jit(push, compile_after=1)):
        np.testing.assert_allclose(operator(X, d)[1], difference, rtol=1e-6)
    scanned = irgrad.jit(lambda x: irgrad.scan(lambda c, r: (c + np.sum(irgrad.jacobian(euler)(x * r)), r), 0.0, X[:3])[0], compile_after=1)
    expected = sum(np.sum(irgrad.jacobian(euler)(X * r)) for r in X[:3])
    np.testing.assert_allclose([scanned(X), scanned(X)], expected, rtol=1e-10)


def test_several_arguments() -> None:
    def f(a: Any, b: Any, *, c: Any) -> Any:
        return np.outer(a * c, b)

    a, b = X[:3], X[3:7]
    for operator in (irgrad.jacobian(f, (0, 1)), irgrad.jit(irgrad.jacobian(f, (0, 1)), compile_after=1)):
        left, right = operator(a, b, c=2.0)
        np.testing.assert_allclose(left, 2.0 * np.einsum("ik,j->ijk", np.eye(3), b))
        np.testing.assert_allclose(right, 2.0 * np.einsum("i,jk->ijk", a, np.eye(4)))
    np.testing.assert_allclose(irgrad.jacobian(f, "c")(a, b, c=2.0), np.outer(a, b))


def test_rules_of_the_user_see_one_seed() -> None:
    @primitive
    def opaque(x: Any) -> Any:
        return V @ x

    def pull(ans: Any, x: Any) -> Any:
        def vjp(g: Any) -> Any:
            assert np.shape(g) == (9,)
            return V.T @ g

        return vjp

    defvjp(opaque, pull)
    f = lambda x: np.sin(opaque(x**2)) * opaque(x)[0]
    compare(f, X, compiled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jacobians, "FEW", 0)
        compare(f, X)
    defjvp(opaque, lambda g, ans, x: V @ g)
    wide = lambda x: np.sin(W[:, :9] @ opaque(np.concatenate([x, x, x])))
    compare(wide, X[:4], compiled=True)


# ---- work that does not grow with the number of rows ----


def counts(operator: Callable[..., Any], f: Callable[..., Any], x: Any) -> tuple[int, int, int]:
    fast = irgrad.jit(operator(f)).compile(x)
    fast(x)
    stats = fast.stats()
    return stats.rows_last_call, stats.kernels, len(irgrad.trace(operator(f))(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: (irgrad.jacobian, lambda x: np.sin(x) * x, np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.jacobian, lambda x: np.tanh(W[:, :9].T @ np.sin(np.ones((30, n)) @ x)), np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.jacobian, lambda x: np.sin(np.ones((n, 9)) @ np.tanh(x)), X[:9]),
        lambda n: (irgrad.jacobian, lambda x: x[1:] * x[:-1] ** 2, np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.jacobian, lambda x: np.exp(x) / np.sum(np.exp(x)), np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.jacobian, lambda x: irgrad.scan(lambda c, r: (np.sin(c * r) + c[0], c), x, X)[0], np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.hessian, rosenbrock, np.linspace(0.1, 1.0, n)),
        lambda n: (irgrad.hessian, lambda x: np.log(np.sum(np.exp(x))), np.linspace(0.1, 1.0, n)),
    ],
    ids=["diagonal", "two layers", "wide", "band", "softmax", "scan", "banded hessian", "dense hessian"],
)
def test_counts(make: Callable[[int], Any]) -> None:
    small, large = counts(*make(20)), counts(*make(50))
    assert small == large
    assert small[0] < 20


def num_seeds(f: Callable[..., Any], x: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many seeds each walk of a Jacobian has; 1 where it is not batched."""
    found: list[int] = []
    original = jacobian_walks.Walks.in_parts

    def in_parts(self: Any, *args: Any) -> Any:
        parts = original(self, *args)
        found.extend(max(count, 1) for _, count in parts)
        return parts

    with monkeypatch.context() as patch:
        patch.setattr(jacobian_walks.Walks, "in_parts", in_parts)
        patch.setattr(jacobians, "FEW", 0)
        irgrad.jacobian(f)(x)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diagonal", [1]),
        ("band", [2]),
        ("gradient of a band", [3]),
        ("one dense row", [2]),
        ("one dense column", [2]),
        ("rows of a batch", [3]),
        ("softmax", [12]),
        ("convolution", [3]),
        ("a loop", [6]),
        ("choice", [1]),
        ("tall", [12]),
    ],
)
def test_seeds_follow_from_the_pattern(name: str, expected: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert num_seeds(*FUNCTIONS[name], monkeypatch) == expected


# ---- zeros by construction ----


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.sqrt, np.zeros(4)),
        (lambda x: np.log(x) * 1.0, np.array([0.0, 1.0, np.inf, np.nan, -1.0, 2.0])),
        (lambda x: np.sqrt(x[1:]) + x[:-1], np.zeros(14)),
        (lambda x: np.concatenate([np.sqrt(x), [np.sum(x)]]), np.zeros(12)),
        (lambda x: np.concatenate([np.sqrt(x[:3]), V[:9, :9] @ x[3:]]), np.zeros(12)),
        (lambda x: np.sqrt(x.reshape(3, 4) @ np.ones((4, 4))), np.zeros(12)),
    ],
    ids=["roots", "logarithms", "band", "dense row", "blocks", "batch"],
)
def test_what_is_zero_by_construction_is_zero(f: Callable[..., Any], x: Any) -> None:
    ones = np.linspace(0.5, 1.5, x.size)
    with np.errstate(all="ignore"):
        pattern = irgrad.jacobian(f)(ones) != 0
        eager = irgrad.jacobian(f)(x)
        fast = irgrad.jit(irgrad.jacobian(f), compile_after=1)
        compiled = [fast(x) for _ in range(2)][1]
    assert not np.isfinite(eager).all()
    assert (eager[~pattern] == 0).all()
    np.testing.assert_array_equal(compiled, eager)


def test_rows_of_a_matrix_do_not_meet_through_zeros() -> None:
    w = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    x = np.array([2.0, -1.0])  # the first entry of w @ x is 0, where the slope of a root is infinite
    with np.errstate(all="ignore"):
        for operator in (irgrad.jacobian(lambda x: np.sqrt(w @ x)), irgrad.jit(irgrad.jacobian(lambda x: np.sqrt(w @ x)), compile_after=1)):
            for _ in range(2):
                found = operator(x)
            assert np.isinf(found[0]).all()
            np.testing.assert_allclose(found[1:], 0.5 / np.sqrt(w[1:] @ x)[:, None] * w[1:])


# ---- other libraries ----


@pytest.mark.parametrize("name", ["diagonal", "gradient of a band", "two layers back", "softmax", "convolution"])
def test_jax_agrees(name: str) -> None:
    jax = pytest.importorskip("jax")
    if name in ("convolution", "gradient of a band"):
        forms: dict[str, Any] = {
            "convolution": lambda x: jax.numpy.convolve(x, np.array([1.0, -2.0, 0.5])),
            "gradient of a band": jax.grad(lambda x: jax.numpy.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)),
        }
        theirs = forms[name]
    else:
        j = jax.numpy
        theirs = {
            "diagonal": lambda x: j.sin(x) * x,
            "two layers back": lambda x: j.tanh(V @ j.sin(W.T @ j.cos(W @ x))),
            "softmax": lambda x: j.exp(x) / j.sum(j.exp(x)),
        }[name]
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        expected = np.asarray(jax.jacrev(theirs)(X))
    np.testing.assert_allclose(irgrad.jacobian(FUNCTIONS[name][0])(X), expected, rtol=1e-10, atol=1e-12)
