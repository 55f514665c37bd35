"""Gradient descent in a space of functions: the points of the search are functions, and so are the gradients.

The space has a reproducing kernel: evaluation at x is the inner product with k(x, .), so the gradient of f -> f(x) is the function k(x, .).
`Function` is a class of one's own whose numbers irgrad may differentiate (`irgrad.pytree`), and the rules of `evaluate` and `inner` give
gradients in the geometry of the space instead of that of the weights. The descent then converges at the same speed however wide k is.
"""

from __future__ import annotations

import dataclasses
import functools

import irgrad
import irgrad.numpy as np
from irgrad.extend import defvjp, primitive
from irgrad.pytree import register_dataclass, tree_map

WIDTH = 0.4


@functools.partial(register_dataclass, static=("centres",))
@dataclasses.dataclass
class Function:
    """Sum of ``weights[i] * k(centres[i], .)``."""

    centres: tuple[float, ...]
    weights: np.ndarray

    def __call__(self, places):
        return np.dot(kernel(places, self.centres), self.weights)


def kernel(a, b):
    return np.exp(-0.5 * ((np.reshape(a, (-1, 1)) - np.reshape(b, (1, -1))) / WIDTH) ** 2)


@primitive
def evaluate(f, which):
    """The values at some of the centres, by number."""
    return f(np.array(f.centres)[which])


@primitive
def inner(f, g):
    """The inner product of two functions."""
    return np.dot(f.weights, g(f.centres))


def evaluate_vjp(ans, f, which):
    """k(x, .) for each place x, times its cotangent."""
    at = np.eye(len(f.centres))[which]
    return lambda g: Function(f.centres, np.dot(g, at))


defvjp(evaluate, evaluate_vjp, None)
defvjp(
    inner,
    lambda ans, f, g: lambda ct: Function(f.centres, ct * g.weights),
    lambda ans, f, g: lambda ct: Function(g.centres, ct * f.weights),
)


def main(compiled: bool = False, count: int = 30, steps: int = 40) -> dict[str, object]:
    """Losses before each step, and the function found at a few places."""
    rng = np.random.RandomState(0)
    places = np.sort(rng.uniform(-2.0, 2.0, count))
    seen = np.sin(3.0 * places) + 0.1 * rng.randn(count)
    which = np.arange(count)

    def loss(f):
        return np.sum((evaluate(f, which) - seen) ** 2) + 0.05 * inner(f, f)

    value_and_gradient = irgrad.value_and_grad(loss)
    if compiled:
        value_and_gradient = irgrad.jit(value_and_gradient)
    f = Function(tuple(places.tolist()), np.zeros(count))
    losses = []
    for _ in range(steps):
        value, gradient = value_and_gradient(f)
        losses.append(value)
        f = tree_map(lambda a, b: a - 0.05 * b, f, gradient)
    return {"losses": np.array(losses), "values": f(np.linspace(-1.5, 1.5, 7))}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        print(f"  loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}, values {found['values'].round(3)}")
