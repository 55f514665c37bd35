"""What autograd's users ask for and autograd refuses: each works, eagerly and compiled, with the derivative of central differences.

The list is that of the most frequent requests on autograd's tracker (docs/semantics.md says how far each goes).
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import irgrad
from irgrad.pytree import flatten
from tests.support.differences import differences

A = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.1], [0.4, 0.1, 0.9]])
X = np.array([0.65, -1.3, 2.25])


class Pair(NamedTuple):
    left: Any
    right: Any


@irgrad.pytree.register_dataclass
@dataclasses.dataclass
class Model:
    weights: Any
    bias: Any


def scaled(x: Any, *, by: Any = 1.0, shift: Any = 0.0) -> Any:
    return np.sum(np.sin(x) * by + shift * x)


def integral(x: Any) -> Any:
    n = int(np.sum(np.abs(x)))  # decides the course; the derivative passes beside it
    return np.sum(x**2) * n


def with_instances(x: Any) -> Any:
    assert isinstance(x, np.ndarray)
    assert isinstance(x[0], np.float64)
    assert not isinstance(x, (list, float))
    return np.sum(x**3) if isinstance(x, np.ndarray) else 0.0


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "plain numpy": lambda x: np.sum(np.tanh(x) * np.concatenate([x[1:], x[:1]])),
    "np.dot(A, x) and x.dot(A) of a plain A": lambda x: np.sum(np.dot(A, x) ** 2) + x.dot(A).sum() + x.dot(x),
    "A @ x of a plain A": lambda x: ((A @ x) * (x @ A)).sum(),
    "lists of traced values": lambda x: np.sum(np.array([x[0] * x[1], x[2] ** 2, 1.0])) + np.max([x[0], x[1] * 2, 0.1]),
    "tuples and nested lists": lambda x: np.linalg.det(np.array([[x[0], 1.0], (x[1], x[2])])) + np.sum(np.stack((x, x * x))),
    "keyword arguments": lambda x: scaled(x, by=x[0], shift=np.exp(x[1])) + np.sum(np.clip(a=x, a_min=None, a_max=x[2] / 2)),
    "int()": integral,
    "int() as an index": lambda x: x[int(np.argmax(x))] ** 2 + [x[0], x[1]][int(x[0] > 0)],
    ".item()": lambda x: x[0].item() * x.sum().item() + x.item(2) ** 2,
    ".tolist()": lambda x: sum(v * v for v in x.tolist()) + x.reshape(1, 3).tolist()[0][1],
    "x.copy()": lambda x: np.sum(x.copy() ** 2 * np.copy(x)),
    "+x": lambda x: np.sum(+x * x),
    "//": lambda x: np.sum(x * (x // 0.5)) + np.sum(7.0 // np.abs(x) * x),
    "divmod": lambda x: np.sum(divmod(x, 0.7)[1] ** 2 * x) + np.sum(np.divmod(x, 0.4)[1]),
    "% and np.modf": lambda x: np.sum((x % 0.6) * x) + np.sum(np.modf(x)[0] ** 2),
    "np.asarray": lambda x: np.sum(np.asarray(x) ** 2) + np.sum(np.asarray([x, x * x], dtype=float)),
    "isinstance": with_instances,
    "float()": lambda x: float(x[0]) ** 2 + np.sum(x) * float(np.sum(x)),
    "comparison and assert": lambda x: np.sum(np.where((x > 0) & (x < 3) | ~(x < 2), x * x, -x)),
    "in-place assignment": lambda x: _filled(x),
    "iteration and unpacking": lambda x: (lambda a, b, c: a * b - c**2)(*x) + sum(v**3 for v in x),
    "len, shape, ndim, T, flat": lambda x: len(x) * x.shape[0] * np.sum(x.reshape(3, 1).T ** x.ndim) + sum(x.flat),
    ".real, .conj, .mT": lambda x: np.sum(x.real * x.conj() + x.imag) + np.sum(np.outer(x, x).mT @ x),
    "repr and str": lambda x: np.sum(x**2) * len(f"{x.shape} {x!r:.0}"),
}


def _filled(x: Any) -> Any:
    out = np.zeros((2, 3))
    out[0] = x
    out[1, 1:] = x[:2] * x[1:]
    out[0, 0] += x[2]
    return np.sum(out**2)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    f = FUNCTIONS[name]
    want = differences(f, X)
    np.testing.assert_allclose(irgrad.grad(f)(X), want, rtol=1e-6, atol=1e-7)
    fast = irgrad.jit(irgrad.grad(f))
    for _ in range(3):
        np.testing.assert_allclose(fast(X), want, rtol=1e-6, atol=1e-7)
    assert not fast.impure
    assert fast.stats().calls - fast.stats().eager_calls >= 1
    np.testing.assert_allclose(irgrad.make_jvp(f)(X)(np.ones(3))[1], want.sum(), rtol=1e-6, atol=1e-7)


def test_a_method_of_a_plain_array() -> None:
    """Compiled code knows the captured array; an eager call, where C code meets a traced value, runs again with all arrays traced."""
    f = lambda x: np.sum(A.dot(x) ** 2)
    fast = irgrad.jit(irgrad.grad(f))
    for _ in range(3):
        np.testing.assert_allclose(fast(X), 2 * A.T @ A @ X, rtol=1e-12)
    np.testing.assert_allclose(irgrad.grad(f)(X), 2 * A.T @ A @ X, rtol=1e-12)


# ---- structures ----

ARGUMENTS: dict[str, Any] = {
    "list": [X, 0.5],
    "tuple": (X, np.float64(0.5)),
    "dict": {"w": X, "b": 0.5},
    "nested": {"layers": [(X, 0.5), (X * 2, 1.5)]},
    "namedtuple": Pair(X, 0.5),
    "None leaf": [X, None, 0.5],
    "int leaf": [X, 2, 0.5],
    "dataclass": Model(X, 0.5),
}


def total(tree: Any) -> Any:
    return sum((i + 1) * np.sum(np.asarray(leaf) ** 2) for i, leaf in enumerate(flatten(tree)[0]))


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(name: str) -> None:
    argument = ARGUMENTS[name]
    for gradient in (irgrad.grad(total), irgrad.jit(irgrad.grad(total))):
        for _ in range(3):
            found = gradient(argument)
            assert type(found) is type(argument)
            leaves, structure = flatten(found)
            assert structure == flatten(argument)[1]
            for i, (g, leaf) in enumerate(zip(leaves, flatten(argument)[0], strict=True)):
                np.testing.assert_allclose(g, 2.0 * (i + 1) * np.asarray(leaf), rtol=1e-12)


RESULTS: dict[str, Callable[[Any], Any]] = {
    "list": lambda x: [x * x, x[0]],
    "tuple": lambda x: (x * x, x[0]),
    "dict": lambda x: {"a": x * x, "b": x[0]},
    "namedtuple": lambda x: Pair(x * x, x[0]),
    "dataclass": lambda x: Model(x * x, x[0]),
    "nested": lambda x: [{"a": (x * x,)}, x[0]],
}


@pytest.mark.parametrize("name", RESULTS)
def test_results(name: str) -> None:
    f = RESULTS[name]
    for jacobian in (irgrad.jacobian(f), irgrad.jit(irgrad.jacobian(f))):
        for _ in range(3):
            found = jacobian(X)
            square, first = flatten(found)[0]
            assert type(found) is type(f(X))
            np.testing.assert_allclose(square, np.diag(2 * X), rtol=1e-12)
            np.testing.assert_allclose(first, [1.0, 0.0, 0.0])
    value, pull = irgrad.make_vjp(f)(X)[::-1]
    assert type(value) is type(f(X))
    np.testing.assert_allclose(pull(value), 2 * X**3 + np.array([X[0], 0, 0]), rtol=1e-12)


# ---- numbers ----


@pytest.mark.parametrize("x", [3, np.int64(3), np.array(3)], ids=["int", "int64", "int array"])
def test_whole_numbers_are_differentiated_as_floats(x: Any) -> None:
    for gradient in (irgrad.grad(lambda v: v**3 / 2), irgrad.jit(irgrad.grad(lambda v: v**3 / 2))):
        for _ in range(3):
            found = gradient(x)
            assert found == 13.5
            assert np.result_type(found) == np.float64


def test_gradients_with_respect_to_two_numbers_are_of_one_kind() -> None:
    def f(a: Any, b: Any) -> Any:
        return a * b + 2.0 * b

    for gradient in (irgrad.grad(f, (0, 1)), irgrad.jit(irgrad.grad(f, (0, 1)))):
        for args in ((1.5, 2.0), (np.float64(1.5), 2.0)):
            for _ in range(3):
                found = gradient(*args)
                assert [type(g) for g in found] == [np.float64, np.float64]
                assert found == (2.0, 3.5)


def cube(x: Any) -> Any:
    return np.sum(x**3)


def test_a_gradient_is_pickled() -> None:
    for function in (irgrad.grad(cube), irgrad.jit(irgrad.grad(cube)), irgrad.hessian(cube), irgrad.value_and_grad(cube)):
        again = pickle.loads(pickle.dumps(function))
        for found, want in zip(flatten(again(X))[0], flatten(function(X))[0], strict=True):
            np.testing.assert_array_equal(found, want)


# ---- values that outlive their trace ----


@pytest.mark.parametrize("use", [bool, int, float, complex, lambda t: [10, 11, 12][t], np.asarray, hash], ids=lambda u: u.__name__)
def test_a_kept_value_is_refused(use: Callable[[Any], Any]) -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append((x > 0).sum())
        return np.sum(x * x)

    irgrad.grad(f)(X)
    with pytest.raises(irgrad.errors.RuntimeGuardError, match=r"used after its trace has ended \(test_accepted.py:\d+\); return it"):
        use(kept[0])
    assert str(kept[0]) == "2"
