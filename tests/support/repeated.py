"""Functions whose loops repeat one step, and what a trace records of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad
from irgrad.frontend.record import freeze
from irgrad.frontend.sites import source_of
from irgrad.ir.recording import Data, Record
from irgrad.runtime.signature import call_form
from irgrad.runtime.tracing import trace_call

RNG = np.random.default_rng(5)
X = RNG.uniform(0.2, 0.9, 12)
W = RNG.normal(size=(12, 12)) / 4
T = 24


def carried(x: Any) -> Any:
    y = x
    for _ in range(T):
        y = np.sin(y) * x + 0.5 * y
    return np.sum(y)


def literals(x: Any) -> Any:
    y, step = x, 0.1
    for i in range(T):
        y = y * (1.0 + i * step) + i - 2 * y / (i + 1) + step
    return np.sum(y**2)


def changing_literal(x: Any) -> Any:
    y = x
    for c in [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 5, 7]:
        y = np.mean(y * c) + y * float(c) / 20.0
    return np.sum(y)


def slices(x: Any) -> Any:
    total = 0.0
    for i in range(1, len(x)):
        total = total + x[i] * x[i - 1] + np.sum(x[i - 1 : i + 1])
    return total


def same_offset_then_not(x: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        total = total + x[i] * x[min(i, 8)]
    return total


def writes(x: Any) -> Any:
    a = np.zeros((4, 12))
    a[0] = x
    for _ in range(3):
        for i in range(1, 3):
            for j in range(1, 11):
                a[i, j] = 0.25 * (a[i - 1, j] + a[i + 1, j] + a[i, j - 1] * x[j] + a[i, j + 1])
    return np.sum(a * a)


def masks(x: Any) -> Any:
    y = x
    for _ in range(T):
        y = np.where(y > 0.4, np.sqrt(np.abs(y)), y * y) + np.maximum(y, 0.3 * x) - np.clip(y, 0.1, 0.5)
    return np.sum(y)


def masked_sums(x: Any) -> Any:
    total = 0.0
    for _ in range(T):
        total = total + np.sum(np.where(x > 0.5, np.log(x), 0.0)) + np.max(x)
        x = x * 0.99
    return total


def recurrent(x: Any) -> Any:
    h = np.zeros(12)
    for t in range(T):
        h = np.tanh(W @ h + np.concatenate([x[t % 5 : t % 5 + 6], x[:6]])) * 0.9
    return np.mean(h**2)


def two_kinds(x: Any) -> Any:
    y = x
    for i in range(2 * T):
        y = np.exp(-y) if i % 2 else y / (1.0 + y * y)
    return np.sum(y)


def nested(x: Any) -> Any:
    y = x
    for _ in range(7):
        for _ in range(3):
            y = y * x + 0.1
        y = np.roll(y, 1)
    return np.sum(y)


def passed_on(x: Any) -> Any:
    """Cotangents that are values of the primal part."""
    a, b = x, np.cos(x)
    for _ in range(T):
        a, b = b, a * b
    return np.sum(a * b)


def unused(x: Any) -> Any:
    """Values without a cotangent."""
    y, z = x, x
    for _ in range(T):
        z = np.sin(z)
        y = y + irgrad.stop_gradient(z) * np.floor(y) + y * x
    return np.sum(y)


def called(x: Any) -> Any:
    def body(y: Any) -> Any:
        return np.stack([y[0] * y[1], y[1] - 0.1 * y[0]])

    y = x[:2]
    for _ in range(T):
        y = y + 0.1 * body(y + 0.05 * body(y))
    return np.sum(y)


def solving(x: Any) -> Any:
    m = W @ W.T + np.eye(12)
    y = x
    for _ in range(T):
        y = np.linalg.solve(m + np.diag(x), y) + x
    return np.sum(y) + np.log(np.linalg.det(m))


def branching(x: Any) -> Any:
    y = x
    for _ in range(T):
        y = y * 0.9 + x if y[0] < 3.0 else y * 0.5
    return np.sum(y)


def inner_gradient(x: Any) -> Any:
    for _ in range(T):
        x = x - 0.1 * irgrad.grad(lambda v: np.sum(np.cosh(v)))(x)
    return np.sum(x**2)


def updated(x: Any) -> Any:
    a = np.ones(12)
    for i in range(T):
        a += x * i
        a *= 0.2 + 0.1 * np.cos(a)
    return np.sum(a)


def gathered(x: Any) -> Any:
    total = x[np.array([0, 1])]
    for i in range(T):
        total = total + x[np.array([i % 12, (5 * i) % 12])] * total
    return np.sum(total)


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    f.__name__: f
    for f in (
        carried, literals, changing_literal, slices, same_offset_then_not, writes, masks, masked_sums, recurrent, two_kinds, nested,
        passed_on, unused, called, solving, branching, inner_gradient, updated, gathered,
    )
}  # fmt: skip
OPERATORS: dict[str, Callable[..., Any]] = {
    "grad": irgrad.grad,
    "value_and_grad": irgrad.value_and_grad,
    "hessian": lambda f: lambda x: irgrad.grad(lambda y: np.sum(irgrad.grad(f)(y) * np.arange(12.0)))(x),
    "jacobian": lambda f: irgrad.jacobian(lambda x: np.stack([f(x), f(x * 0.9), f(x * x)])),
}


def recorded(f: Callable[..., Any], x: Any) -> tuple[list[Any], list[Any]]:
    """The records of a trace, in a form that may be compared, and its results."""
    traced = trace_call(f, call_form((x,), {}))
    inputs: list[Any] = []
    recording = freeze(traced.trace, traced.outputs, lambda t: (inputs.append(t), len(inputs))[1])
    traced.trace.close()
    keys: dict[int, int] = {}
    return [_plain(r, keys) for r in recording.records], [traced.result]


def _plain(record: Record, keys: dict[int, int]) -> Any:
    operands = [
        (o.value, o.dtype, keys.setdefault(o.key, len(keys)) if type(o.value) is float and o.value in (0.1, 0.5) else 0)
        if type(o) is Data
        else o
        for o in record.operands
    ]
    where = source_of(record.site)
    return (record.op, operands, record.params, record.aval, record.segment, record.code, record.carried, where and where.line)
