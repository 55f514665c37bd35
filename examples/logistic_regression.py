"""Logistic regression on four labelled points by 100 steps of gradient descent."""

from __future__ import annotations

import numpy as np

import irgrad

MEASUREMENTS = np.array([[0.4, 1.1, 0.8], [0.9, -1.0, 0.2], [0.5, 0.1, -1.3], [0.7, -2.5, 1.4]])
LABELS = np.array([True, True, False, True])


def probability(weights, measurements):
    """Of the label True: the logistic function of a weighted sum."""
    return 0.5 * (np.tanh(np.dot(measurements, weights) / 2.0) + 1.0)


def loss(weights):
    """Minus the logarithm of the likelihood of all labels."""
    p = probability(weights, MEASUREMENTS)
    return -np.sum(np.log(np.where(LABELS, p, 1.0 - p)))


def main(compiled: bool = False) -> dict[str, np.ndarray]:
    """Losses before each step, the weights after the last, and the probabilities they give."""
    loss_and_gradient = irgrad.value_and_grad(loss)
    if compiled:
        loss_and_gradient = irgrad.jit(loss_and_gradient)
    weights = np.zeros(3)
    losses = []
    for _ in range(100):
        value, gradient = loss_and_gradient(weights)
        losses.append(value)
        weights = weights - 0.05 * gradient
    return {"losses": np.array(losses), "weights": weights, "probabilities": probability(weights, MEASUREMENTS)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled)
        print("compiled" if compiled else "eager")
        print(f"  loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}, weights {found['weights'].round(4)}")
        print(f"  labels {LABELS}, probabilities {found['probabilities'].round(3)}")
