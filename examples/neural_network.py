"""A small neural network: one hidden layer learns a noisy curve by gradient descent with momentum."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.optimizers import sgd

INPUTS = np.linspace(-2.0, 2.0, 40)[:, None]
TARGETS = np.sin(2.0 * INPUTS) + 0.05 * np.cos(37.0 * INPUTS)


def initial_parameters(hidden: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    return {"in": rng.randn(1, hidden), "bias": rng.randn(hidden), "out": rng.randn(hidden, 1) / hidden, "shift": np.zeros(1)}


def predict(parameters, inputs):
    hidden = np.tanh(np.dot(inputs, parameters["in"]) + parameters["bias"])
    return np.dot(hidden, parameters["out"]) + parameters["shift"]


def loss(parameters, step):
    """Mean squared error with a little weight decay; `step` is not used, for all data is seen at each one."""
    error = predict(parameters, INPUTS) - TARGETS
    return np.mean(error**2) + 1e-5 * np.sum(parameters["in"] ** 2)


def main(compiled: bool = False, steps: int = 150) -> dict[str, object]:
    """Losses before each step, and the trained network's predictions."""
    gradient = irgrad.grad(loss)
    if compiled:
        gradient = irgrad.jit(gradient)
    losses = []
    trained = sgd(gradient, initial_parameters(), lambda p, step, g: losses.append(loss(p, step)), num_iters=steps, step_size=0.5, mass=0.8)
    return {"losses": np.array(losses), "parameters": trained, "predictions": predict(trained, INPUTS)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=1000)
        print("compiled" if compiled else "eager")
        print(f"  loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}")
