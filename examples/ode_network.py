"""A differential equation whose right-hand side is a neural network, fitted to a spiral through the adjoint equation.

`odeint` integrates a second equation backwards for its derivative (Chen, Rubanova, Bettencourt and Duvenaud, arXiv:1806.07366).
"""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.flatten import flatten
from irgrad.misc.optimizers import adam
from irgrad.scipy.integrate import odeint

START = np.array([2.0, 0.0])
SPIRAL = np.array([[-0.1, 2.0], [-2.0, -0.1]])


def true_change(y, t):
    return np.dot(y**3, SPIRAL)


def initial_parameters(hidden: int):
    rng = np.random.RandomState(0)
    return [(0.1 * rng.randn(2, hidden), np.zeros(hidden)), (0.1 * rng.randn(hidden, 2), np.zeros(2))]


def main(compiled: bool = False, steps: int = 10, hidden: int = 16, times: int = 10) -> dict[str, object]:
    """Losses before each step."""
    when = np.linspace(0.0, 1.0, times)
    observed = odeint(true_change, START, when)
    start, restore = flatten(initial_parameters(hidden))

    def change(y, t, vector):
        (first, shift), (second, offset) = restore(vector)
        return np.dot(np.tanh(np.dot(y**3, first) + shift), second) + offset

    def loss(vector):
        return np.mean((odeint(change, START, when, (vector,)) - observed) ** 2)

    gradient = irgrad.value_and_grad(loss)
    if compiled:
        gradient = irgrad.jit(gradient)
    losses = []

    def descent(vector, step):
        value, found = gradient(vector)
        losses.append(value)
        return found

    trained = adam(descent, start, num_iters=steps, step_size=0.05)
    return {"losses": np.array(losses), "end": odeint(change, START, when, (trained,))[-1], "true end": observed[-1]}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=100)
        print("compiled" if compiled else "eager")
        print(f"  loss {found['losses'][0]:.3f} -> {found['losses'][-1]:.3f}")
        print(f"  at the end {found['end'].round(2)}, truly {found['true end'].round(2)}")
