"""Black-box stochastic variational inference: a Gaussian is fitted to a density that is known up to a factor, by its own draws.

The draws are in the objective. Those of `irgrad.numpy.random` are part of the compiled program, which draws at each call; a generator
that is plain numpy's would make the function run eagerly (`plain=True`), with a warning and the same numbers.
"""

from __future__ import annotations

import numpy

import irgrad
import irgrad.numpy as np
from irgrad.misc.optimizers import adam


def log_density(x):
    """A funnel: the width of the second coordinate depends on the first."""
    wide = np.exp(0.5 * x[:, 0])
    return -0.5 * (x[:, 0] / 1.35) ** 2 - 0.5 * (x[:, 1] / wide) ** 2 - np.log(wide)


def bound_for(generator, draws):
    """Minus the evidence lower bound of a Gaussian with independent coordinates, estimated from `draws` points."""

    def bound(parameters, step):
        mean, log_deviation = parameters
        x = mean + np.exp(log_deviation) * generator.randn(draws, 2)
        return -np.mean(log_density(x)) - np.sum(log_deviation)

    return bound


def main(compiled: bool = False, steps: int = 150, draws: int = 100, plain: bool = False) -> dict[str, object]:
    """The mean and deviation found, and the average bound of the last steps."""
    generator = (numpy if plain else np).random.RandomState(0)
    gradient = irgrad.value_and_grad(bound_for(generator, draws))
    if compiled:
        gradient = irgrad.jit(gradient)
    bounds = []

    def descent(parameters, step):
        value, found = gradient(parameters, step)
        bounds.append(value)
        return found

    mean, log_deviation = adam(descent, (np.array([-1.0, 1.0]), np.array([-2.0, -2.0])), num_iters=steps, step_size=0.05)
    return {"mean": mean, "deviation": np.exp(log_deviation), "bound": np.mean(np.array(bounds[-20:]))}


if __name__ == "__main__":
    for compiled in (False, True):
        found = main(compiled, steps=600)
        print("compiled" if compiled else "eager")
        print(f"  mean {found['mean'].round(4)}, deviation {found['deviation'].round(4)}, bound {found['bound']:.4f}")
