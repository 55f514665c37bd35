"""Gradient descent in three forms, with autograd's signatures. They are differentiable and compile as any function does.

Each takes ``grad(x, i)``, the gradient at step `i`, and a start of any structure, calls ``callback(x, i, g)`` before each step, and
returns the last x. `progress` prints a line to standard error at every tenth of the way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import irgrad.numpy as inp
from irgrad.frontend.tracer import Tracer
from irgrad.misc.flatten import flatten
from irgrad.operators.run import in_trace

Gradient = Callable[[Any, int], Any]
Callback = Callable[[Any, int, Any], None]
Step = Callable[[Any, Any, int], tuple[Any, Any]]  # (gradient, memory, step number) -> (change of x, new memory)


def sgd(
    grad: Gradient,
    x0: Any,
    callback: Callback | None = None,
    num_iters: int = 200,
    step_size: float = 0.1,
    mass: float = 0.9,
    progress: bool = False,
) -> Any:
    """Stochastic gradient descent with momentum."""

    def step(g: Any, velocity: Any, i: int) -> tuple[Any, Any]:
        velocity = mass * velocity - (1.0 - mass) * g
        return step_size * velocity, velocity

    return _descend("sgd", grad, x0, callback, num_iters, step, 0.0, progress)


def rmsprop(
    grad: Gradient,
    x0: Any,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
    progress: bool = False,
) -> Any:
    """Root mean squared propagation (Hinton, lecture 6e): steps divided by a running average of the gradient's size."""

    def step(g: Any, average: Any, i: int) -> tuple[Any, Any]:
        average = average * gamma + g**2 * (1 - gamma)
        return -step_size * g / (inp.sqrt(average) + eps), average

    return _descend("rmsprop", grad, x0, callback, num_iters, step, 1.0, progress)


def adam(
    grad: Gradient,
    x0: Any,
    callback: Callback | None = None,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    progress: bool = False,
) -> Any:
    """Adaptive moment estimation (Kingma and Ba, arXiv:1412.6980), with unbiased moments."""

    def step(g: Any, moments: Any, i: int) -> tuple[Any, Any]:
        first, second = moments
        first = (1 - b1) * g + b1 * first
        second = (1 - b2) * g**2 + b2 * second
        unbiased_first, unbiased_second = first / (1 - b1 ** (i + 1)), second / (1 - b2 ** (i + 1))
        return -step_size * unbiased_first / (inp.sqrt(unbiased_second) + eps), (first, second)

    return _descend("adam", grad, x0, callback, num_iters, step, (0.0, 0.0), progress)


def _descend(name: str, grad: Gradient, x0: Any, callback: Callback | None, num_iters: int, step: Step, memory: Any, progress: bool) -> Any:
    """`num_iters` steps on the flattened value."""
    grad = in_trace(grad)
    callback = None if callback is None else in_trace(callback)
    x, unflatten = flatten(x0)
    for i in range(num_iters):
        g, _ = flatten(grad(unflatten(x), i))
        if callback is not None:
            callback(unflatten(x), i, unflatten(g))
        if progress and (i + 1) % max(num_iters // 10, 1) == 0:
            _report(name, i + 1, num_iters, g)
        change, memory = step(g, memory, i)
        x = x + change
    return unflatten(x)


def _report(name: str, done: int, total: int, g: Any) -> None:
    bits = g.value if type(g) is Tracer else g
    sys.stderr.write(f"{name} {done}/{total}: largest gradient entry {np.max(np.abs(bits), initial=0.0):.3e}\n")
