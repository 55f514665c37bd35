"""A convolutional network tells vertical bars, horizontal bars and crosses in small noisy pictures apart."""

from __future__ import annotations

import irgrad
import irgrad.numpy as np
from irgrad.misc.optimizers import adam
from irgrad.scipy.signal import convolve

KINDS = 3
SIDE = 10


def pictures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pictures of shape (1, 10, 10) with one figure each, and which figure it is."""
    rng = np.random.RandomState(seed)
    kinds = rng.randint(0, KINDS, count)
    made = 0.3 * rng.randn(count, 1, SIDE, SIDE)
    places = rng.randint(2, SIDE - 2, (count, 2))
    for picture, kind, (row, column) in zip(made, kinds, places, strict=True):
        if kind != 1:
            picture[0, row - 2 : row + 3, column] += 1.0
        if kind != 0:
            picture[0, row, column - 2 : column + 3] += 1.0
    return made, kinds


def initial_parameters(filters: int) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(0)
    side = (SIDE - 2) // 2
    return {
        "filters": 0.3 * rng.randn(1, filters, 3, 3),
        "shift": np.zeros((1, filters, 1, 1)),
        "weights": 0.1 * rng.randn(filters * side * side, KINDS),
        "bias": np.zeros(KINDS),
    }


def scores(parameters, batch):
    """Logarithms of the probabilities of each kind: convolution, rectifier, maximum over 2x2 patches, linear layer."""
    signals = convolve(batch, parameters["filters"], axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid") + parameters["shift"]
    active = np.maximum(signals, 0.0)
    count, channels, height, width = active.shape
    pooled = np.max(np.reshape(active, (count, channels, height // 2, 2, width // 2, 2)), axis=(3, 5))
    values = np.dot(np.reshape(pooled, (count, -1)), parameters["weights"]) + parameters["bias"]
    top = np.max(values, axis=1, keepdims=True)
    return values - top - np.log(np.sum(np.exp(values - top), axis=1, keepdims=True))


def loss(parameters, batch, kinds):
    return -np.mean(scores(parameters, batch)[np.arange(len(kinds)), kinds])


def main(compiled: bool = False, steps: int = 60, filters: int = 6, batch: int = 32) -> dict[str, object]:
    """Losses on the batches seen, and the share of new pictures named rightly."""
    gradient = irgrad.value_and_grad(loss)
    if compiled:
        gradient = irgrad.jit(gradient)
    train, kinds = pictures(8 * batch, seed=1)
    losses = []

    def descent(parameters, step):
        part = slice(step % 8 * batch, (step % 8 + 1) * batch)
        value, found = gradient(parameters, train[part], kinds[part])
        losses.append(value)
        return found

    trained = adam(descent, initial_parameters(filters), num_iters=steps, step_size=0.02)
    test, truth = pictures(200, seed=2)
    named = np.argmax(scores(trained, test), axis=1)
    return {"losses": np.array(losses), "accuracy": np.mean(named == truth)}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=200)
        print("compiled" if compiled else "eager")
        print(f"  loss {found['losses'][0]:.4f} -> {found['losses'][-1]:.4f}, accuracy on new pictures {found['accuracy']:.3f}")
